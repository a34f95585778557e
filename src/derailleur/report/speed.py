"""Decode speed over context length, and where full attention is the fastest after all."""

import math
from dataclasses import asdict, dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from derailleur.report import look, units
from derailleur.report.markup import Content, Html, element, join
from derailleur.report.presets import Preset, read_presets
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot, Section, missing, table

_TITLE = "Decode speed"
_HEIGHT = 380  # of a plot, CSS pixels
_NAME_HEIGHT = 20  # what a name takes of it


@dataclass(frozen=True)
class Speed:
    """One measurement: single decode steps of `batch` requests that each hold `context_tokens`.

    Attributes:
        tokens_per_second: of the whole batch.
        speed_only: the context is beyond the trained one, so that only its speed means anything.
    """

    preset: str
    batch: int
    context_tokens: int
    tokens_per_second: float
    speed_only: bool


def read_speeds(run: RunFolder) -> list[Speed]:
    """What stage evaluate measured, by preset, batch and context; [] before it."""
    return [
        Speed(
            row["preset"],
            speed["batch"],
            speed["context_tokens"],
            speed["tokens_per_second"],
            speed["speed_only"],
        )
        for row in run.results("evaluate").get("presets", [])
        for speed in row["speed"]
    ]


def section(run: RunFolder) -> Section:
    """The section about measured speed."""
    speeds, presets = read_speeds(run), read_presets(run)
    if not speeds:
        return missing("speed", _TITLE, "evaluate")
    blocks: list[Plot | Html] = [
        Plot(
            f"speed-batch-{batch}",
            f"Decode speed, {units.plural(batch, 'request')} at a time",
            "Both axes are logarithmic."
            + (" Hatched: longer than the trained context, speed only." if beyond else ""),
            plot_speed(own, presets),
            [asdict(speed) for speed in own],
        )
        for batch in sorted({speed.batch for speed in speeds})
        for own in [[speed for speed in speeds if speed.batch == batch]]
        for beyond in [any(speed.speed_only for speed in own)]
    ]
    blocks.append(speedup_table(speeds, presets))
    return Section("speed", _TITLE, where_full_attention_wins(speeds, presets), blocks)


def regimes(speeds: list[Speed]) -> dict[tuple[int, int], dict[str, float]]:
    """Tokens per second by preset, for every (batch, context_tokens)."""
    ordered = sorted(speeds, key=lambda speed: (speed.batch, speed.context_tokens))
    groups = groupby(ordered, key=lambda speed: (speed.batch, speed.context_tokens))
    return {regime: {speed.preset: speed.tokens_per_second for speed in group} for regime, group in groups}


def where_full_attention_wins(speeds: list[Speed], presets: list[Preset]) -> Content:
    """One plain sentence: in which regimes no preset decodes faster than all-FA."""
    full = full_attention(presets)
    measured = regimes(speeds)
    compared = {key: row for key, row in measured.items() if full in row and len(row) > 1}
    if not compared:
        return "All-FA was not measured beside another preset."
    wins = {key: row for key, row in compared.items() if row[full] >= max(row.values())}
    if not wins:
        return join(
            "All-FA is the fastest in ", element("strong", "none"), f" of {len(compared)} measured regimes."
        )
    places = "; ".join(
        f"{units.plural(batch, 'request')} at {units.context(tokens)} context "
        f"({row[full]:,.0f} against {max(v for name, v in row.items() if name != full):,.0f} tokens/s)"
        for (batch, tokens), row in wins.items()
    )
    return join(
        element("strong", f"All-FA is the fastest in {len(wins)} of {len(compared)} measured regimes"),
        f": {places}.",
    )


def full_attention(presets: list[Preset]) -> str:
    """The name of the all-FA preset, or '' if there is none."""
    return next((preset.name for preset in presets if set(preset.letters) == {"F"}), "")


def speedup_table(speeds: list[Speed], presets: list[Preset]) -> Html:
    """Tokens per second of every preset in every regime, and how many times all-FA that is."""
    full, measured = full_attention(presets), regimes(speeds)
    header = ["preset", *(f"{batch} × {units.context(tokens)}" for batch, tokens in measured)]
    rows = [
        [preset.name, *(_speed_cell(row.get(preset.name), row.get(full)) for row in measured.values())]
        for preset in presets
    ]
    note = "Tokens per second of the whole batch, requests × context in the head; below, times all-FA."
    return table("Speed in every regime", header, rows, note)


def _speed_cell(speed: float | None, full: float | None) -> Html:
    if speed is None:
        return element("td", units.NOT_MEASURED)
    ratio = None if not full else speed / full
    share = 0 if ratio is None else round(min(max(ratio - 1, 0) / 3, 1) * 45)
    kind = "slower" if ratio is not None and ratio < 0.995 else None
    ratio_text = None if ratio is None else element("small", f"{ratio:.2f}×", class_=kind)
    return element("td", f"{speed:,.0f}", ratio_text, class_="heat", style=f"--heat:{share}%")


@look.styled
def plot_speed(speeds: list[Speed], presets: list[Preset]) -> Figure:
    """One line a preset over context length, named at its end; what is beyond training is hatched."""
    figure = look.new_figure(560, _HEIGHT)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ends = []
    for preset in presets:
        own = sorted((s for s in speeds if s.preset == preset.name), key=lambda s: s.context_tokens)
        if not own:
            continue
        contexts, rates = [s.context_tokens for s in own], [s.tokens_per_second for s in own]
        axes.plot(
            contexts, rates, f"{preset.marker}-", color=preset.colour, markersize=8, mec=look.colour("card")
        )
        ends.append((rates[-1], preset))
    contexts = sorted({s.context_tokens for s in speeds})
    axes.set_xlim(contexts[0] / 1.15, contexts[-1] * 1.15)
    _shade_untrained(axes, speeds)
    _name_lines(axes, contexts[-1], ends)
    axes.xaxis.set_major_locator(FixedLocator(contexts))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: units.context(int(tokens))))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("context, tokens")
    axes.set_ylabel("tokens per second, whole batch")
    axes.grid(axis="y")
    return figure


def _shade_untrained(axes: Axes, speeds: list[Speed]) -> None:
    trained = [s.context_tokens for s in speeds if not s.speed_only]
    beyond = [s.context_tokens for s in speeds if s.speed_only]
    if not beyond:
        return
    left = (max(trained) * min(beyond)) ** 0.5 if trained else axes.get_xlim()[0]
    right = axes.get_xlim()[1]
    axes.axvspan(
        left, right, facecolor="none", edgecolor=look.colour("grid"), hatch="///", linewidth=0, zorder=0
    )
    axes.text(
        left,
        1.0,
        " speed only",
        transform=axes.get_xaxis_transform(),
        va="bottom",
        color=look.colour("muted"),
        fontsize=11,
    )


def _name_lines(axes: Axes, last: int, ends: list[tuple[float, Preset]]) -> None:
    """Names right of the lines' ends, moved up where one would cover another."""
    low, high = axes.get_ylim()
    gap = _NAME_HEIGHT / _HEIGHT * math.log(high / low)
    taken = -math.inf
    for rate, preset in sorted(ends, key=lambda end: end[0]):
        taken = max(math.log(rate), taken + gap)
        axes.annotate(
            preset.name,
            (last, math.exp(taken)),
            xytext=(12, 0),
            textcoords="offset points",
            va="center",
            color=preset.colour,
            annotation_clip=False,
        )
