"""What curate made of its sources: where the files went, what is in the corpus, what was found in it."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from derailleur.report import corpus_tables, look, units
from derailleur.report.corpus_flow import Unit, flow, plot_flow
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot, Section, missing

_TITLE = "Where the files went"
_WIDTH = 560
_ROW = 30  # height of a bar and its gap, CSS pixels


def section(run: RunFolder) -> Section:
    """The section of a run's page about stage curate: all parts under one heading."""
    manifest = run.manifest("curate")
    if not manifest:
        return missing("corpus", _TITLE, "curate")
    parts = sections(manifest)
    return Section("corpus", _TITLE, parts[0].lead, [block for part in parts for block in part.blocks])


def sections(manifest: Mapping[str, Any]) -> list[Section]:
    """The parts, each under a heading of its own.

    Args:
        manifest: of stage curate.
    """
    results = manifest["results"]
    if "left_out" not in results:
        lead = "An older version of stage curate made this corpus; its manifest lacks the counts by step."
        return [Section("flow", _TITLE, lead)]
    parts = [_flow(results), _content(results), _duplicates(results), _pii(results)]
    if results["filters"]:
        parts.append(_filters(results))
    parts.append(_benchmarks(results, manifest["config"]))
    return parts


def _flow(results: Mapping[str, Any]) -> Section:
    kept, seen = results["kept"], results["files_seen"]
    lead = (
        f"{units.plural(seen, 'file')} seen = {kept:,} kept + {seen - kept:,} left out, each for one of "
        f"the reasons below; {units.data_size(results['bytes_kept'])} of text remain."
    )
    return Section(
        "flow",
        _TITLE,
        lead,
        [
            _flow_plot(results, "files", "Files, from seen to kept"),
            _flow_plot(results, "bytes", "Volume, from seen to kept"),
            corpus_tables.left_out(results),
        ],
    )


def _flow_plot(results: Mapping[str, Any], unit: Unit, title: str) -> Plot:
    captions: dict[Unit, str] = {
        "files": "What each step left out; shares are of all files seen.",
        "bytes": "The same by raw bytes, before decoding and redaction.",
    }
    steps = flow(results, unit)
    data = [
        {"step": step.label, "before": step.before, "left_out": step.left_out, "reasons": step.reasons}
        for step in steps
    ]
    return Plot(f"flow-{unit}", title, captions[unit], plot_flow(steps, unit), data)


def _content(results: Mapping[str, Any]) -> Section:
    languages = sum(bool(n.get("files_kept")) for n in results["by_language"].values())
    # "unknown": nothing was found; LicenseRef-unknown: something that nobody recognised
    known = sum(n["bytes_kept"] for name, n in results["by_licence"].items() if "unknown" not in name)
    lead = (
        f"{units.plural(languages, 'language')}; a licence is known for "
        f"{units.percent(known / max(results['bytes_kept'], 1))} of the volume. Held out: "
        f"{units.plural(results['splits']['heldout']['files'], 'file')}, "
        f"{units.data_size(results['splits']['heldout']['bytes'])}."
    )
    blocks = [corpus_tables.languages(results), corpus_tables.licences(results)]
    return Section("content", "Languages and licences", lead, blocks)


def _duplicates(results: Mapping[str, Any]) -> Section:
    exact, near = (
        sum(row["files"] for row in results["left_out"] if row["reason"].startswith(reason))
        for reason in ("exact_duplicate", "near_duplicate")  # those of a text held out, too
    )
    copies = units.plural(exact, "exact copy", "exact copies")
    lead = f"Left out: {copies} and {units.plural(near, 'near-duplicate')}."
    sizes = bucketed(results["near_dedup"]["cluster_sizes"])
    blocks: list[Any] = []
    if sizes:
        caption = "How many files are the one kept of so many near-duplicates, itself included."
        title = "Clusters of near-duplicates, by size"
        blocks.append(Plot("clusters", title, caption, plot_bars(sizes), sizes))
    if results["repeats"]:
        blocks.append(corpus_tables.repeats(results))
    return Section("duplicates", "Duplicates", lead, blocks)


def bucketed(sizes: Mapping[str, int]) -> dict[str, int]:
    """Clusters by size: 2, 3, 4, then ranges that end at powers of two.

    Args:
        sizes: number of documents -> number of clusters of that size.
    """
    buckets: dict[int, int] = {}
    for size, clusters in sorted((int(size), clusters) for size, clusters in sizes.items()):
        last = size if size <= 4 else 1 << (size - 1).bit_length()
        buckets[last] = buckets.get(last, 0) + clusters
    return {
        str(last) if last <= 4 else f"{last // 2 + 1:,}–{last:,}": clusters
        for last, clusters in buckets.items()
    }


def _pii(results: Mapping[str, Any]) -> Section:
    redactions = {tag: number for tag, number in results["pii"].items() if number}
    ordered = dict(sorted(redactions.items(), key=lambda item: -item[1]))
    total = sum(ordered.values())
    if not total:
        return Section("pii", "Personal data and secrets", "None was found in the kept files.")
    lead = (
        f"{units.plural(total, 'value')} replaced in the kept files, "
        f"{total / max(results['bytes_kept'], 1) * 1e6:.3g} a megabyte; redactions-*.jsonl has the places."
    )
    kinds = {tag.replace("_", " ").lower().replace("ip ", "IP "): number for tag, number in ordered.items()}
    caption = "Personal data and secrets that were replaced in the kept files."
    plot = Plot("pii", "Redactions by kind", caption, plot_bars(kinds), ordered)
    return Section("pii", "Personal data and secrets", lead, [plot])


def _filters(results: Mapping[str, Any]) -> Section:
    files, volume = (sum(row[f"{unit}_removed"] for row in results["filters"]) for unit in ("files", "bytes"))
    lead = f"Left out: {units.plural(files, 'file')}, {units.data_size(volume)}."
    return Section("filters", "Filters", lead, [corpus_tables.filters(results)])


def _benchmarks(results: Mapping[str, Any], config: Mapping[str, Any]) -> Section:
    compared = config.get("decontamination", {}).get("benchmarks", [])
    names = sorted({PurePath(benchmark["path"]).name.partition(".")[0] for benchmark in compared})
    if not names:
        return Section("benchmarks", "Benchmarks", "The documents were compared with no benchmark.")
    found = sum(results["contamination"].values())
    lead = (
        f"Compared with {units.plural(len(names), 'benchmark')}; left out: "
        f"{units.plural(found, 'document')} that held a passage of one."
    )
    return Section("benchmarks", "Benchmarks", lead, [corpus_tables.benchmarks(results, names)])


@look.styled
def plot_bars(values: Mapping[str, int]) -> Figure:
    """One bar a name, from the top, each with its number."""
    figure = look.new_figure(_WIDTH, 14 + _ROW * len(values))
    _draw_bars(figure.subplots(), values)
    return figure


def _draw_bars(axes: Axes, values: Mapping[str, int]) -> None:
    axes.barh(range(len(values)), list(values.values()), height=0.7, linewidth=0, color=look.colour("accent"))
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.set_xlim(0, max(values.values()) * 1.12)
    axes.set_xticks([])
    look.bare(axes)
    for position, value in enumerate(values.values()):
        axes.annotate(
            f"{value:,}",
            (value, position),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=look.colour("muted"),
        )
