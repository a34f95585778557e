"""The plot of quality against speed: the one look of the frontier."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, DrawingArea, TextArea, VPacker
from matplotlib.patches import Rectangle

from derailleur.report import look
from derailleur.report.presets import Preset

QUALITY = "mean log-likelihood, nats per token"
_CELL = 9  # side of a layer's cell in a preset's label, CSS pixels
_STRIP = 110  # the longest strip of cells
_LABEL_WIDTH, _LABEL_HEIGHT = 120, 32  # of a preset's label, points


def majority(letters: str) -> str:
    """The mixer that most layers have; of several, the first in canonical order."""
    counts = Counter(letters)
    return max([*look.MIXERS, *letters], key=lambda letter: counts[letter])


@look.styled
def plot_frontier(
    frontier: list[dict[str, Any]], measured: list[dict[str, Any]], presets: list[Preset]
) -> Figure:
    """Predicted frontier as a line, measured placements as dots, presets with their names and strips.

    Args:
        frontier, measured: rows {"placement", "speed" relative to all-FA, "quality" in nats per token}.
    """
    figure = look.new_figure(760, 460)
    axes = figure.subplots()
    for row in measured:
        shade = look.colour(majority(row["placement"]))
        (dot,) = axes.plot(row["speed"], row["quality"], "o", color=shade, alpha=0.75, markersize=6, mew=0)
        look.tooltip(dot, _describe(row["placement"], row["speed"], row["quality"]))
    speeds, qualities = [row["speed"] for row in frontier], [row["quality"] for row in frontier]
    axes.plot(speeds, qualities, color=look.colour("ink"), linewidth=1.5, zorder=1.5)
    points = [(preset, *point) for preset in presets if (point := _draw_preset(axes, preset)) is not None]
    axes.set_xlabel("decode speed relative to all-FA, ×")
    axes.set_ylabel(f"quality: {QUALITY}")
    axes.grid()
    _leave_room(axes)
    _label(axes, points)
    return figure


def _draw_preset(axes: Axes, preset: Preset) -> tuple[float, float] | None:
    """Mark a preset; gives its speed and quality if both are known."""
    quality = preset.predicted_quality if preset.measured_quality is None else preset.measured_quality
    if preset.cost is None or quality is None:
        return None
    speed = 1 / preset.cost
    edge = look.colour("card")
    (mark,) = axes.plot(
        speed, quality, preset.marker, color=preset.colour, markersize=13, mec=edge, mew=1.5, zorder=4
    )
    look.tooltip(mark, f"{preset.name}: {_describe(preset.letters, speed, quality)}")
    return speed, quality


def _label(axes: Axes, points: Sequence[tuple[Preset, float, float]]) -> None:
    """Name the presets to the upper right of their marks, one above the other where they are close."""
    to_points = 72 / axes.figure.dpi
    taken: list[tuple[float, float]] = []
    for preset, speed, quality in sorted(points, key=lambda point: -point[1]):
        x, y = axes.transData.transform((speed, quality)) * to_points
        rise = 10.0
        while any(abs(x - u) < _LABEL_WIDTH and abs(y + rise - w) < _LABEL_HEIGHT for u, w in taken):
            rise += 4
        taken.append((x, y + rise))
        name = TextArea(f"{preset.name}  {speed:.2f}×", textprops={"color": preset.colour, "weight": "bold"})
        axes.add_artist(
            AnnotationBbox(
                VPacker(children=[name, _strip(preset.letters)], pad=0, sep=3, align="left"),
                (speed, quality),
                xybox=(12, rise),
                boxcoords="offset points",
                box_alignment=(0, 0),
                pad=0.15,
                bboxprops={"facecolor": look.colour("card"), "linewidth": 0, "alpha": 0.9},
            )
        )


def _strip(letters: str) -> DrawingArea:
    cell = min(_CELL, _STRIP / len(letters))
    drawing = DrawingArea(cell * len(letters), _CELL)
    for layer, letter in enumerate(letters):
        corner = (cell * layer, 0)
        drawing.add_artist(Rectangle(corner, cell * 0.88, _CELL, facecolor=look.colour(letter), linewidth=0))
    return drawing


def _leave_room(axes: Axes) -> None:
    """Room for the presets' labels, which stand to the upper right of their points."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.set_xlim(left, right + 0.14 * (right - left))
    axes.set_ylim(bottom, top + 0.25 * (top - bottom))


def _describe(placement: str, speed: float, quality: float) -> str:
    return f"{placement}: {speed:.2f}×, {quality:.4f} nats per token"
