"""Where the files went, and what was redacted in them."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from derailleur.report import look, units
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot, Section, missing

_TITLE = "Where the files went"
_WIDTH = 560
_ROW = 30  # height of a bar and its gap, CSS pixels
_FILLS: Mapping[str, dict[str, Any]] = {
    "kept": {"facecolor": look.colour("accent")},
    "dropped": {"facecolor": look.colour("faint")},
    "quarantined": {"facecolor": look.colour("grid"), "edgecolor": look.colour("faint"), "hatch": "////"},
}


def section(run: RunFolder) -> Section:
    """The section about stage curate."""
    results = run.results("curate")
    if not results:
        return missing("corpus", _TITLE, "curate")
    files = file_counts(results)
    kept, seen = results["kept"], results["files_seen"]
    lead = (
        f"{units.plural(seen, 'file')} seen = {kept:,} kept + {seen - kept:,} left out, each for one of "
        f"the reasons below; {units.data_size(results['bytes_kept'])} of text remain."
    )
    blocks = [
        Plot(
            "files",
            "Files by what became of them",
            "Every file is counted once, under the first rule that met it; curate/ledger.parquet names each.",
            plot_files(files),
            files,
        )
    ]
    redactions = {kind: number for kind, number in results.get("pii", {}).items() if number}
    if redactions:
        ordered = dict(sorted(redactions.items(), key=lambda item: -item[1]))
        blocks.append(
            Plot(
                "pii",
                "Redactions by kind",
                "Personal data and secrets that were replaced in the kept files.",
                plot_redactions(ordered),
                ordered,
            )
        )
    return Section("corpus", _TITLE, lead, blocks)


def file_counts(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows {"label", "fate", "files"}: kept by split, then left out by reason, the largest first."""
    rows = [
        {
            "label": {"train": "training", "heldout": "held out"}.get(split, split),
            "fate": "kept",
            "files": n["files"],
        }
        for split, n in results["splits"].items()
    ]
    for fate in ("dropped", "quarantined"):
        reasons = sorted(results[fate].items(), key=lambda item: -item[1])
        rows += [{"label": reason.replace("_", " "), "fate": fate, "files": n} for reason, n in reasons if n]
    return rows


@look.styled
def plot_files(rows: list[dict[str, Any]]) -> Figure:
    """A strip of all files, then one bar for each reason to leave some out."""
    reasons = [row for row in rows if row["fate"] != "kept"]
    figure = look.new_figure(_WIDTH, 100 + _ROW * len(reasons))
    strip, bars = figure.subplots(2, 1, height_ratios=[70, 1 + _ROW * len(reasons)])
    left = 0
    for label, files, fill in _fates(rows):
        drawn = strip.barh(0, files, left=left, height=1, linewidth=0, label=f"{label} {files:,}", **fill)
        look.tooltip(drawn[0], f"{label}: {files:,} files")
        left += files
    strip.set_xlim(0, left)
    strip.set_axis_off()
    figure.legend(loc="outside upper left", ncols=4, handlelength=1, columnspacing=1.4)
    _draw_bars(bars, [row["label"] for row in reasons], [row["files"] for row in reasons])
    for bar, row in zip(bars.patches, reasons, strict=True):
        bar.set(**_FILLS[row["fate"]])
    return figure


def _fates(rows: list[dict[str, Any]]) -> list[tuple[str, int, dict[str, Any]]]:
    """(label, files, fill): kept files by split, the others by fate alone."""
    parts = [
        (row["label"], row["files"], _FILLS["kept"] | {"alpha": 1 - 0.5 * place})
        for place, row in enumerate(rows)
        if row["fate"] == "kept"
    ]
    for fate in ("dropped", "quarantined"):
        files = sum(row["files"] for row in rows if row["fate"] == fate)
        if files:
            parts.append((fate, files, _FILLS[fate]))
    return parts


@look.styled
def plot_redactions(redactions: dict[str, int]) -> Figure:
    """One bar a kind."""
    figure = look.new_figure(_WIDTH, 14 + _ROW * len(redactions))
    kinds = [kind.replace("_", " ").lower().replace("ip ", "IP ") for kind in redactions]
    _draw_bars(figure.subplots(), kinds, list(redactions.values()))
    return figure


def _draw_bars(axes: Axes, labels: list[str], values: list[int]) -> None:
    """Bars from the top, each with its number."""
    axes.barh(range(len(values)), values, height=0.7, linewidth=0, color=look.colour("accent"))
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values, default=1) * 1.12)
    axes.set_xticks([])
    look.bare(axes)
    for position, value in enumerate(values):
        axes.annotate(
            f"{value:,}",
            (value, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=look.colour("muted"),
        )
