"""What an evaluation found: the scores by preset, with retention, as the manifest keeps them."""

from collections.abc import Mapping, Sequence
from typing import Any

from derailleur.evaluation.cuts import Cut
from derailleur.evaluation.retention import retention
from derailleur.evaluation.scores import (
    ANCHORS,
    BITS_PER_BYTE,
    DECODE_SPEED,
    IDENTIFIER_RECALL,
    INFILLING_EXACT_MATCH,
    NEXT_TOKEN_ACCURACY,
    RECALL_GAIN,
    ScoreFile,
)
from derailleur.placement import Placement
from derailleur.tokens.documents import Document

_QUALITY = (
    BITS_PER_BYTE,
    NEXT_TOKEN_ACCURACY,
    INFILLING_EXACT_MATCH,
    IDENTIFIER_RECALL,
    RECALL_GAIN,
)
"""Metrics that have a retention; infilling by single lines, the other kinds of holes beside it."""


def collect_results(
    scores: ScoreFile, placements: Mapping[str, Placement], documents: Sequence[Document]
) -> dict[str, Any]:
    """One row a preset, the anchors, and what they were computed on; None for what was not measured."""
    first = next(iter(placements))
    infilling = scores.find(first, INFILLING_EXACT_MATCH, Cut.SINGLE_LINE) or {}
    return {
        "presets": _preset_rows(scores, placements),
        "anchors": {name: scores.value(None, name) for name in ANCHORS},
        "heldout": {
            "documents": len(documents),
            "bytes": sum(document.num_bytes for document in documents),
            "tokens": (scores.find(first, BITS_PER_BYTE) or {}).get("tokens"),
        },
        "infilling_problems": infilling.get("problems"),
        "recall_places": (scores.find(first, IDENTIFIER_RECALL) or {}).get("places"),
    }


def _preset_rows(scores: ScoreFile, placements: Mapping[str, Placement]) -> list[dict[str, Any]]:
    full = next((preset for preset, placement in placements.items() if set(placement) == {"F"}), None)
    rows = []
    for preset, placement in placements.items():
        measured = _quality(scores, preset)
        kept = retention(measured, _quality(scores, full)) if full else {}
        single_line = scores.find(preset, INFILLING_EXACT_MATCH, Cut.SINGLE_LINE) or {}
        row: dict[str, Any] = {"preset": preset, "placement": str(placement)}
        row |= {metric: measured.get(metric) for metric in _QUALITY}
        row["infilling_interval"] = single_line.get("interval")
        row["retention"] = {metric: kept.get(metric) for metric in _QUALITY}
        row["languages"] = (scores.find(preset, BITS_PER_BYTE) or {}).get("languages", {})
        row["infilling"] = _infilling_rows(scores, preset, full)
        row["recall"] = (scores.find(preset, IDENTIFIER_RECALL) or {}).get("buckets", [])
        row["speed"] = _speed_rows(scores, preset)
        rows.append(row)
    return rows


def _quality(scores: ScoreFile, preset: str) -> dict[str, float]:
    parts = {INFILLING_EXACT_MATCH: Cut.SINGLE_LINE}
    values = {metric: scores.value(preset, metric, parts.get(metric)) for metric in _QUALITY}
    return {metric: value for metric, value in values.items() if value is not None}


def _infilling_rows(scores: ScoreFile, preset: str, full: str | None) -> list[dict[str, Any]]:
    """One row a kind of hole that was measured."""
    rows = []
    for cut in Cut:
        row = scores.find(preset, INFILLING_EXACT_MATCH, cut)
        if row is None:
            continue
        best = scores.value(full, INFILLING_EXACT_MATCH, cut) if full else None
        rows.append(
            {
                "cut": cut,
                "problems": row["problems"],
                "exact_match": row["value"],
                "interval": row["interval"],
                "retention": row["value"] / best if best else None,
                "edit_similarity": row["edit_similarity"],
            }
        )
    return rows


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
