"""The tables about a corpus: what was left out and why, languages, licences, filters, repeats."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from derailleur.report import units
from derailleur.report.corpus_flow import STEPS, in_words
from derailleur.report.markup import Content, Html, element
from derailleur.report.section import table

_MOST_ROWS = 25


def left_out(results: Mapping[str, Any]) -> Html:
    """A row a reason, in the order of the steps."""
    files, volume = max(results["files_seen"], 1), max(results["bytes_seen"], 1)
    rows = [
        [
            in_words(row["reason"]),
            STEPS[row["step"]],
            row["action"],
            _bar(f"{row['files']:,}", row["files"] / files),
            _bar(units.data_size(row["bytes"]), row["bytes"] / volume),
        ]
        for row in results["left_out"]
    ]
    note = (
        "Every file is counted once, under the first rule that met it; the ledger names each. Dropped: "
        "understood and not wanted; quarantined: could not be understood. Bars: of all that was seen."
    )
    return table("What was left out, by reason", ["reason", "step", "", "files", "volume"], rows, note)


def languages(results: Mapping[str, Any]) -> Html:
    """A row a language of which something was kept."""
    kept = {name: n for name, n in results["by_language"].items() if n.get("files_kept")}
    rows = [
        [
            name,
            _bar(units.data_size(n["bytes_kept"]), n["bytes_kept"] / max(results["bytes_kept"], 1)),
            f"{n['files_kept']:,}",
            f"{n['files_seen']:,}",
        ]
        for name, n in kept.items()
    ]
    others = len(results["by_language"]) - len(kept)
    note = f"Of {units.plural(others, 'other language')} files were seen and none kept." if others else None
    header = ["language", "volume kept", "files kept", "files seen"]
    return table("Languages", header, _first(rows), note, wide=False)


def licences(results: Mapping[str, Any]) -> Html:
    """A row a licence expression of kept files."""
    rows = [
        [
            name,
            _bar(units.data_size(n["bytes_kept"]), n["bytes_kept"] / max(results["bytes_kept"], 1)),
            f"{n['files_kept']:,}",
        ]
        for name, n in results["by_licence"].items()
    ]
    note = (
        "SPDX expressions of the kept files. unknown: nothing says under which licence a file is; "
        "LicenseRef-unknown: what says so was not recognised."
    )
    return table("Licences", ["licence", "volume kept", "files kept"], _first(rows), note, wide=False)


def filters(results: Mapping[str, Any]) -> Html:
    """A row a rule: what it removed, and the percentiles of what it measures."""
    shown = sorted({int(key) for row in results["filters"] for key in row["percentiles"]})
    rows = [
        [
            in_words(row["reason"]),
            in_words(row["measure"]),
            f"{row['files_before']:,}",
            f"{row['files_removed']:,}",
            _bar(units.data_size(row["bytes_removed"]), row["bytes_removed"] / max(row["bytes_before"], 1)),
            *(_measured(row["percentiles"].get(str(percentile))) for percentile in shown),
        ]
        for row in results["filters"]
    ]
    header = ["rule", "measure", "files before", "removed", "volume", *(f"p{n}" for n in shown)]
    note = (
        "In the order in which they are applied. p50: half of the files for which the measure was taken are "
        "at or below it. Bars: of the volume that came to the rule."
    )
    return table("Filters, by rule", header, rows, note)


def benchmarks(results: Mapping[str, Any], names: Iterable[str]) -> Html:
    """A row a benchmark that the documents were compared with."""
    rows = [[name, f"{results['contamination'].get(name, 0):,}"] for name in names]
    note = "Documents that hold a passage of a benchmark; contamination-*.jsonl has the matched text."
    return table("Benchmarks", ["benchmark", "documents dropped"], rows, note, wide=False)


def repeats(results: Mapping[str, Any]) -> Html:
    """A row a language: how much of the kept text stands elsewhere too."""
    found = results["repeats"]
    rows = [
        [
            name,
            f"{n['documents']:,}",
            units.data_size(n["bytes"]),
            _bar(units.data_size(n["repeated_bytes"]), n["repeated_bytes"] / max(n["bytes"], 1)),
            _bar(units.data_size(n["later_bytes"]), n["later_bytes"] / max(n["bytes"], 1)),
        ]
        for name, n in (("all", found), *sorted(found["by_language"].items(), key=_most_repeated))
    ]
    note = "Verbatim, before redaction; nothing is removed for it. Later copies: all but the first one."
    header = ["language", "files", "volume", "repeated", "later copies"]
    return table("Repeated passages", header, _first(rows), note, wide=False)


def _most_repeated(language: tuple[str, Mapping[str, int]]) -> tuple[int, str]:
    name, counts = language
    return -counts["repeated_bytes"], name


def _first(rows: Sequence[Sequence[Content]]) -> list[Sequence[Content]]:
    """The first rows, and how many more there are."""
    more = len(rows) - _MOST_ROWS
    return [*rows] if more <= 0 else [*rows[:_MOST_ROWS], [f"and {more:,} more"]]


def _bar(text: str, share: float) -> Html:
    """A cell with a bar of a share and the share in words."""
    percent = element("small", units.percent(share))
    return element("td", text, " ", percent, class_="bar", style=f"--share:{100 * share:.2f}%")


def _measured(value: float | None) -> str:
    if value is None:
        return units.NOT_MEASURED
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
