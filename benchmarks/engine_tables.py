"""Markdown tables and percentiles."""

from collections.abc import Sequence

import numpy as np


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed, between neighbours by distance."""
    return float(np.quantile(np.asarray(values), share))


def context(tokens: int) -> str:
    """512, 1k, 16k."""
    return str(tokens) if tokens < 1024 else f"{tokens / 1024:g}k"
