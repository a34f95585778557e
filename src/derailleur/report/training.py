"""Loss over tokens in every training stage."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from derailleur.report import look, units
from derailleur.report.run_folder import TRAINING_STAGES, RunFolder
from derailleur.report.section import Plot, Section, missing

_TITLE = "How it learned"
_MAX_POINTS = 400  # a curve in the page; longer logs are averaged down to this
_LIKELIHOOD = "next-token loss, nats per token"
_LOSSES = {  # the title and the unit of a phase's own loss
    "align": ("local alignment", "distance / size of the teacher's output"),
    "stochastic": ("stochastic distillation", "activation distance + KL, nats"),
}


@dataclass(frozen=True)
class Curve:
    """One series of a training log.

    Attributes:
        label: what it is; `swa` or `all-swa` gives the curve that mixer's colour.
        tokens: tokens trained on so far, one a point.
        values: the loss at each point.
        heldout: measured on held-out text, so drawn as points.
    """

    label: str
    tokens: list[float]
    values: list[float]
    heldout: bool = False


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes.

    Attributes:
        unit: of the losses.
        logarithmic: whether the losses' axis is.
    """

    name: str
    title: str
    unit: str
    curves: list[Curve]
    logarithmic: bool = False


def section(run: RunFolder) -> Section:
    """The section about the stages that train."""
    shown = [
        panel for stage in TRAINING_STAGES for panel in panels(stage, run.lines(f"{stage}/metrics.jsonl"))
    ]
    if not shown:
        return missing("training", _TITLE, "pretrain")
    done = {stage: run.results(stage) for stage in TRAINING_STAGES if run.results(stage)}
    parts = [
        f"{stage}: {units.plural(results['steps'], 'step')} on {units.count(results['tokens'])} tokens"
        for stage, results in done.items()
    ]
    lead = "; ".join(parts) + "." if parts else "Training is under way; these are its logs so far."
    plots = [
        Plot(panel.name, panel.title, _caption(panel), plot_losses(panel), asdict(panel)) for panel in shown
    ]
    return Section("training", _TITLE, lead, plots)


def panels(stage: str, rows: list[dict[str, Any]]) -> list[Panel]:
    """Sort the rows of one metrics.jsonl into panels: per phase the loss, by mixer, by placement."""
    found = []
    for phase in dict.fromkeys(row.get("phase", stage) for row in rows):
        found += _phase_panels(stage, phase, [row for row in rows if row.get("phase", stage) == phase])
    return [panel for panel in found if panel.curves]


def _phase_panels(stage: str, phase: str, rows: list[dict[str, Any]]) -> list[Panel]:
    title, unit = _LOSSES.get(phase, (stage, _LIKELIHOOD))
    name = stage if phase == stage else f"{stage}-{phase}"
    loss = [_curve("training", rows, "loss"), _curve("held out", rows, "heldout_loss", heldout=True)]
    mixers = [_curve(mixer, rows, "mixer_loss", mixer) for mixer in _keys(rows, "mixer_loss")]
    placements = [
        _curve(placement, rows, "heldout", placement, "loss", heldout=True)
        for placement in _keys(rows, "heldout")
        if placement != "mixer_loss"
    ]
    unit_of_mixers = "distance / size of the teacher's output"
    title = title[0].upper() + title[1:]
    return [
        Panel(f"loss-{name}", title, unit, _with_points(loss), logarithmic=phase in _LOSSES),
        Panel(f"mixers-{name}", f"{title}, by mixer", unit_of_mixers, _with_points(mixers), logarithmic=True),
        Panel(
            f"heldout-{name}", f"{title}, held-out files by placement", _LIKELIHOOD, _with_points(placements)
        ),
    ]


def _keys(rows: list[dict[str, Any]], group: str) -> list[str]:
    """The keys of a nested group: the mixers' in canonical order, then others as they come."""
    found = dict.fromkeys(key for row in rows for key in row.get(group) or {})
    canonical = [name for mixer in look.MIXER_NAMES for name in (mixer, f"all-{mixer}") if name in found]
    return canonical + [key for key in found if key not in canonical]


def _with_points(curves: list[Curve]) -> list[Curve]:
    return [curve for curve in curves if curve.tokens]


def _curve(label: str, rows: list[dict[str, Any]], *path: str, heldout: bool = False) -> Curve:
    """The series at `path` in every row that has it and `tokens`; what is not finite is left out."""
    pairs = [
        (float(row["tokens"]), value)
        for row in rows
        if "tokens" in row and (value := _number(row, path)) is not None and math.isfinite(value)
    ]
    if len(pairs) > _MAX_POINTS:
        groups = np.array_split(np.array(pairs), _MAX_POINTS)
        pairs = [tuple(group.mean(axis=0).tolist()) for group in groups]
    return Curve(label, [tokens for tokens, _ in pairs], [value for _, value in pairs], heldout)


def _number(row: dict[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _caption(panel: Panel) -> str:
    if not any(curve.heldout for curve in panel.curves):
        return ""
    if panel.name.startswith("heldout"):
        return "The same mixer in every layer, or the placements that are trained."
    return "Dots are measured on held-out files."


@look.styled
def plot_losses(panel: Panel) -> Figure:
    """Training losses as lines (raw faint, smoothed strong), held-out losses as dots."""
    figure = look.new_figure(560, 320)
    axes = figure.subplots()
    most = max(curve.tokens[-1] for curve in panel.curves)
    factor, unit = (1e6, "millions") if most >= 1e6 else (1e3, "thousands")
    for place, curve in enumerate(panel.curves):
        tokens, values = np.array(curve.tokens) / factor, np.array(curve.values)
        label, shade = _appearance(curve, place, len(panel.curves))
        if curve.heldout:
            axes.plot(tokens, values, "o-", color=shade, linewidth=1, markersize=6, label=label)
        else:
            axes.plot(tokens, _drawable(values, panel), color=shade, alpha=0.25, linewidth=1)
            axes.plot(tokens, _drawable(_smoothed(values), panel), color=shade, label=label)
    axes.set_xlabel(f"tokens trained on, {unit}")
    axes.set_ylabel(panel.unit)
    if panel.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, columnspacing=1.2, borderpad=0)
    return figure


def _drawable(values: np.ndarray, panel: Panel) -> np.ndarray:
    """Full attention that only full attention precedes is off by 0, which a logarithm does not have."""
    return np.where(values > 0, values, np.nan) if panel.logarithmic else values


def _appearance(curve: Curve, place: int, count: int) -> tuple[str, str]:
    """The label and the colour of a curve."""
    letter = look.MIXER_NAMES.get(curve.label.removeprefix("all-"))
    if letter:
        return look.MIXERS[letter], look.colour(letter)
    if curve.label in ("training", "held out"):
        return curve.label, look.colour("accent" if curve.heldout else "ink")
    return curve.label, look.ramp(place, count)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """A running mean over a twelfth of the curve, shorter at both ends."""
    centres = np.arange(len(values))
    # As far to the left as to the right, else the steep beginning would be flattened.
    reach = np.minimum(len(values) // 25, np.minimum(centres, centres[::-1]))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low, high = centres - reach, centres + reach + 1
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means
