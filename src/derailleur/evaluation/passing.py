"""pass@k over problems, with intervals; not where the samples come from."""

import math
from collections.abc import Sequence

import numpy as np

from derailleur.errors import ArgumentError

_RESAMPLES = 2000
_COVERAGE = 0.95


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """The chance that at least one of k samples passes, drawn without replacement from n of which c pass.

    Unbiased: 1 - C(n - c, k) / C(n, k), as the product 1 - prod over i in n-c+1 .. n of (1 - k / i)
    (Chen et al. 2021, arXiv:2107.03374, section 2.1).

    Raises:
        ArgumentError: if k > n, where n samples say nothing about k.
    """
    if not 1 <= k <= num_samples:
        raise ArgumentError(f"pass@{k} needs at least {k} samples of a problem, got {num_samples}")
    failed = num_samples - num_passed
    return 1.0 - math.prod(1.0 - k / i for i in range(failed + 1, num_samples + 1)) if failed >= k else 1.0


def bootstrap_interval(scores: Sequence[float], *, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over problems, which are drawn anew 2,000 times.

    Problems are what is drawn from a larger world; the samples of one problem depend on each other.
    """
    values, rng = np.asarray(scores, np.float64), np.random.default_rng(seed)
    draws = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(draws, [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    return float(low), float(high)
