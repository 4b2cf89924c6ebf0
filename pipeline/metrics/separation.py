"""Royston's D and the explained variation R² that follows from it: how far a risk parts the patients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import Interval, percentile_interval
from pipeline.metrics.time_dependent import SurvivalOutcome
from pipeline.metrics.weighted_cox import RiskSets, fit_resamples

Array = NDArray[np.float64]
KAPPA_SQUARED = 8 / np.pi
"""κ² of Royston and Sauerbrei: with it D is the log hazard ratio between the halves of higher and lower risk."""


def separation(
    outcome: SurvivalOutcome, risk: Array, counts: Array, confidence: float
) -> Iterator[tuple[str, Interval]]:
    """Royston's D and R²_D, each with a bootstrap interval in which the ranks are made anew.

    D is the coefficient of the risks' normal scores, divided by κ = √(8/π), in a Cox model (Royston
    and Sauerbrei, Stat Med 2004; 23: 723): higher = better, 0 = none, below 0 = reversed. R²_D =
    (D²/κ²) / (π²/6 + D²/κ²); 0 where D is negative, since a reversed risk explains nothing.

    Args:
        outcome: Outcomes of n patients, ten events at least.
        risk: (n,) higher = worse.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        Name and value of `royston_d` and `r2_d`.
    """
    weights = np.concatenate([np.ones((1, len(risk))), counts[counts.sum(axis=1) > 0]])
    scores = normal_scores(risk, weights) / np.sqrt(KAPPA_SQUARED)
    sets = RiskSets.of(outcome.time, outcome.event)
    d = fit_resamples(scores[:, :, None], sets, weights)[:, 0]
    explained = np.clip(d, 0, None) ** 2 / KAPPA_SQUARED
    for name, of_all in (("royston_d", d), ("r2_d", explained / (np.pi**2 / 6 + explained))):
        yield name, percentile_interval(float(of_all[0]), of_all[1:], confidence)


def normal_scores(risk: Array, weights: Array) -> Array:
    """(B, n) Blom's normal scores, Φ⁻¹((rank − 3/8) / (n + 1/4)), of mean ranks in each resample.

    Args:
        risk: (n,) values.
        weights: (B, n) how often each one is drawn; one that is not drawn takes the rank between its
            neighbours.
    """
    from scipy.special import ndtri

    order = np.argsort(risk, kind="stable")
    ordered = risk[order]
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    total = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    # Mean rank of a group of ties: what lies below it and the middle of itself.
    rank = (total[:, first] + total[:, last] + 1) / 2
    size = total[:, -1:]
    scores: Array = np.empty_like(rank)
    scores[:, order] = ndtri(np.clip((rank - 0.375) / (size + 0.25), 1e-6, 1 - 1e-6))
    return scores
