"""Confidence intervals of shares."""

import math

_CONFIDENCE_Z = 1.959964  # 95 %, two-sided


def wilson_interval(num_correct: int, num_problems: int) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927), at 95 %."""
    share, spread = num_correct / num_problems, _CONFIDENCE_Z**2 / num_problems
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)
