"""`preset: "auto"`: the best preset with which the engine is forecast to keep its targets.

Presets are ordered by measured quality, the best first, and taken between two bounds. A request gets the
first with which both targets are forecast to be kept, or the last one if there is none. What is forecast must
stay some way below the targets, further below for a better preset than the last one taken unless it was calm
since: so a forecast near its target does not change gear with every request.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic

from pydantic import Field

from derailleur.config import Config
from derailleur.engine import Delta, Request
from derailleur.errors import ConfigError, PlacementError
from derailleur.placement.placement import Placement
from derailleur.placement.presets import Presets
from derailleur.serving.forecast import Forecast, Latency
from derailleur.serving.price import Price

AUTO = "auto"
"""What a request asks for that leaves the preset to the server; no preset may have this name."""

_ROOM, _ROOM_TO_CLIMB = 0.9, 0.75
"""Shares of the targets that a forecast may reach; the second for a better preset than the last one taken."""


class AutoConfig(Config):
    """What the server promises when it chooses the preset, and between which presets."""

    token_seconds: float = Field(
        0.05, gt=0, description="most time per output token, the mean of an answer, seconds"
    )
    first_token_seconds: float = Field(2.0, gt=0, description="most time to the first token, seconds")
    best: str | None = Field(None, description="preset taken without load; the one of best quality if absent")
    fastest: str | None = Field(None, description="preset taken under most load; the cheapest if absent")

    @property
    def target(self) -> Latency:
        """Both targets."""
        return Latency(self.token_seconds, self.first_token_seconds)


class AutoPreset:
    """Chooses presets for requests, from all that the engine does. Used by the engine's thread alone.

    Attributes:
        candidates: the presets to choose from, the best first.

    Raises:
        PlacementError: if a preset was not measured.
        ConfigError: if a bound is no preset, or the bounds are the wrong way round.
    """

    def __init__(
        self,
        presets: Presets,
        config: AutoConfig,
        *,
        prefill_tokens: int,
        max_rows: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.target = config.target
        seconds = _loaded_seconds(presets)
        self.candidates = _candidates(presets, config, seconds)
        self._placements = [presets[name] for name in self.candidates]
        self._prices = {preset.placement: Price.fit(preset) for preset in presets.details}
        self._dearest = self._prices[presets[max(seconds, key=lambda name: seconds[name])]]
        self._forecast = Forecast(
            prefill_tokens=prefill_tokens, max_rows=max_rows, target=self.target, clock=clock
        )
        self._last = 0

    @property
    def best(self) -> Placement:
        """What is taken without load."""
        return self._placements[0]

    def place(
        self, requests: Sequence[Request], *, fits: Callable[[Request], bool] = lambda request: True
    ) -> list[Request]:
        """The requests of one call, under the placement that is chosen for them all.

        Args:
            fits: whether the engine has memory enough for a request; a preset under which it has not is
                passed over, unless there is no other.
        """
        placed = [_under(placement, requests) for placement in self._placements]
        fitting = [place for place, own in enumerate(placed) if all(map(fits, own))]
        self._last = self._choose(requests, fitting or range(len(placed)))
        return placed[self._last]

    def begin(self, request_id: int, request: Request) -> None:
        """The engine took a request on, whoever chose its placement."""
        self._forecast.begin(request_id, request, self._price(request.placement))

    def end(self, request_id: int) -> None:
        """A request is finished or cancelled."""
        self._forecast.end(request_id)

    def observe(self, seconds: float, deltas: Sequence[Delta], *, num_running: int) -> None:
        """Learn from a step; see `Forecast.observe`."""
        self._forecast.observe(seconds, deltas, num_running=num_running)

    def _choose(self, requests: Sequence[Request], places: Sequence[int]) -> int:
        """One of the places among the candidates."""
        last = 0 if self._forecast.calm else self._last
        for place in places[:-1]:
            forecast = self._forecast.latency(requests, self._price(self._placements[place]))
            if forecast.within(self.target, _ROOM_TO_CLIMB if place < last else _ROOM):
                return place
        return places[-1]

    def _price(self, placement: Placement) -> Price:
        """Of a placement that is no preset nothing is known: it counts as the dearest one."""
        return self._prices.get(placement, self._dearest)


def _under(placement: Placement, requests: Sequence[Request]) -> list[Request]:
    """Requests under a placement; a draft of that very one would cost what it spares, and is dropped."""
    return [
        replace(r, placement=placement, draft=None if r.draft == placement else r.draft) for r in requests
    ]


def measured(presets: Presets) -> bool:
    """Whether enough is known of presets to choose between them."""
    return len(presets) == 1 or (all(p.speed for p in presets.details) and bool(_qualities(presets)))


def _candidates(presets: Presets, config: AutoConfig, seconds: Mapping[str, float]) -> list[str]:
    """The presets between the bounds, the best first."""
    for key in ("best", "fastest"):
        name = getattr(config, key)
        if name is not None and name not in presets:
            raise ConfigError(f"auto.{key}: unknown preset '{name}' (known: {', '.join(presets)})")
    if not measured(presets):
        raise PlacementError(
            "preset 'auto' needs the quality and speed of every preset in presets.json; see derailleur place"
        )
    quality = _qualities(presets)
    ordered = sorted(presets, key=lambda name: -quality.get(name, 0.0))
    eligible = ordered[ordered.index(config.best or ordered[0]) :]
    fastest = config.fastest or min(eligible, key=lambda name: seconds[name])
    if fastest not in eligible:
        raise ConfigError(f"auto.fastest: '{fastest}' is of better quality than auto.best, '{eligible[0]}'")
    return eligible[: eligible.index(fastest) + 1]


def _qualities(presets: Presets) -> dict[str, float]:
    """By the best measure that all presets have; empty if there is none."""
    for measure in ("confirmed", "measured", "predicted"):
        values = {preset.name: getattr(preset.quality, measure, None) for preset in presets.details}
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) == len(values):
            return known
    return {}


def _loaded_seconds(presets: Presets) -> dict[str, float]:
    """What a step takes under each preset in the heaviest regime that was timed."""
    regimes = [(speed.batch, speed.context) for preset in presets.details for speed in preset.speed]
    batch, context = max(regimes, key=math.prod, default=(1, 1))
    return {preset.name: Price.fit(preset).step_seconds(batch, context) for preset in presets.details}
