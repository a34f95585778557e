"""The file of scores: one JSON line a preset and metric, from which a killed evaluation goes on."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

from derailleur.evaluation.speed import Regime
from derailleur.journal import Journal

BITS_PER_BYTE = "bits_per_byte"
NEXT_TOKEN_ACCURACY = "next_token_accuracy"  # noqa: S105
INFILLING_EXACT_MATCH = "infilling_exact_match"
DECODE_SPEED = "decode_tokens_per_second"
ANCHORS = ("gzip", "xz")
"""Metrics of no preset: bits per byte of general compressors."""

_Key: TypeAlias = tuple[str | None, str, Regime | None]


class ScoreFile:
    """Scores by preset, metric and, for speed, regime; each is on disk before the next is measured."""

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

    def find(self, preset: str | None, metric: str, regime: Regime | None = None) -> dict[str, Any] | None:
        """The row of a score, or None if it is yet to be measured; preset None is for anchors."""
        return self._by_key.get((preset, metric, regime))

    def value(self, preset: str | None, metric: str) -> float | None:
        """A score alone."""
        row = self.find(preset, metric)
        return None if row is None else row["value"]

    def append(self, row: dict[str, Any]) -> None:
        """Write one row {"preset", "placement", "metric", "value", ...} through to disk."""
        self._journal.append(row)
        self._by_key[_key(row)] = row


def _key(row: dict[str, Any]) -> _Key:
    regime = Regime(row["batch"], row["context_tokens"]) if "batch" in row else None
    return row["preset"], row["metric"], regime
