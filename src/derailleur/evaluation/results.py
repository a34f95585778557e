"""What an evaluation found: the scores by preset, with retention, as the manifest keeps them."""

from collections.abc import Mapping, Sequence
from typing import Any

from derailleur.evaluation.retention import retention
from derailleur.evaluation.scores import (
    ANCHORS,
    BITS_PER_BYTE,
    DECODE_SPEED,
    INFILLING_EXACT_MATCH,
    NEXT_TOKEN_ACCURACY,
    ScoreFile,
)
from derailleur.placement import Placement
from derailleur.tokens.documents import Document

_QUALITY = (BITS_PER_BYTE, NEXT_TOKEN_ACCURACY, INFILLING_EXACT_MATCH)


def collect_results(
    scores: ScoreFile, placements: Mapping[str, Placement], documents: Sequence[Document]
) -> dict[str, Any]:
    """One row a preset, the anchors, and what they were computed on; None for what was not measured."""
    first = next(iter(placements))
    return {
        "presets": _preset_rows(scores, placements),
        "anchors": {name: scores.value(None, name) for name in ANCHORS},
        "heldout": {
            "documents": len(documents),
            "bytes": sum(document.num_bytes for document in documents),
            "tokens": (scores.find(first, BITS_PER_BYTE) or {}).get("tokens"),
        },
        "infilling_problems": (scores.find(first, INFILLING_EXACT_MATCH) or {}).get("problems"),
    }


def _preset_rows(scores: ScoreFile, placements: Mapping[str, Placement]) -> list[dict[str, Any]]:
    measured = {preset: _quality(scores, preset) for preset in placements}
    full = next((preset for preset, placement in placements.items() if set(placement) == {"F"}), None)
    rows = []
    for preset, placement in placements.items():
        kept = retention(measured[preset], measured[full]) if full else {}
        row: dict[str, Any] = {"preset": preset, "placement": str(placement)}
        row |= {metric: measured[preset].get(metric) for metric in _QUALITY}
        row["infilling_interval"] = (scores.find(preset, INFILLING_EXACT_MATCH) or {}).get("interval")
        row["retention"] = {metric: kept.get(metric) for metric in _QUALITY}
        row["speed"] = _speed_rows(scores, preset)
        rows.append(row)
    return rows


def _quality(scores: ScoreFile, preset: str) -> dict[str, float]:
    values = {metric: scores.value(preset, metric) for metric in _QUALITY}
    return {metric: value for metric, value in values.items() if value is not None}


def _speed_rows(scores: ScoreFile, preset: str) -> list[dict[str, Any]]:
    rows = [
        {
            "batch": row["batch"],
            "context_tokens": row["context_tokens"],
            "tokens_per_second": row["value"],
            "seconds_per_step": row["seconds_per_step"],
            "speed_only": row["speed_only"],
        }
        for row in scores.rows
        if row["preset"] == preset and row["metric"] == DECODE_SPEED
    ]
    return sorted(rows, key=lambda row: (row["batch"], row["context_tokens"]))
