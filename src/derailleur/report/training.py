"""Loss over tokens in every training stage."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from derailleur.report import look, units
from derailleur.report.run_folder import TRAINING_STAGES, RunFolder
from derailleur.report.section import Plot, Section, missing

_TITLE = "How it learned"
_MAX_POINTS = 400  # a curve in the page; longer logs are averaged down to this
_PHASES = {"align": "local alignment", "stochastic": "stochastic distillation"}


@dataclass(frozen=True)
class Curve:
    """One series of a training log.

    Attributes:
        label: what it is; the name of a mixer gives the curve its colour.
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
    """The curves of one stage or phase."""

    name: str
    title: str
    curves: list[Curve] = field(default_factory=list)


def section(run: RunFolder) -> Section:
    """The section about the stages that train."""
    shown = [
        panel for stage in TRAINING_STAGES for panel in panels(stage, run.lines(f"{stage}/metrics.jsonl"))
    ]
    if not shown:
        return missing("training", _TITLE, "pretrain")
    parts = []
    for stage in TRAINING_STAGES:
        results = run.results(stage)
        if results.get("tokens"):
            loss = results.get("heldout_loss")
            end = "" if loss is None else f", ending at a held-out loss of {loss:.3f}"
            parts.append(f"{stage} {units.count(results['tokens'])}{end}")
    lead = (
        "In tokens seen: " + "; ".join(parts) + "."
        if parts
        else "Training is under way; these are its logs so far."
    )
    plots = [
        Plot(f"loss-{panel.name}", panel.title, _caption(panel), plot_losses(panel), asdict(panel))
        for panel in shown
    ]
    return Section("training", _TITLE, lead, plots)


def panels(stage: str, rows: list[dict[str, Any]]) -> list[Panel]:
    """Sort the rows of one metrics.jsonl into panels, one a phase."""
    found = []
    for phase in dict.fromkeys(row.get("phase", "") for row in rows):
        own = [row for row in rows if row.get("phase", "") == phase]
        curves = [_curve("training", ((row, row.get("loss")) for row in own))]
        names = dict.fromkeys(name for row in own for name in row.get("mixer_loss") or {})
        curves += [
            _curve(name, ((row, (row.get("mixer_loss") or {}).get(name)) for row in own)) for name in names
        ]
        curves.append(_curve("held out", ((row, row.get("heldout_loss")) for row in own), heldout=True))
        title = f"{stage}: {_PHASES.get(phase, phase)}" if phase not in ("", stage) else stage
        kept = [curve for curve in curves if curve.tokens]
        if kept:
            found.append(Panel(f"{stage}-{phase}".strip("-"), f"Loss over tokens, {title}", kept))
    return found


def _curve(label: str, points: Iterable[tuple[dict[str, Any], Any]], *, heldout: bool = False) -> Curve:
    pairs = [
        (float(row["tokens"]), float(value))
        for row, value in points
        if "tokens" in row and value is not None and math.isfinite(value)
    ]
    if len(pairs) > _MAX_POINTS:
        groups = np.array_split(np.array(pairs), _MAX_POINTS)
        pairs = [tuple(group.mean(axis=0).tolist()) for group in groups]
    return Curve(label, [tokens for tokens, _ in pairs], [value for _, value in pairs], heldout)


def _caption(panel: Panel) -> str:
    return "Dots are measured on held-out files." if any(curve.heldout for curve in panel.curves) else ""


@look.styled
def plot_losses(panel: Panel) -> Figure:
    """Training losses as lines (raw faint, smoothed strong), held-out losses as dots."""
    figure = look.new_figure(560, 320)
    axes = figure.subplots()
    for curve in panel.curves:
        letter = look.MIXER_NAMES.get(curve.label)
        shade = look.colour(letter or ("accent" if curve.heldout else "ink"))
        millions = np.array(curve.tokens) / 1e6
        if curve.heldout:
            axes.plot(millions, curve.values, "o", color=shade, label=curve.label, zorder=3)
            axes.plot(millions, curve.values, color=shade, linewidth=1, alpha=0.5)
            continue
        axes.plot(millions, curve.values, color=shade, alpha=0.25, linewidth=1)
        label = look.MIXERS[letter] if letter else curve.label
        axes.plot(millions, _smoothed(np.array(curve.values)), color=shade, label=label)
    axes.set_xlabel("tokens trained on, millions")
    axes.set_ylabel("loss, nats per token" if _is_likelihood(panel) else "loss")
    if any(curve.label in look.MIXER_NAMES for curve in panel.curves):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure


def _is_likelihood(panel: Panel) -> bool:
    return not any(curve.label in look.MIXER_NAMES for curve in panel.curves)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """A running mean over a twenty-fifth of the curve, shorter at both ends."""
    reach = len(values) // 50
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centres = np.arange(len(values))
    low, high = np.maximum(centres - reach, 0), np.minimum(centres + reach + 1, len(values))
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means
