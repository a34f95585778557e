"""Tables of problem files: pass@k and exact match of every preset, what is kept of all-FA, beside speed."""

from collections.abc import Sequence
from typing import Any

from derailleur.report import units
from derailleur.report.markup import Content, Html, element, join
from derailleur.report.presets import strip
from derailleur.report.section import table

_COUNTED = {
    "sandbox": "samples left out, since the sandbox failed",
    "prompt_too_long": "failed for want of room in the context",
    "cut_at_max_tokens": "cut at the longest length",
}


def tables(results: dict[str, Any]) -> list[Html]:
    """One table a set of problems; none where no problems were put.

    Args:
        results: of stage evaluate.
    """
    found = results.get("problems")
    if not found:
        return []
    speeds = {row["preset"]: row["speed"] for row in results["presets"]}
    return [_table(described, found, speeds) for described in found["sets"]]


def _table(described: dict[str, Any], found: dict[str, Any], speeds: dict[str, Any]) -> Html:
    rows = [row for row in found["presets"] if row["set"] == described["name"]]
    parts = list(dict.fromkeys(score["rows"] for score in rows[0]["scores"]))
    metrics = [score["metric"].replace("_", " ") for score in rows[0]["scores"] if score["rows"] == parts[0]]
    header = ["preset", "placement", *(["lines"] if len(parts) > 1 else []), *metrics, "decode, tokens/s"]
    cells = [
        [
            row["preset"],
            strip(row["placement"]),
            *([part] if len(parts) > 1 else []),
            *(_cell(score) for score in row["scores"] if score["rows"] == part),
            speed(speeds[row["preset"]]),
        ]
        for part in parts
        for row in rows
    ]
    title = f"{described['name']}: {units.plural(described['num_problems'], 'problem')}"
    return table(title, header, cells, _note(rows, found["settings"]))


def _cell(score: dict[str, Any]) -> Html:
    if score["value"] is None:
        return element("td", units.NOT_MEASURED, class_="number")
    low, high = score["interval"]
    interval = element("span", f"[{100 * low:.0f}, {100 * high:.0f}]", class_="muted")
    kept = None if score["retention"] is None else element("small", units.percent(score["retention"]))
    return element("td", units.percent(score["value"]), " ", interval, kept, class_="number")


def _note(rows: Sequence[dict[str, Any]], settings: dict[str, Any]) -> str:
    runs = ", ".join(
        f"{'/'.join(f'pass@{k}' for k in run['k'])} at temperature {run['temperature']}"
        for run in settings["runs"]
    )
    totals = {words: sum(row["counts"][key] for row in rows) for key, words in _COUNTED.items()}
    counted = "".join(f" {total:,} {words}." for words, total in totals.items() if total)
    return (
        f"Below each score: retention. {units.plural(settings['num_samples'], 'sample')} of each problem, "
        f"{runs}, top-p {settings['top_p']}; 95 % bootstrap intervals over problems.{counted}"
    )


def speed(measured: Sequence[dict[str, Any]]) -> Html:
    """A cell with the decode speed at the largest batch and context that were measured."""
    largest = max(measured, key=lambda row: (row["batch"], row["context_tokens"]), default=None)
    if largest is None:
        return element("td", units.NOT_MEASURED, class_="number")
    regime = f"{largest['batch']} × {units.context(largest['context_tokens'])}"
    text: Content = join(f"{largest['tokens_per_second']:,.0f} ", element("small", regime))
    return element("td", text, class_="number")
