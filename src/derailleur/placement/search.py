"""Exact search: the best placements at every cost, by dynamic programming over layers.

The score is a cluster expansion of range R, so a partial placement matters to later layers only through
its last R mixers and its cost so far. Costs are integers; one pass gives the best score at every total
cost, hence the whole frontier. Where a minimum count is asked for, the counts join the state.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from derailleur.errors import PlacementError
from derailleur.placement.expansion import ClusterExpansion, FloatArray
from derailleur.placement.placement import MIXERS, Placement

_SCORE_TOLERANCE = 1e-12
"""A costlier placement that is better by less than this is not on the frontier (rounding of sums)."""


@dataclass(frozen=True)
class Candidate:
    """A placement with its total integer cost and its score."""

    placement: Placement
    cost: int
    score: float


@dataclass(frozen=True)
class FrontierPoint:
    """A placement that no cheaper or equally cheap one is predicted to beat.

    Attributes:
        cost: predicted seconds per step over those of all-FA, so that all-FA costs 1.
        predicted_quality: the surrogate's mean, nats per token.
    """

    placement: Placement
    cost: float
    predicted_quality: float


class _State(NamedTuple):
    history: str  # the last R letters
    counts: tuple[int, ...]  # per mixer, capped at min_count; empty where no minimum is asked for


class _Step(NamedTuple):
    source: int  # index of the state before this layer
    letter: str
    gain: float


class _Layer(NamedTuple):
    steps: list[list[_Step]]  # by state: the ways into it
    choices: npt.NDArray[np.uint16]  # [states, keep, costs]: index of the way * keep + rank at its source


class SearchTable:
    """The best placements at every exact cost; made by `solve`."""

    def __init__(self, layers: list[_Layer], finals: FloatArray, costs: Mapping[str, int]) -> None:
        self._layers = layers
        self._finals = finals  # [states, keep, costs], -inf where there is no placement
        self._costs = costs

    def frontier(self) -> list[Candidate]:
        """The Pareto frontier from the cheapest to the best; of equally good ones the cheapest is on it."""
        points: list[Candidate] = []
        by_cost = self._finals[:, 0]  # [states, costs]
        for cost, score in enumerate(by_cost.max(axis=0)):
            if score > (points[-1].score + _SCORE_TOLERANCE if points else -np.inf):
                points.append(self._candidate(int(by_cost[:, cost].argmax()), 0, cost))
        return points

    def best(self, budget: int, k: int = 1) -> list[Candidate]:
        """The k best different placements of at most this cost, best first; fewer if there are fewer.

        `k` must not exceed the `keep` that the table was solved with.
        """
        assert 1 <= k <= self._finals.shape[1]
        within = self._finals[:, :, : max(budget + 1, 0)]
        order = np.argsort(-within, axis=None, kind="stable")[:k]
        places = zip(*np.unravel_index(order, within.shape), strict=True)
        return [self._candidate(int(s), int(r), int(c)) for s, r, c in places if within[s, r, c] > -np.inf]

    def _candidate(self, state: int, rank: int, cost: int) -> Candidate:
        score, left = float(self._finals[state, rank, cost]), cost
        keep = self._finals.shape[1]
        letters: list[str] = []
        for layer in reversed(self._layers):
            way, rank = divmod(int(layer.choices[state, rank, left]), keep)
            state, letter, _ = layer.steps[state][way]
            left -= self._costs[letter]
            letters.append(letter)
        return Candidate(Placement.of(reversed(letters)), cost, score)


def integer_costs(relative: Mapping[str, float], resolution: int) -> dict[str, int]:
    """Costs per mixer in units of 1/resolution of an FA layer, rounded up so that no budget is exceeded."""
    return {letter: math.ceil(cost * resolution - 1e-9) for letter, cost in relative.items()}


def solve(
    expansion: ClusterExpansion,
    costs: Mapping[str, int],
    *,
    keep: int = 1,
    min_count: int = 1,
    allowed: Sequence[str] | None = None,
) -> SearchTable:
    """Find the best placements at every total cost.

    Args:
        costs: of one layer, by mixer; a mixer that is not in it is not used.
        keep: how many placements to keep at every cost (for k-best).
        min_count: a mixer is used in no layer or in at least this many; 1 allows everything.
        allowed: the letters that each layer may have; None for all of `costs`.

    Raises:
        PlacementError: if no placement fulfils the constraints.
    """
    letters = ["".join(costs)] * expansion.num_layers if allowed is None else list(allowed)
    if len(letters) != expansion.num_layers or not all(set(layer) <= set(costs) for layer in letters):
        raise PlacementError(f"allowed {letters}: expected letters of '{''.join(costs)}' for every layer")
    max_cost = sum(max((costs[letter] for letter in layer), default=0) for layer in letters)
    states = [_State("", (0,) * len(MIXERS) if min_count > 1 else ())]
    values = np.full((1, keep, max_cost + 1), -np.inf)
    values[0, 0, 0] = expansion.constant
    layers: list[_Layer] = []
    for index, layer_letters in enumerate(letters):
        states, steps = _extend(states, expansion, index, layer_letters, min_count)
        values, choices = _advance(values, steps, costs)
        layers.append(_Layer(steps, choices))
    complete = [all(count in (0, min_count) for count in state.counts) for state in states]
    finals = np.where(np.array(complete, dtype=bool)[:, None, None], values, -np.inf)
    if not np.isfinite(finals).any():
        raise PlacementError(
            f"no placement of {len(letters)} layers uses every mixer {min_count} times or never"
        )
    return SearchTable(layers, finals, costs)


def _extend(
    states: Sequence[_State], expansion: ClusterExpansion, layer: int, letters: str, min_count: int
) -> tuple[list[_State], list[list[_Step]]]:
    """The states after one more layer, and the ways into each."""
    ways: dict[_State, list[_Step]] = {}
    for source, (history, counts) in enumerate(states):
        for letter in letters:
            code = MIXERS.index(letter)
            gain = expansion.single[layer, code]
            for distance, earlier in enumerate(reversed(history), start=1):
                gain += expansion.pairs[distance - 1][layer - distance, MIXERS.index(earlier), code]
            recent = (history + letter)[max(0, len(history) + 1 - expansion.range) :]
            if counts:
                capped = min(counts[code] + 1, min_count)
                target = _State(recent, (*counts[:code], capped, *counts[code + 1 :]))
            else:
                target = _State(recent, ())
            ways.setdefault(target, []).append(_Step(source, letter, float(gain)))
    return list(ways), list(ways.values())


def _advance(
    values: FloatArray, steps: Sequence[Sequence[_Step]], costs: Mapping[str, int]
) -> tuple[FloatArray, npt.NDArray[np.uint16]]:
    """The values after one more layer, [states, keep, costs], and which way each came."""
    _, keep, num_costs = values.shape
    after = np.empty((len(steps), keep, num_costs))
    choices = np.empty(after.shape, dtype=np.uint16)
    for state, ways in enumerate(steps):
        offers = np.full((len(ways), keep, num_costs), -np.inf)
        for offer, (source, letter, gain) in zip(offers, ways, strict=True):
            cost = costs[letter]
            offer[:, cost:] = values[source, :, : num_costs - cost] + gain
        flat = offers.reshape(-1, num_costs)
        order = flat.argmax(axis=0)[None] if keep == 1 else np.argsort(-flat, axis=0, kind="stable")[:keep]
        after[state] = np.take_along_axis(flat, order, axis=0)
        choices[state] = order
    return after, choices
