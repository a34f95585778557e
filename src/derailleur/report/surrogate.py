"""Plots of what the search believed: the surrogate of quality, and the cost of a layer by mixer."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from derailleur.report import look, units
from derailleur.report.frontier import QUALITY, majority

_LINE_STYLES = ("--", "-", ":", "-.")


@look.styled
def plot_predictions(observations: list[dict[str, Any]]) -> Figure:
    """Leave-one-out predictions over measurements, with the line on which both are equal.

    Args:
        observations: rows {"placement", "quality", "leave_one_out"}.
    """
    figure = look.new_figure(560, 400)
    axes = figure.subplots()
    values = [value for row in observations for value in (row["quality"], row["leave_one_out"])]
    ends = [min(values), max(values)]
    axes.plot(ends, ends, color=look.colour("faint"), linewidth=1)
    for row in observations:
        shade = look.colour(majority(row["placement"]))
        measured, predicted = row["quality"], row["leave_one_out"]
        (dot,) = axes.plot(measured, predicted, "o", color=shade, alpha=0.8, markersize=6, mew=0)
        look.tooltip(dot, f"{row['placement']}: measured {measured:.4f}, predicted {predicted:.4f}")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"measured {QUALITY}")
    axes.set_ylabel(f"predicted {QUALITY}")
    axes.grid()
    return figure


@look.styled
def plot_layer_effects(effects: list[dict[str, float]]) -> Figure:
    """The surrogate's effect of each mixer in each layer.

    Args:
        effects: one a layer, by mixer letter; nats per token against full attention there.
    """
    figure = look.new_figure(560, 340)
    axes = figure.subplots()
    axes.axhline(0, color=look.colour("F"), linewidth=1, linestyle="--")
    letters = [letter for letter in effects[0] if letter != "F"]
    width = 0.8 / len(letters)
    for place, letter in enumerate(letters):
        centres = [layer + (place - (len(letters) - 1) / 2) * width for layer in range(len(effects))]
        heights = [layer[letter] for layer in effects]
        axes.bar(
            centres, heights, width * 0.9, color=look.colour(letter), label=look.MIXERS.get(letter, letter)
        )
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set_xlabel("layer")
    axes.set_ylabel("change of quality, nats per token")
    axes.grid(axis="y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    return figure


@look.styled
def plot_mixer_costs(regimes: list[dict[str, Any]]) -> Figure:
    """The fitted cost of a layer over context, by mixer; one line style a batch.

    Args:
        regimes: rows {"batch", "context", "relative_to_full_attention": {letter: cost}}.
    """
    figure = look.new_figure(560, 400)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    axes.axhline(1, color=look.colour("F"), linewidth=1, linestyle="--")
    batches = sorted({row["batch"] for row in regimes})
    for batch, style in zip(batches, _LINE_STYLES, strict=False):
        own = sorted((row for row in regimes if row["batch"] == batch), key=lambda row: row["context"])
        for letter in own[0]["relative_to_full_attention"]:
            if letter != "F":
                costs = [row["relative_to_full_attention"][letter] for row in own]
                label = f"{look.MIXERS.get(letter, letter)}, batch {batch}"
                axes.plot(
                    [row["context"] for row in own],
                    costs,
                    style,
                    marker="o",
                    color=look.colour(letter),
                    label=label,
                )
    axes.set_xticks(sorted({row["context"] for row in regimes}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: units.context(int(tokens))))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("context, tokens")
    axes.set_ylabel("decode time of a layer relative to full attention")
    axes.grid(axis="y")
    axes.legend(ncols=2)
    return figure
