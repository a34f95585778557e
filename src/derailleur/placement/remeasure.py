"""Chosen placements are measured again, so that no preset rests on a prediction alone."""

from collections.abc import Mapping, Sequence

import numpy as np

from derailleur.placement.cost import CostModel, Regime
from derailleur.placement.measure import QualityMeter, SpeedMeter
from derailleur.placement.placement import Placement
from derailleur.placement.presets import Preset, PresetQuality, Presets, PresetSpeed
from derailleur.placement.surrogate import Surrogate

_ORIGIN = "preset"


def measure_presets(
    chosen: Mapping[str, Placement],
    *,
    surrogate: Surrogate,
    cost: CostModel,
    regime: Regime,
    quality: QualityMeter,
    confirm: QualityMeter,
    speed: SpeedMeter,
) -> Presets:
    """Measure the quality of each on both sets of windows, and its speed in every regime.

    Args:
        chosen: names and placements; the first is the default.
        regime: the one that `Preset.cost` is of.
        quality: on the windows of the search.
        confirm: on windows that no choice was made by.
    """
    placements = dict.fromkeys(chosen.values(), _ORIGIN)
    quality.measure(placements, "quality of presets")
    confirm.measure(placements, "quality confirmed")
    speed.measure(placements, "speed of presets")
    measured, confirmed = quality.measured(), confirm.measured()
    predicted, _ = surrogate.predict(list(chosen.values()))
    details = [
        Preset(
            name=name,
            placement=placement,
            cost=cost.relative_cost(placement, regime),
            quality=PresetQuality(
                predicted=float(prediction), measured=measured[placement], confirmed=confirmed[placement]
            ),
            speed=_speeds(placement, cost, speed),
        )
        for (name, placement), prediction in zip(chosen.items(), predicted, strict=True)
    ]
    return Presets(details, default=details[0].name)


def _speeds(placement: Placement, cost: CostModel, speed: SpeedMeter) -> tuple[PresetSpeed, ...]:
    seconds = {timing.regime: timing.seconds_per_step for timing in speed.timings(_ORIGIN, placement)}
    return tuple(
        PresetSpeed(
            batch=regime.batch,
            context=regime.context,
            predicted=cost.tokens_per_second(placement, regime),
            measured=regime.batch / seconds[regime],
        )
        for regime in speed.config.regimes
    )


def preset_errors(presets: Sequence[Preset]) -> dict[str, float]:
    """How far the predictions were from what was then measured."""
    qualities = [preset.quality for preset in presets if preset.quality]
    quality = [abs(q.predicted - q.measured) for q in qualities if q.predicted and q.measured]
    speeds = [row for preset in presets for row in preset.speed]
    speed = [abs(row.predicted / row.measured - 1) for row in speeds if row.predicted and row.measured]
    return {"quality_mean_absolute_nats": float(np.mean(quality)), "speed_mape": float(np.mean(speed))}
