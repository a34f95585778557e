"""How the files run dry on their way through the stage: what each step left out, and for which reason."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from derailleur.corpus.ledger import FileRecord
from derailleur.corpus.near_dedup import REASONS

STEPS = ("sources", "language", "text", "licence", "exact_dedup", "near_dedup", "filters", "benchmarks")
"""In the order in which a file meets them. `text`: decoding, and recognition of what nobody wrote by hand."""

_LANGUAGE = frozenset({"unknown_language", "other_language", "data_language"})
_LICENCE = frozenset({"licence_unknown", "licence_not_allowed", "no_licence", "opted_out"})


def step_of(record: FileRecord, filter_reasons: Container[str]) -> str:
    """The step that left a file out, one of `STEPS`.

    Args:
        filter_reasons: of the filters of the run.
    """
    assert record.verdict is not None
    reason = record.verdict.reason
    if reason in _LANGUAGE:
        return "language"
    if record.text is None:
        return "sources" if record.sha256 is None else "text"
    if reason == "exact_duplicate":
        return "exact_dedup"
    if reason.removesuffix("_of_heldout") in REASONS:
        return "near_dedup"
    if reason == "contaminated":
        return "benchmarks"
    if reason in filter_reasons:
        return "filters"
    assert reason in _LICENCE, f"no step leaves a text out as '{reason}'"
    return "licence"


def count_left_out(records: Iterable[FileRecord], filter_reasons: Container[str]) -> dict[str, Any]:
    """Files and raw bytes that were left out, by step, action and reason."""
    counts: dict[str, Any] = {}
    for record in records:
        assert record.verdict is not None
        if record.verdict.action != "kept":
            step = counts.setdefault(step_of(record, filter_reasons), {})
            reasons = step.setdefault(record.verdict.action, {})
            count = reasons.setdefault(record.verdict.reason, {"files": 0, "bytes": 0})
            count["files"] += 1
            count["bytes"] += record.num_bytes
    return counts


def left_out_rows(counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as rows {"step", "action", "reason", "files", "bytes"}, in the order of the steps."""
    rows = [
        {"step": step, "action": action, "reason": reason, **count}
        for step, actions in counts.items()
        for action, reasons in actions.items()
        for reason, count in reasons.items()
    ]
    return sorted(
        rows, key=lambda row: (STEPS.index(row["step"]), -row["files"], row["reason"], row["action"])
    )
