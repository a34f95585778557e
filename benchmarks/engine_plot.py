"""Acceptance and net speed over the cost of a draft (as Super Apriel, arXiv:2604.19877, figure 11)."""

from collections.abc import Sequence

from engine_speculation import Speculated
from engine_tables import context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from derailleur.engine import NGRAM
from derailleur.report import look


@look.styled
def plot_drafts(results: Sequence[Speculated]) -> Figure:
    """Two panels with one colour and marker a context; n-grams, which cost nothing, are hollow."""
    figure = look.new_figure(760, 360)
    acceptance, speed = figure.subplots(1, 2)
    contexts = sorted({row.context_tokens for row in results})
    for index, tokens in enumerate(contexts):
        own = sorted((row for row in results if row.context_tokens == tokens), key=lambda row: row.cost)
        for axes, values in (
            (acceptance, [row.acceptance_rate for row in own]),
            (speed, [row.always for row in own]),
        ):
            hollow = [row.placement == NGRAM for row in own]
            colour = look.ramp(index, len(contexts))
            axes.scatter(
                [row.cost for row in own],
                values,
                marker=look.MARKERS[index],
                edgecolors=colour,
                facecolors=["none" if empty else colour for empty in hollow],
                label=context(tokens),
            )
    speed.set_yscale("log", base=2)
    speed.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    speed.axhline(1, color=look.colour("faint"), linewidth=1, zorder=0)
    acceptance.set_ylabel("acceptance rate")
    acceptance.set_ylim(0, 1.02)
    speed.set_ylabel("tokens/s over those without drafts")
    for axes in (acceptance, speed):
        axes.set_xlabel("draft step over target step, seconds over seconds")
        axes.set_xlim(left=-0.03)
        axes.grid(axis="y")
    acceptance.legend(title="context", loc="lower left")
    return figure
