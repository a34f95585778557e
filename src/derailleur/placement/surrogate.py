"""The surrogate: predicts the quality of any placement from those that were measured, and how surely.

A cluster expansion (expansion.py) with Gaussian priors: Bayesian linear regression, closed form. Terms
come in groups by order and range, each once shared by all layers (what a mixer costs anywhere) and once
per layer (how this layer differs); every group has a prior variance of its own. Variances and noise
maximise the evidence (type-II maximum likelihood), so that groups the data do not ask for shrink away.

There are more terms than observations, so the algebra is in the space of the N observations: with
features Phi, prior variances V and C = Phi V Phi^T + noise, the posterior mean of the terms is
V Phi^T C^-1 y, and leaving observation i out changes its prediction to y_i - [C^-1 y]_i / [C^-1]_ii.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize
from scipy.stats import spearmanr

from derailleur.errors import DataError
from derailleur.io import read_json, write_json
from derailleur.placement.expansion import (
    ClusterExpansion,
    FloatArray,
    indicators,
    pair_indicators,
    with_reference,
)
from derailleur.placement.placement import MIXERS, Placement

SURROGATE_FILE = "surrogate.json"
MIN_OBSERVATIONS = 4

_CONSTANT_VARIANCE = 100.0
"""Prior variance of the score of all-FA over that of the observations: flat beside them."""

_VARIANCE_BOUNDS = (1e-8, 1e2)
_NOISE_BOUNDS = (1e-6, 4.0)
_NOISE_STARTS = (0.1, 1e-3)


@dataclass(frozen=True)
class SurrogateReport:
    """How well a surrogate fits; `loo` is leave-one-out with the variances of the whole fit.

    Attributes:
        num_observations: measured placements.
        range: the largest distance of layers that share a term.
        noise_std, loo_rmse: nats per token.
    """

    num_observations: int
    range: int
    log_evidence: float
    noise_std: float
    r2: float
    loo_r2: float
    loo_rmse: float
    loo_spearman: float


@dataclass(frozen=True)
class Surrogate:
    """A fitted surrogate; make one with `fit_surrogate`.

    Attributes:
        placements: the observations, N of them.
        values: [N], their measured quality, nats per token.
        variances: prior variance by group of terms, squared nats per token.
        noise_variance: of what the terms do not explain, squared nats per token.
        range: the largest distance of layers that share a term.
        log_evidence: of the standardised observations.
    """

    placements: tuple[Placement, ...]
    values: FloatArray
    variances: dict[str, float]
    noise_variance: float
    range: int
    log_evidence: float

    @property
    def num_layers(self) -> int:
        """Layers of the model."""
        return len(self.placements[0])

    @cached_property
    def _features(self) -> dict[str, FloatArray]:
        return _features(self.placements, self.num_layers, self.range)

    @cached_property
    def _inverse(self) -> FloatArray:
        covariance = self._covariance(self._features, self._features)
        factor = cholesky(covariance + self.noise_variance * np.eye(len(self.values)), lower=True)
        return cho_solve((factor, True), np.eye(len(self.values)))

    @cached_property
    def _weights(self) -> FloatArray:
        return self._inverse @ (self.values - self.values.mean())

    def _covariance(self, left: dict[str, FloatArray], right: dict[str, FloatArray]) -> FloatArray:
        return sum(
            (variance * (left[name] @ right[name].T) for name, variance in self.variances.items()),
            np.zeros((len(left["constant"]), len(right["constant"]))),
        )

    def predict(self, placements: Sequence[Placement]) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation (without noise) of each, [N], nats per token."""
        features = _features(placements, self.num_layers, self.range)
        cross = self._covariance(features, self._features)
        prior = sum(
            (variance * (features[name] ** 2).sum(axis=1) for name, variance in self.variances.items()),
            np.zeros(len(placements)),
        )
        explained = np.einsum("ij,jk,ik->i", cross, self._inverse, cross)
        std = np.sqrt(np.maximum(prior - explained, 0.0))
        return self.values.mean() + cross @ self._weights, std

    def expansion(self) -> ClusterExpansion:
        """The posterior mean as an additive score."""
        terms = {n: v * (self._features[n].T @ self._weights) for n, v in self.variances.items()}
        return self._as_expansion(terms)

    def sample(self, rng: np.random.Generator) -> ClusterExpansion:
        """A draw from the posterior, again an additive score (Thompson sampling).

        Matheron's rule: a draw from the prior, corrected by what it gets wrong on the observations.
        """
        prior = {
            name: np.sqrt(variance) * rng.standard_normal(self._features[name].shape[1])
            for name, variance in self.variances.items()
        }
        imagined = sum((self._features[n] @ terms for n, terms in prior.items()), np.zeros(len(self.values)))
        imagined += np.sqrt(self.noise_variance) * rng.standard_normal(len(self.values))
        weights = self._inverse @ (self.values - self.values.mean() - imagined)
        terms = {n: prior[n] + v * (self._features[n].T @ weights) for n, v in self.variances.items()}
        return self._as_expansion(terms)

    def _as_expansion(self, terms: dict[str, FloatArray]) -> ClusterExpansion:
        single = terms["mixer"] + terms["layer"].reshape(self.num_layers, -1)
        pairs = []
        for distance in range(1, self.range + 1):
            shared = terms[f"mixer_pair_{distance}"].reshape(len(MIXERS) - 1, -1)
            by_layer = terms[f"layer_pair_{distance}"].reshape(-1, *shared.shape)
            pairs.append(with_reference(shared + by_layer, 2))
        constant = float(self.values.mean() + terms["constant"][0])
        return ClusterExpansion(constant, with_reference(single, 1), tuple(pairs))

    @cached_property
    def leave_one_out_errors(self) -> FloatArray:
        """[N], each observation less its prediction from all the others."""
        return self._weights / np.diag(self._inverse)

    @property
    def leave_one_out(self) -> FloatArray:
        """[N], the prediction of each observation from all the others."""
        return self.values - self.leave_one_out_errors

    def report(self) -> SurrogateReport:
        """How well this fits."""
        return SurrogateReport(
            num_observations=len(self.values),
            range=self.range,
            log_evidence=self.log_evidence,
            noise_std=float(np.sqrt(self.noise_variance)),
            r2=_explained(self.values, self.values - self.noise_variance * self._weights),
            loo_r2=_explained(self.values, self.leave_one_out),
            loo_rmse=float(np.sqrt(np.mean(self.leave_one_out_errors**2))),
            loo_spearman=rank_correlation(self.values, self.leave_one_out),
        )

    def save(self, folder: Path) -> None:
        """Write `surrogate.json`: the observations and variances, from which everything else follows."""
        seen = [letter for letter in MIXERS if any(letter in p.letters for p in self.placements)]
        columns = [MIXERS.index(letter) for letter in seen]
        effects = self.expansion().single[:, columns]
        content = {
            "num_layers": self.num_layers,
            "range": self.range,
            "report": asdict(self.report()),
            "log_evidence": self.log_evidence,
            "variances": self.variances,
            "noise_variance": self.noise_variance,
            "layer_effects": [dict(zip(seen, map(float, layer), strict=True)) for layer in effects],
            "observations": [
                {"placement": str(placement), "quality": float(value), "leave_one_out": float(left_out)}
                for placement, value, left_out in zip(
                    self.placements, self.values, self.leave_one_out, strict=True
                )
            ],
        }
        write_json(folder / SURROGATE_FILE, content)


