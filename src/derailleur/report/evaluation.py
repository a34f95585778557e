"""The table of quality and speed, one row a preset."""

from typing import Any

from derailleur.report import units
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
    best = min(results["presets"], key=lambda row: row["bits_per_byte"])
    gzip, xz = results["anchors"]["gzip"], results["anchors"]["xz"]
    lead = (
        f"On {units.plural(results['heldout']['documents'], 'held-out file')} "
        f"({units.data_size(results['heldout']['bytes'])}) the best preset needs {best['bits_per_byte']:.3f} "
        f"bits a byte; on the same bytes xz -9e needs {xz:.3f} and gzip -9 {gzip:.3f}."
    )
    return Section("evaluation", _TITLE, lead, [legend(), _table(results)])


def _table(results: dict[str, Any]) -> Html:
    header = [
        "preset",
        "placement",
        "bits per byte",
        "next-token accuracy",
        "infilling exact match",
        "decode, tokens/s",
    ]
    rows = [_row(row, results) for row in results["presets"]]
    for name in ("gzip", "xz"):
        rows.append([f"{name} alone", "", _number(units.decimals(results["anchors"][name], 3)), "", "", ""])
    note = (
        "Below each score: retention, the share of all-FA's score that is kept. Infilling: "
        f"{results['infilling_problems']} single lines, greedy, with the 95 % Wilson interval. "
        "Speed: the largest measured batch and context."
    )
    return table("Evaluation on held-out files", header, rows, note)


def _row(row: dict[str, Any], results: dict[str, Any]) -> list[Content]:
    retention = row["retention"]
    low, high = row["infilling_interval"]
    interval = f"[{100 * low:.0f}, {100 * high:.0f}]"
    fastest = max(row["speed"], key=lambda speed: (speed["batch"], speed["context_tokens"]), default=None)
    return [
        row["preset"],
        strip(row["placement"]),
        _number(units.decimals(row["bits_per_byte"], 3), retention["bits_per_byte"]),
        _number(units.percent(row["next_token_accuracy"]), retention["next_token_accuracy"]),
        _number(
            join(units.percent(row["infilling_exact_match"]), " ", element("span", interval, class_="muted")),
            retention["infilling_exact_match"],
        ),
        _number(_speed(fastest)),
    ]


def _number(text: Content, retention: float | None = None) -> Html:
    kept = None if retention is None else element("small", units.percent(retention))
    return element("td", text, kept, class_="number")


def _speed(speed: dict[str, Any] | None) -> Content:
    if speed is None:
        return units.NOT_MEASURED
    regime = f"{speed['batch']} × {units.context(speed['context_tokens'])}"
    return join(f"{speed['tokens_per_second']:,.0f} ", element("small", regime))
