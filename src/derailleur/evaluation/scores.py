"""The file of scores: one JSON line a preset and metric, from which a killed evaluation goes on."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

from derailleur.evaluation.cuts import Cut
from derailleur.evaluation.speed import Regime
from derailleur.journal import Journal

BITS_PER_BYTE = "bits_per_byte"
NEXT_TOKEN_ACCURACY = "next_token_accuracy"  # noqa: S105
INFILLING_EXACT_MATCH = "infilling_exact_match"
IDENTIFIER_RECALL = "identifier_recall"
RECALL_GAIN = "recall_gain_nats"
DECODE_SPEED = "decode_tokens_per_second"
ANCHORS = ("gzip", "xz")
"""Metrics of no preset: bits per byte of general compressors."""

Part: TypeAlias = Regime | Cut
"""What a metric is measured apart for: speed by regime, infilling by kind of hole."""

_Key: TypeAlias = tuple[str | None, str, Part | None]


class ScoreFile:
    """Scores by preset, metric and, for some, part of it; each is on disk before the next is measured."""

    def __init__(self, path: Path) -> None:
        """Read what is there, without a last line that a kill tore.

        Raises:
            DataError: if a line is not a JSON object; names it.
        """
        self._journal = Journal(path)
        self._by_key = {_key(row): row for row in self._journal.rows}

    @property
    def rows(self) -> Collection[dict[str, Any]]:
        """Every score once."""
        return self._by_key.values()

    def find(self, preset: str | None, metric: str, part: Part | None = None) -> dict[str, Any] | None:
        """The row of a score, or None if it is yet to be measured; preset None is for anchors."""
        return self._by_key.get((preset, metric, part))

    def value(self, preset: str | None, metric: str, part: Part | None = None) -> float | None:
        """A score alone."""
        row = self.find(preset, metric, part)
        return None if row is None else row["value"]

    def append(self, row: dict[str, Any]) -> None:
        """Write one row {"preset", "placement", "metric", "value", ...} through to disk."""
        self._journal.append(row)
        self._by_key[_key(row)] = row


def _key(row: dict[str, Any]) -> _Key:
    part: Part | None = None
    if "batch" in row:
        part = Regime(row["batch"], row["context_tokens"])
    elif "cut" in row:
        part = Cut(row["cut"])
    return row["preset"], row["metric"], part
