"""Stochastic distillation's dice: which placement a step trains, from the seed and the step alone."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from pydantic import Field

from derailleur.config import Config
from derailleur.errors import ConfigError
from derailleur.placement import Placement


class Strategy(StrEnum):
    """How a placement is drawn.

    UNIFORM and WEIGHTED draw each layer by itself, so allocations crowd around the mean. FULL_LAYOUT
    draws the allocation first, all of them equally likely, then the order: extremes are common.
    """

    UNIFORM = "uniform"
    WEIGHTED = "weighted"
    FULL_LAYOUT = "full_layout"


class PlacementProbability(Config):
    """One placement and how often it is drawn."""

    placement: str = Field(description="any spelling, e.g. all-gdn, '2F 4G', FSKGFF")
    probability: float = Field(gt=0, le=1, description="share of the steps")


class SamplingConfig(Config):
    """One placement a step; named placements first, the strategy for the rest of the probability."""

    strategy: Strategy = Field(Strategy.UNIFORM, description="uniform, weighted or full_layout")
    weights: dict[str, float] = Field(
        default_factory=dict, description="weighted: letter -> weight; letters left out are not drawn"
    )
    presets: tuple[PlacementProbability, ...] = Field((), description="placements with a probability each")


class PlacementSampler:
    """Draws placements; `sample` is a pure function of the step."""

    def __init__(
        self,
        config: SamplingConfig,
        *,
        num_layers: int,
        letters: Sequence[str],
        learning: Sequence[str],
        seed: int,
    ) -> None:
        """Check the configuration against a model.

        Args:
            letters: the mixers that the model has.
            learning: the mixers that learn; a placement with none of them is never drawn.

        Raises:
            ConfigError, PlacementError: if a letter or a placement does not fit the model.
        """
        self.letters, self.learning = tuple(letters), frozenset(learning)
        self.num_layers, self.seed, self.strategy = num_layers, seed, config.strategy
        self.presets = [Placement.parse(preset.placement, num_layers) for preset in config.presets]
        self.probabilities = np.array([preset.probability for preset in config.presets])
        if self.probabilities.sum() > 1 + 1e-9:
            raise ConfigError(f"presets: probabilities sum to {self.probabilities.sum():g}, more than 1")
        for placement in self.presets:
            self._check(placement)
        weights = config.weights if config.strategy is Strategy.WEIGHTED else dict.fromkeys(letters, 1.0)
        self.weights = self._normalised(weights)

    def sample(self, step: int) -> Placement:
        """The placement of a step."""
        generator = np.random.default_rng([self.seed, step])
        edges = np.cumsum(self.probabilities)
        preset = int(np.searchsorted(edges, generator.random(), side="right"))
        if preset < len(self.presets):
            return self.presets[preset]
        while True:
            placement = self._draw(generator)
            if self.learning & set(placement):
                return placement

    def _draw(self, generator: np.random.Generator) -> Placement:
        if self.strategy is Strategy.FULL_LAYOUT:
            counts = stars_and_bars(generator, self.num_layers, len(self.letters))
            letters = [
                letter for letter, count in zip(self.letters, counts, strict=True) for _ in range(count)
            ]
            return Placement.of(letters[i] for i in generator.permutation(self.num_layers))
        drawn = generator.choice(len(self.letters), self.num_layers, p=self.weights)
        return Placement.of(self.letters[i] for i in drawn)

    def _check(self, placement: Placement) -> None:
        unknown = set(placement) - set(self.letters)
        if unknown:
            needed, known = "/".join(sorted(unknown)), "/".join(self.letters)
            raise ConfigError(f"presets: '{placement}' needs mixer {needed}, the model has {known}")
        if not self.learning & set(placement):
            raise ConfigError(
                f"presets: '{placement}' has no mixer that learns ({'/'.join(sorted(self.learning))})"
            )

    def _normalised(self, weights: dict[str, float]) -> np.ndarray:
        unknown = set(weights) - set(self.letters)
        values = np.array([weights.get(letter, 0.0) for letter in self.letters])
        if (
            unknown
            or (values < 0).any()
            or values[[letter in self.learning for letter in self.letters]].sum() <= 0
        ):
            raise ConfigError(
                f"weights: expected a weight >= 0 for letters of {'/'.join(self.letters)}, "
                f"one of {'/'.join(sorted(self.learning))} positive, got {weights}"
            )
        normalised: np.ndarray = values / values.sum()
        return normalised


def stars_and_bars(generator: np.random.Generator, total: int, parts: int) -> list[int]:
    """`parts` counts >= 0 that sum to `total`; every such composition is equally likely."""
    bars = np.sort(generator.choice(total + parts - 1, parts - 1, replace=False))
    edges = np.concatenate([[-1], bars, [total + parts - 1]])
    return [int(count) for count in np.diff(edges) - 1]
