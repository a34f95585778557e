"""The flow picture: a band of all that was seen, from which every step of curate takes something away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Curve

from derailleur.report import look, units

STEPS: Mapping[str, str] = {
    "sources": "sources",
    "language": "language",
    "text": "text",
    "licence": "licence",
    "exact_dedup": "exact copies",
    "near_dedup": "near-duplicates",
    "filters": "filters",
    "benchmarks": "benchmarks",
}
"""The steps of curate in their order, and the words for them."""

Unit = Literal["files", "bytes"]

_WIDTH = 560
_ROW = 46  # height of a step, CSS pixels
_LEFT = 124  # room for the steps' names
_BAND = 170  # width of all that was seen
_END = _LEFT + _BAND + 40  # where a branch ends and its words begin
_THINNEST, _THICKEST = 1.0, 14.0  # end of a branch: none is invisible, none runs into the next row
_MAX_CHARACTERS = 36  # of the reasons beside a branch


@dataclass(frozen=True)
class Step:
    """One step of the flow.

    Attributes:
        before, left_out: what came to it, and what of that it left out; files or bytes.
        reasons: the words for why, the largest amount first.
    """

    label: str
    before: int
    left_out: int
    reasons: tuple[str, ...]


def flow(results: Mapping[str, Any], unit: Unit) -> list[Step]:
    """The steps of a finished stage.

    Args:
        results: of stage curate.
    """
    remaining = results[f"{unit}_seen"]
    steps = []
    for name, label in STEPS.items():
        rows = sorted(
            (row for row in results["left_out"] if row["step"] == name and row[unit]),
            key=lambda row: -row[unit],
        )
        left_out = sum(row[unit] for row in rows)
        steps.append(Step(label, remaining, left_out, tuple(in_words(row["reason"]) for row in rows)))
        remaining -= left_out
    return steps


def in_words(name: str) -> str:
    """A reason of the ledger as people read it."""
    return name.replace("_", " ")


@look.styled
def plot_flow(steps: Sequence[Step], unit: Unit) -> Figure:
    """From the top: all that was seen; at each step a branch to the right; at the bottom what is kept."""
    seen = max(steps[0].before, 1)
    kept = steps[-1].before - steps[-1].left_out
    height = _ROW * (len(steps) + 2)
    figure = look.new_figure(_WIDTH, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    _draw_band(axes, "seen", 0, _BAND, _amount(seen, unit))
    for row, step in enumerate(steps, start=1):
        _draw_step(axes, step, row, unit, seen)
    share = f"{_amount(kept, unit)}, {units.percent(kept / seen)}"
    _draw_band(axes, "kept", len(steps) + 1, _BAND * kept / seen, share)
    return figure


def _draw_band(axes: Axes, label: str, row: int, width: float, words: str) -> None:
    """One end of the band."""
    axes.add_patch(Rectangle((_LEFT, _ROW * row), width, _ROW, facecolor=look.colour("accent"), linewidth=0))
    middle = _ROW * (row + 0.5)
    axes.text(_LEFT - 12, middle, label, ha="right", va="center_baseline", weight="bold")
    axes.text(_END + 8, middle, words, va="center_baseline", weight="bold")


def _draw_step(axes: Axes, step: Step, row: int, unit: Unit, seen: int) -> None:
    top, middle = _ROW * row, _ROW * (row + 0.5)
    before, after = (_LEFT + _BAND * amount / seen for amount in (step.before, step.before - step.left_out))
    band = Rectangle((_LEFT, top), after - _LEFT, _ROW, facecolor=look.colour("accent"), linewidth=0)
    axes.add_patch(band)
    look.tooltip(band, f"before {step.label}: {_amount(step.before, unit)}")
    axes.text(_LEFT - 12, middle, step.label, ha="right", va="center_baseline", color=look.colour("muted"))
    if not step.left_out:
        axes.text(_END + 8, middle, "nothing", va="center_baseline", color=look.colour("faint"))
        return
    branch = PathPatch(_branch(before, after, top), facecolor=look.colour("faint"), linewidth=0)
    axes.add_patch(branch)
    words = f"− {_amount(step.left_out, unit)}, {units.percent(step.left_out / seen)}"
    look.tooltip(branch, f"{step.label}: {words}: {', '.join(step.reasons)}")
    axes.text(_END + 8, middle - 7, words, va="center_baseline")
    reasons = _shortened(step.reasons)
    axes.text(_END + 8, middle + 9, reasons, va="center_baseline", fontsize=10.5, color=look.colour("muted"))


def _branch(before: float, after: float, top: float) -> Curve:
    """What leaves the band between two of its widths turns right, and becomes thin."""
    thickness = min(max(before - after, _THINNEST), _THICKEST)
    upper, lower = top + (_ROW - thickness) / 2, top + (_ROW + thickness) / 2
    before = max(before, after + _THINNEST)
    bend = (_END - before) / 3
    points = [
        (after, top),
        *((after, lower), (before, lower), (_END, lower)),
        (_END, upper),
        *((before + bend, upper), (before, upper), (before, top)),
        (after, top),
    ]
    curve = [Curve.CURVE4] * 3
    return Curve(points, [Curve.MOVETO, *curve, Curve.LINETO, *curve, Curve.CLOSEPOLY])


def _amount(amount: int, unit: Unit) -> str:
    return units.plural(amount, "file") if unit == "files" else units.data_size(amount)


def _shortened(reasons: Sequence[str]) -> str:
    """As many of the reasons as there is room for."""
    words = ", ".join(reasons)
    return words if len(words) <= _MAX_CHARACTERS else words[: _MAX_CHARACTERS - 1].rstrip(", ") + "…"
