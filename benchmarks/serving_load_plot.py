"""The load test drawn: every answer's times at the moment when it was asked for, beside what was promised."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from serving_load_client import Answer, Phase

from derailleur.report import look


@look.styled
def plot_load(
    answers: Mapping[str, Sequence[Answer]],
    phases: Sequence[Phase],
    *,
    token_seconds: float,
    first_token_seconds: float,
    presets: Sequence[str],
) -> Figure:
    """A column per server, a row per promise.

    Args:
        answers: by the preset that the server was started with.
        presets: all that may have been taken, the best first.
    """
    figure = look.new_figure(820, 460)
    grid = figure.subplots(2, len(answers), sharex=True, sharey="row", squeeze=False)
    for column, (serving, own) in enumerate(answers.items()):
        grid[0][column].set_title(f"--preset {serving}")
        grid[1][column].set_xlabel("asked for, seconds")
        for row, (field, target) in enumerate(
            (("token_seconds", token_seconds), ("first_token_seconds", first_token_seconds))
        ):
            axes = grid[row][column]
            for place, preset in enumerate(presets):
                taken = [answer for answer in own if answer.preset == preset]
                axes.scatter(
                    [answer.asked.at_seconds for answer in taken],
                    [getattr(answer, field) for answer in taken],
                    marker=look.MARKERS[place],
                    color=look.ramp(place, len(presets)),
                    s=28,
                    label=preset,
                )
            axes.axhline(target, color=look.colour("muted"), linewidth=1, linestyle="--", zorder=0)
            axes.axvspan(
                phases[0].seconds,
                phases[0].seconds + phases[1].seconds,
                color=look.colour("grid"),
                alpha=0.5,
                zorder=-1,
            )
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(axis="y")
    grid[0][0].set_ylabel("seconds per token")
    grid[1][0].set_ylabel("seconds to first token")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(presets))
    return figure
