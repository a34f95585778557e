"""Retention: a placement's score over the all-FA score, 1 where nothing is lost."""

from collections.abc import Mapping

from derailleur.evaluation.scores import BITS_PER_BYTE

_LOWER_IS_BETTER = frozenset({BITS_PER_BYTE})


def retention(scores: Mapping[str, float], full: Mapping[str, float]) -> dict[str, float | None]:
    """Retention by metric; None where all-FA has nothing to retain: 0, or less, as a gain may be.

    Scores of which lower is better enter inverted: bits per byte of all-FA over those of the placement.

    Args:
        scores, full: by metric, of the placement and of all-FA.
    """
    return {metric: _ratio(metric, score, full[metric]) for metric, score in scores.items() if metric in full}


def _ratio(metric: str, score: float, full: float) -> float | None:
    above, below = (full, score) if metric in _LOWER_IS_BETTER else (score, full)
    return above / below if full > 0 and below else None
