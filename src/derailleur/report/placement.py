"""The section about stage place: the frontier, the placements on it, and the models that found them."""

from typing import Any

import numpy as np

from derailleur.report import units
from derailleur.report.frontier import plot_frontier
from derailleur.report.maps import plot_map
from derailleur.report.markup import Html, join
from derailleur.report.presets import Preset, legend, read_presets
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot, Section, missing
from derailleur.report.surrogate import plot_layer_effects, plot_mixer_costs, plot_predictions

_TITLE = "The frontier"
_MAX_MAP_ROWS = 20


def section(run: RunFolder) -> Section:
    """The section about stage place."""
    presets = read_presets(run)
    if not presets:
        return missing("frontier", _TITLE, "place")
    frontier, measured = read_frontier(run), measured_placements(run)
    lead = (
        f"{units.plural(len(measured), 'placement')} measured on held-out text, {len(frontier):,} on the "
        f"frontier that was predicted from them, {units.plural(len(presets), 'preset')} chosen and "
        "measured again."
    )
    blocks = [_frontier(run, frontier, measured, presets), _preset_map(presets), *_frontier_map(frontier)]
    return Section("frontier", _TITLE, lead, [legend(), *blocks, *_models(run)])


def read_frontier(run: RunFolder) -> list[dict[str, Any]]:
    """Rows {"placement", "speed", "quality"} of the predicted frontier, the slowest first."""
    rows = [
        {"placement": row["placement"], "speed": 1 / row["cost"], "quality": row["predicted_quality"]}
        for row in run.json("place/frontier.json", [])
    ]
    return sorted(rows, key=lambda row: row["speed"])


def measured_placements(run: RunFolder) -> list[dict[str, Any]]:
    """Rows {"placement", "speed", "quality"}: quality measured, speed by the cost model."""
    costs = frontier_regime(run).get("relative_to_full_attention", {})
    return [
        {
            "placement": row["placement"],
            "speed": len(row["placement"]) / sum(costs[letter] for letter in row["placement"]),
            "quality": row["log_likelihood"],
        }
        for row in run.lines("place/quality.jsonl")
        if set(row["placement"]) <= set(costs)
    ]


def frontier_regime(run: RunFolder) -> dict[str, Any]:
    """The row of cost.json for the batch and context that the frontier was searched for."""
    searched = run.results("place").get("regime", {})
    regimes = run.json("place/cost.json", {}).get("regimes", [])
    return next((row for row in regimes if searched.items() <= row.items()), {})


def _frontier(
    run: RunFolder, frontier: list[dict[str, Any]], measured: list[dict[str, Any]], presets: list[Preset]
) -> Plot:
    regime = frontier_regime(run)
    where = f" at {units.regime(regime['batch'], regime['context'])}" if regime else ""
    caption = (
        f"Up and to the right is better; speed{where}. Dots: placements measured on held-out text, coloured "
        "by the mixer that most of their layers have. Line: the best that is predicted for each speed. "
        "Large: the presets."
    )
    data = {
        "regime": regime,
        "frontier": frontier,
        "measured": measured,
        "presets": [vars(p) for p in presets],
    }
    figure = plot_frontier(frontier, measured, presets)
    return Plot("frontier", "Quality against speed", caption, figure, data, wide=True)


def _preset_map(presets: list[Preset]) -> Plot:
    rows = [
        {"placement": p.letters, "speed": 1 / p.cost if p.cost else None, "label": p.name} for p in presets
    ]
    caption = "The first layer on the left; speed relative to all-FA on the right."
    return Plot("preset-map", "The presets, layer by layer", caption, plot_map(rows), rows)


def _frontier_map(frontier: list[dict[str, Any]]) -> list[Plot]:
    if not frontier:
        return []
    spread = np.linspace(0, len(frontier) - 1, min(len(frontier), _MAX_MAP_ROWS)).round().astype(int)
    rows = [frontier[index] | {"label": ""} for index in spread]
    caption = f"{len(rows)} of {units.plural(len(frontier), 'placement')}, the slowest on top."
    return [Plot("frontier-map", "The frontier, layer by layer", caption, plot_map(rows), rows)]


def _models(run: RunFolder) -> list[Plot | Html]:
    """Plots of the surrogate and of the cost model, of what is there."""
    surrogate = run.json("place/surrogate.json", {})
    regimes = run.json("place/cost.json", {}).get("regimes", [])
    plots: list[Plot | Html] = []
    if effects := surrogate.get("layer_effects"):
        caption = join("What quality changes when one layer of all-FA gets another mixer, by the surrogate.")
        figure = plot_layer_effects(effects)
        plots.append(Plot("layer-effects", "What each layer gives up", caption, figure, effects))
    if observations := surrogate.get("observations"):
        fit = surrogate["report"]
        caption = join(
            "Each dot: a placement, predicted by a surrogate fitted without it. "
            f"R² {fit['loo_r2']:.3f}, Spearman {fit['loo_spearman']:.3f}, "
            f"error {fit['loo_rmse']:.4f} nats (RMS)."
        )
        figure = plot_predictions(observations)
        plots.append(Plot("surrogate", "Predicted against measured quality", caption, figure, observations))
    if regimes:
        caption = join(
            "Below the dashed line a mixer is cheaper than full attention; above it, full attention wins."
        )
        figure = plot_mixer_costs(regimes)
        plots.append(Plot("mixer-costs", "What a layer costs, full attention = 1", caption, figure, regimes))
    return plots
