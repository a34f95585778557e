"""The cluster expansion: a score of placements that is a sum over layers and pairs of near layers.

    score(p) = constant + sum_l single[l, p_l] + sum_r sum_l pairs[r-1][l, p_l, p_{l+r}],   r = 1 .. range

This is the form that the surrogate is fitted in and that the dynamic programme searches exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from derailleur.errors import PlacementError
from derailleur.placement.placement import MIXERS, Placement

FloatArray = npt.NDArray[np.float64]

_NUM_MIXERS = len(MIXERS)


@dataclass(frozen=True)
class ClusterExpansion:
    """An additive score; `F` is the reference, so every term that holds an `F` is zero when fitted.

    Attributes:
        constant: the score of all-FA.
        single: [L, 4], by layer and mixer in the order of `MIXERS`.
        pairs: for r = 1 .. range, [L - r, 4, 4], by the earlier layer, its mixer, the later one's mixer.
    """

    constant: float
    single: FloatArray
    pairs: tuple[FloatArray, ...] = ()

    @property
    def num_layers(self) -> int:
        """Layers of the placements that this scores."""
        return len(self.single)

    @property
    def range(self) -> int:
        """The largest distance of two layers that share a term; 0 without pair terms."""
        return len(self.pairs)

    def score(self, placements: Sequence[Placement]) -> FloatArray:
        """The score of each placement, [N]."""
        codes = encode(placements, self.num_layers)
        layers = np.arange(self.num_layers)
        total = self.constant + self.single[layers, codes].sum(axis=1)
        for distance, pair in enumerate(self.pairs, start=1):
            total += pair[layers[:-distance], codes[:, :-distance], codes[:, distance:]].sum(axis=1)
        return total


def encode(placements: Sequence[Placement], num_layers: int) -> npt.NDArray[np.intp]:
    """Placements as indices into `MIXERS`, [N, L].

    Raises:
        PlacementError: if one has another number of layers.
    """
    for placement in placements:
        if len(placement) != num_layers:
            raise PlacementError(f"placement '{placement}': expected {num_layers} layers")
    codes = [[MIXERS.index(letter) for letter in placement] for placement in placements]
    return np.array(codes, dtype=np.intp).reshape(len(codes), num_layers)


def indicators(placements: Sequence[Placement], num_layers: int) -> FloatArray:
    """Which mixer other than FA each layer has, [N, L, 3]: reference coding."""
    codes = encode(placements, num_layers)
    return (codes[:, :, None] == np.arange(1, _NUM_MIXERS)).astype(float)


def pair_indicators(single: FloatArray, distance: int) -> FloatArray:
    """Products of the indicators of layers `distance` apart, [N, L - distance, 3, 3]."""
    return np.einsum("nla,nlb->nlab", single[:, :-distance], single[:, distance:])


def with_reference(weights: FloatArray, num_mixer_axes: int) -> FloatArray:
    """Put the zeros of the reference mixer back: the last axes grow from 3 to 4 entries."""
    padding = [(0, 0)] * (weights.ndim - num_mixer_axes) + [(1, 0)] * num_mixer_axes
    return np.pad(weights, padding)
