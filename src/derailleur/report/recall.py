"""What placements forget: names completed over the distance to their definition."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from derailleur.report import look, units
from derailleur.report.markup import Content, Html, element, join
from derailleur.report.presets import Preset, read_presets
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot, Section, missing, table

_TITLE = "Recall of names over distance"
_HEIGHT = 380  # of a plot, CSS pixels
_NAME_HEIGHT = 20  # what a name takes of it
_NARROW = 4  # buckets that a table beside the plot has room for
_DODGE = 0.02  # between presets, so that their intervals do not cover each other; share of a doubling


def section(run: RunFolder) -> Section:
    """The section about identifier recall."""
    results = run.results("evaluate")
    if not results:
        return missing("recall", _TITLE, "evaluate")
    recalls = {row["preset"]: row["recall"] for row in results["presets"] if row.get("recall")}
    if not recalls:
        return Section("recall", _TITLE, "Identifier recall was not measured in this run.")
    presets = [preset for preset in read_presets(run) if preset.name in recalls]
    gain = Plot(
        "recall-gain",
        "What the definition of a name adds to its log-likelihood",
        "Nats a name, over the tokens since the definition, in which the name does not occur; bars are 95 % "
        "intervals over names. At 0 the placement has forgotten: it would write the same had the file never "
        "defined the name.",
        plot_gain(recalls, presets),
        recalls,
    )
    return Section("recall", _TITLE, _lead(recalls), [gain, _table(recalls)])


def _lead(recalls: dict[str, Any]) -> Content:
    """What definitions near and far are worth to the first preset and to the last."""
    (first, known), *_, (last, kept) = [*recalls.items()] * 2
    near, far = known[0], known[-1]
    if near is far:
        others = "" if first == last else f", {_nats(kept[0])} to {last}"
        return f"A definition {_span(near)} back is worth {_nats(near)} nats to {first}{others}."
    if first == last:
        return f"A definition {_span(near)} back is worth {_nats(near)} nats, {_span(far)} back {_nats(far)}."
    return join(
        "A definition ",
        element("strong", f"{_span(near)} back"),
        f" is worth {_nats(near)} nats to {first} and {_nats(kept[0])} to {last}; ",
        element("strong", f"{_span(far)} back"),
        f" it is {_nats(far)} and {_nats(kept[-1])}.",
    )


def _table(recalls: dict[str, Any]) -> Html:
    buckets = next(iter(recalls.values()))
    header = ["preset", *(f"{_span(bucket)}{'*' * bucket['beyond_context']}" for bucket in buckets)]
    rows = [[preset, *map(_cell, own)] for preset, own in recalls.items()]
    note = (
        "The share of names that are completed exactly, greedily; below, the share without the lines that "
        "have the name: what is guessed, not recalled. "
        + "; ".join(units.plural(bucket["places"], "name") for bucket in buckets)
        + "."
        + (" * beyond the trained context." if any(bucket["beyond_context"] for bucket in buckets) else "")
    )
    return table("Names completed", header, rows, note, wide=len(buckets) > _NARROW)


def _cell(bucket: dict[str, Any]) -> Html:
    low, high = bucket["interval"]
    interval = element("span", f"[{100 * low:.0f}, {100 * high:.0f}]", class_="muted")
    guessed = element("small", f"{units.percent(bucket['control_exact_match'])} guessed")
    return element("td", units.percent(bucket["exact_match"]), " ", interval, guessed, class_="number")


def _nats(bucket: dict[str, Any]) -> str:
    return units.signed(bucket["gain_nats"], 1)


def _span(bucket: dict[str, Any]) -> str:
    return f"{bucket['low_tokens']:,} to {bucket['high_tokens']:,} tokens"


@look.styled
def plot_gain(recalls: dict[str, Any], presets: Sequence[Preset]) -> Figure:
    """One line a preset over the distance, named at its end."""
    figure = look.new_figure(560, _HEIGHT)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    ends = []
    for place, preset in enumerate(presets):
        own = recalls[preset.name]
        shift = 2 ** (_DODGE * (2 * place - len(presets) + 1))
        middles = [shift * math.sqrt(bucket["low_tokens"] * bucket["high_tokens"]) for bucket in own]
        gains = [bucket["gain_nats"] for bucket in own]
        lows, highs = zip(*(bucket["gain_interval"] for bucket in own), strict=True)
        axes.vlines(middles, lows, highs, color=preset.colour, linewidth=1)
        axes.plot(
            middles, gains, f"{preset.marker}-", color=preset.colour, markersize=8, mec=look.colour("card")
        )
        ends.append((gains[-1], preset))
    _scale(axes, next(iter(recalls.values())))
    _name_lines(axes, ends)
    return figure


def _scale(axes: Axes, buckets: Sequence[dict[str, Any]]) -> None:
    """The bounds of the buckets as ticks; what is beyond the trained context is hatched."""
    bounds = [buckets[0]["low_tokens"], *(bucket["high_tokens"] for bucket in buckets)]
    axes.set_xlim(bounds[0], bounds[-1])
    axes.axhline(0, color=look.colour("faint"), linewidth=1)
    for bucket in buckets:
        if bucket["beyond_context"]:
            axes.axvspan(
                bucket["low_tokens"],
                bucket["high_tokens"],
                facecolor="none",
                edgecolor=look.colour("grid"),
                hatch="///",
                linewidth=0,
                zorder=0,
            )
    axes.xaxis.set_major_locator(FixedLocator(bounds))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{int(tokens):,}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("tokens since the definition")
    axes.set_ylabel("nats a name")
    axes.grid(axis="both")


def _name_lines(axes: Axes, ends: Sequence[tuple[float, Preset]]) -> None:
    """Names right of the plot, at the heights of the lines' ends, moved up where one would cover another."""
    low, high = axes.get_ylim()
    gap, taken = _NAME_HEIGHT / _HEIGHT * (high - low), -math.inf
    for gain, preset in sorted(ends, key=lambda end: end[0]):
        taken = max(gain, taken + gap)
        axes.annotate(
            preset.name,
            (1, taken),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=preset.colour,
            annotation_clip=False,
        )
