"""Placement maps: layers by placements, each cell in its mixer's colour."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from derailleur.report import look, units

_ROW = 26  # height of a placement, CSS pixels
_MAX_LETTERS = 26  # layers up to which letters fit into their cells
_MAX_TICKS = 12


@look.styled
def plot_map(rows: list[dict[str, Any]]) -> Figure:
    """One placement a line, drawn from the top.

    Args:
        rows: {"placement", "speed" relative to all-FA or None, "label"}; as many layers in each.
    """
    num_layers = len(rows[0]["placement"])
    figure = look.new_figure(560, 64 + _ROW * len(rows))
    axes = figure.subplots()
    for line, row in enumerate(rows):
        for layer, letter in enumerate(row["placement"]):
            axes.add_patch(
                Rectangle((layer + 0.04, line + 0.08), 0.92, 0.84, facecolor=look.colour(letter), linewidth=0)
            )
            if num_layers <= _MAX_LETTERS:
                ink = look.colour(look.LETTER_COLOURS.get(letter, "on-deep"))
                axes.text(
                    layer + 0.5, line + 0.5, letter, ha="center", va="center_baseline", color=ink, fontsize=11
                )
        speed = units.decimals(row["speed"], 2) + "×"
        axes.text(num_layers * 1.02, line + 0.5, speed, va="center_baseline")
    axes.set_xlim(0, num_layers * 1.1)
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([line + 0.5 for line in range(len(rows))], [row["label"] for row in rows])
    ticks = range(0, num_layers, -(-num_layers // _MAX_TICKS))
    axes.set_xticks([tick + 0.5 for tick in ticks], [str(tick) for tick in ticks])
    axes.set_xlabel("layer")
    look.bare(axes)
    return figure
