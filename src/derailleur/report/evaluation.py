"""The table of quality and speed, one row a preset."""

from typing import Any

from derailleur.report import breakdown, problems, units
from derailleur.report.markup import Content, Html, element, join
from derailleur.report.presets import legend, strip
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Section, missing, table

_TITLE = "Quality of every preset"


def section(run: RunFolder) -> Section:
    """The section about stage evaluate."""
    results = run.results("evaluate")
    if not results:
        return missing("evaluation", _TITLE, "evaluate")
    blocks = [legend(), _table(results), *breakdown.tables(results), *problems.tables(results)]
    return Section("evaluation", _TITLE, _lead(results), blocks)


def _lead(results: dict[str, Any]) -> str:
    scored = [row["bits_per_byte"] for row in results["presets"] if row["bits_per_byte"] is not None]
    if not scored:
        return "Bits per byte were not measured in this run."
    gzip, xz = results["anchors"]["gzip"], results["anchors"]["xz"]
    return (
        f"On {units.plural(results['heldout']['documents'], 'held-out file')} "
        f"({units.data_size(results['heldout']['bytes'])}) the best preset needs {min(scored):.3f} "
        f"bits a byte; on the same bytes xz -9e needs {xz:.3f} and gzip -9 {gzip:.3f}."
    )


def _table(results: dict[str, Any]) -> Html:
    header = [
        "preset",
        "placement",
        "bits per byte",
        "next-token accuracy",
        "infilling exact match",
        "recall gain, nats",
        "decode, tokens/s",
    ]
    rows = [_row(row) for row in results["presets"]]
    for name, bits_per_byte in results["anchors"].items():
        rows.append([f"{name} alone", "", _number(units.decimals(bits_per_byte, 3)), "", "", "", ""])
    note = (
        "Below each score: retention, the share of all-FA's score that is kept. Infilling: "
        f"{results['infilling_problems'] or 'no'} single lines, greedy, with the 95 % Wilson interval. "
        "Recall gain: what the definition of a name, long before, adds to the name's log-likelihood. "
        "Speed: the largest measured batch and context."
    )
    return table("Evaluation on held-out files", header, rows, note)


def _row(row: dict[str, Any]) -> list[Content]:
    retention = row["retention"]
    low, high = row["infilling_interval"] or (0, 0)
    interval = f"[{100 * low:.0f}, {100 * high:.0f}]" if high else None
    return [
        row["preset"],
        strip(row["placement"]),
        _number(units.decimals(row["bits_per_byte"], 3), retention["bits_per_byte"]),
        _number(units.percent(row["next_token_accuracy"]), retention["next_token_accuracy"]),
        _number(
            join(units.percent(row["infilling_exact_match"]), " ", element("span", interval, class_="muted")),
            retention["infilling_exact_match"],
        ),
        _number(units.signed(row.get("recall_gain_nats"), 2), retention.get("recall_gain_nats")),
        problems.speed(row["speed"]),
    ]


def _number(text: Content, retention: float | None = None) -> Html:
    kept = None if retention is None else element("small", units.percent(retention))
    return element("td", text, kept, class_="number")
