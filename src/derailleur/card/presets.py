"""The table of presets: what each is worth and how fast it is, as measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from derailleur.card.facts import Facts
from derailleur.placement.presets import Preset, Presets
from derailleur.report import units


def preset_table(facts: Facts) -> str:
    """Every preset; with the scores of an evaluation where there was one, else as the search measured it."""
    names = list(facts.presets or facts.history.exported)
    evaluated = {row["preset"]: row for row in facts.history.evaluation.get("presets", [])}
    if names and set(names) <= set(evaluated):
        return _evaluated(facts, [evaluated[name] for name in names])
    return "" if facts.presets is None else _searched(facts.presets, facts.history.machine)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without the columns in which nothing is said."""
    filled = [any(row[column] != units.NOT_MEASURED for row in rows) for column in range(len(headings))]
    lines = [headings, ["---"] * len(headings), *rows]
    kept = [[cell for cell, keep in zip(line, filled, strict=True) if keep] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in kept)


def _evaluated(facts: Facts, rows: Sequence[Mapping[str, Any]]) -> str:
    regimes = [(x["batch"], x["context_tokens"]) for x in rows[0]["speed"]]
    ends = sorted({min(regimes), max(regimes)}) if regimes else []
    quality = ("bits per byte", "retention", "next-token accuracy", "lines infilled exactly")
    cells = []
    for row in rows:
        speeds = {(x["batch"], x["context_tokens"]): x["tokens_per_second"] for x in row["speed"]}
        scores = (
            units.decimals(row["bits_per_byte"], 3),
            units.percent(row["retention"]["bits_per_byte"]),
            units.percent(row["next_token_accuracy"]),
            units.percent(row["infilling_exact_match"]),
        )
        rates = [units.decimals(speeds.get(regime), 0) for regime in ends]
        cells.append([row["preset"], f"`{row['placement']}`", *scores, *rates])
    headings = ["preset", "placement", *quality, *(f"tokens/s, {units.regime(*regime)}" for regime in ends)]
    return f"{table(headings, cells)}\n\n{_conditions(facts)}"


def _conditions(facts: Facts) -> str:
    """What the scores were computed on."""
    found = facts.history.evaluation
    heldout, anchors = found["heldout"], found["anchors"]
    said = []
    if heldout["documents"]:
        files = units.plural(heldout["documents"], "held-out file")
        said.append(f"Quality on {files} ({units.data_size(heldout['bytes'])}).")
    if anchors.get("xz") is not None:
        said.append(
            f"On the same bytes gzip needs {anchors['gzip']:.2f} and xz {anchors['xz']:.2f} bits per byte."
        )
    if found["infilling_problems"]:
        said.append(f"Infilling: {units.plural(found['infilling_problems'], 'single line')}, greedy.")
    said.append("Retention is bits per byte of all-FA over those of the preset.")
    return " ".join([*said, _speeds(facts.history.machine)])


def _speeds(machine: str) -> str:
    return f"tokens/s are of the whole batch{f', on {machine}' if machine else ''}."


def _searched(presets: Presets, machine: str) -> str:
    details = presets.details
    regimes = [(x.batch, x.context) for x in details[0].speed]
    ends = sorted({min(regimes), max(regimes)}) if regimes else []
    cells = []
    for preset in details:
        quality = preset.quality
        likelihood = None if quality is None else quality.confirmed or quality.measured
        rates = [units.decimals(_speed(preset, regime), 0) for regime in ends]
        cells.append([preset.name, f"`{preset.placement}`", units.decimals(likelihood, 3), *rates])
    rates = [f"tokens/s, {units.regime(*regime)}" for regime in ends]
    found = table(["preset", "placement", "log-likelihood, nats per token", *rates], cells)
    return f"{found}\n\n{_speeds(machine)}" if rates else found


def _speed(preset: Preset, regime: tuple[int, int]) -> float | None:
    rows = {(row.batch, row.context): row for row in preset.speed}
    return rows[regime].measured or rows[regime].predicted if regime in rows else None