def load_surrogate(folder: Path) -> Surrogate:
    """Read `surrogate.json`.

    Raises:
        DataError: if the file is missing or a key is.
    """
    path = folder / SURROGATE_FILE
    content: dict[str, Any] = read_json(path)
    try:
        return Surrogate(
            placements=tuple(Placement(row["placement"]) for row in content["observations"]),
            values=np.array([row["quality"] for row in content["observations"]], dtype=float),
            variances=dict(content["variances"]),
            noise_variance=content["noise_variance"],
            range=content["range"],
            log_evidence=content["log_evidence"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not a surrogate: {error}") from None


def fit_surrogate(
    placements: Sequence[Placement], values: Sequence[float], *, max_range: int = 3
) -> Surrogate:
    """Fit a surrogate. A longer range is taken where it predicts left-out observations better.

    Better by more than the standard error of the difference, so that chance does not lengthen the range.

    Args:
        values: measured quality of each placement, nats per token.
        max_range: the largest distance of layers that may share a term, 0 to 3.

    Raises:
        DataError: if there are too few observations.
    """
    if len(placements) < MIN_OBSERVATIONS:
        raise DataError(
            f"{len(placements)} measured placements; a surrogate needs {MIN_OBSERVATIONS} or more"
        )
    best = _fit(placements, values, 0)
    for distance in range(1, min(max_range, best.num_layers - 1) + 1):
        longer = _fit(placements, values, distance)
        gain = best.leave_one_out_errors**2 - longer.leave_one_out_errors**2
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best = longer
    return best


def _fit(placements: Sequence[Placement], values: Sequence[float], distance: int) -> Surrogate:
    """Tune the variances of a surrogate of the given range by type-II maximum likelihood."""
    observed = np.array(values, dtype=float)
    scale = float(observed.std()) or 1.0
    standard = (observed - observed.mean()) / scale
    features = _features(placements, len(placements[0]), distance)
    names = [name for name in features if name != "constant"]
    grams = np.stack([features[name] @ features[name].T for name in names])
    powers = np.maximum(np.trace(grams, axis1=1, axis2=2) / len(standard), 1.0)
    bounds = [tuple(np.log(_VARIANCE_BOUNDS))] * len(names) + [tuple(np.log(_NOISE_BOUNDS))]
    fits = [
        minimize(
            _negative_log_evidence,
            np.log([*(1 / (len(names) * powers)), noise]),
            args=(grams, standard),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
        )
        for noise in _NOISE_STARTS
    ]
    best = min(fits, key=lambda fit: float(fit.fun))
    *variances, noise = (float(v) * scale**2 for v in np.exp(best.x))
    return Surrogate(
        placements=tuple(placements),
        values=observed,
        variances={
            "constant": _CONSTANT_VARIANCE * scale**2,
            **dict(zip(names, variances, strict=True)),
        },
        noise_variance=noise,
        range=distance,
        log_evidence=-float(best.fun),
    )


def _negative_log_evidence(
    log_variances: FloatArray, grams: FloatArray, values: FloatArray
) -> tuple[float, FloatArray]:
    """-log N(values; 0, C) and its gradient by the log variances (groups, then noise)."""
    *variances, noise = np.exp(log_variances)
    count = len(values)
    identity = np.eye(count)
    covariance = _CONSTANT_VARIANCE + np.tensordot(variances, grams, axes=1) + noise * identity
    factor = cholesky(covariance, lower=True)
    inverse = cho_solve((factor, True), identity)
    weights = inverse @ values
    log_evidence = -0.5 * values @ weights - np.log(np.diag(factor)).sum() - 0.5 * count * np.log(2 * np.pi)
    outer = np.outer(weights, weights) - inverse
    slopes = [variance * np.vdot(outer, gram) for variance, gram in zip(variances, grams, strict=True)]
    slopes.append(noise * np.trace(outer))
    return -float(log_evidence), -0.5 * np.array(slopes)


def _features(placements: Sequence[Placement], num_layers: int, max_range: int) -> dict[str, FloatArray]:
    """The features of each group of terms, [N, terms]."""
    single = indicators(placements, num_layers)  # [N, L, 3]
    count = len(placements)
    groups = {
        "constant": np.ones((count, 1)),
        "mixer": single.sum(axis=1),
        "layer": single.reshape(count, -1),
    }
    for distance in range(1, max_range + 1):
        pairs = pair_indicators(single, distance)  # [N, L - r, 3, 3]
        groups[f"mixer_pair_{distance}"] = pairs.sum(axis=1).reshape(count, -1)
        groups[f"layer_pair_{distance}"] = pairs.reshape(count, -1)
    return groups


def _explained(values: FloatArray, predictions: FloatArray) -> float:
    """R^2, 0 where the values do not vary."""
    total = float(((values - values.mean()) ** 2).sum())
    return 1 - float(((values - predictions) ** 2).sum()) / total if total else 0.0


def rank_correlation(left: Sequence[float] | FloatArray, right: Sequence[float] | FloatArray) -> float:
    """Spearman's rho, 0 where either side does not vary."""
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(spearmanr(left, right).statistic)
