"""A worker's sandbox, in which programs are judged for real, and published benchmark files."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from derailleur.evaluation.sandbox import RefusedError, Sandbox, open_sandbox

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[4] / "shared/data/eval"))
"""Benchmark files are not part of the project: they lie beside it, or where the variable says."""


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The best sandbox that this machine has."""
    try:
        opened = open_sandbox()
    except RefusedError as refusal:
        pytest.skip(f"needs a sandbox: {refusal}")
    with opened:
        yield opened


@pytest.fixture(scope="session")
def read_published() -> Callable[[str], list[dict]]:
    """Reads the rows of a benchmark's file."""
    if not EVALUATION.is_dir():
        pytest.skip("no benchmark files here")

    def read(name: str) -> list[dict]:
        path = EVALUATION / name
        with gzip.open(path, "rt") if name.endswith(".gz") else path.open() as stream:
            return [json.loads(line) for line in stream]

    return read
