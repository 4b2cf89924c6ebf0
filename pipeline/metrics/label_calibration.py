"""Calibration of predicted class probabilities: Brier score, intercept and slope of logistic recalibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
METRICS = ("brier", "calibration_intercept", "calibration_slope")
_SMALLEST = 1e-6
_STEPS = 40
_LARGEST_STEP = 2.0
_LARGEST = 50.0


def label_calibration(truth: Array, probability: Array, counts: Array) -> dict[str, Array]:
    """(B,) values in each of B resamples of n patients.

    `brier` is the mean squared difference of probability and class (Brier, Mon Weather Rev 1950; 78: 1), lower =
    better; `calibration_intercept` that of a logistic regression with the logit of the probability as an offset (0
    is ideal, above 0: the class is more frequent than predicted); `calibration_slope` the coefficient of the logit (1
    is ideal, below 1: probabilities are too far apart; Cox, Biometrika 1958; 45: 562).

    Args:
        truth: (n,) 1 = the patient is of the class, 0 = not.
        probability: (n,) predicted probability of the class.
        counts: (B, n) how often each patient counts.

    Returns:
        NaN where a resample has one class only, or its regression has no finite maximum.
    """
    logit = np.log(np.clip(probability, _SMALLEST, 1 - _SMALLEST))
    logit -= np.log(1 - np.clip(probability, _SMALLEST, 1 - _SMALLEST))
    total = counts.sum(axis=1)
    empty = np.full(len(counts), np.nan)
    squared = counts @ (probability - truth) ** 2
    one = np.ones((len(truth), 1))
    return {
        "brier": np.divide(squared, total, out=empty, where=total > 0),
        "calibration_intercept": _fit(one, logit, truth, counts)[:, 0],
        "calibration_slope": _fit(np.column_stack([one, logit]), np.zeros(len(truth)), truth, counts)[:, 1],
    }


def _fit(design: Array, offset: Array, truth: Array, counts: Array) -> Array:
    """(B, p) coefficients of logistic regressions, by Newton's method in all resamples at once."""
    beta = np.zeros((len(counts), design.shape[1]))
    change = np.full(len(counts), np.inf)
    for _ in range(_STEPS):
        mean = 1 / (1 + np.exp(-np.clip(beta @ design.T + offset, -500, 500)))
        gradient = (counts * (truth - mean)) @ design
        weight = counts * mean * (1 - mean)
        information = np.einsum("bn,np,nq->bpq", weight, design, design)
        finite = np.isfinite(information).all(axis=(1, 2))
        safe = np.where(finite[:, None, None], information, 0.0)
        solvable = np.linalg.det(safe) > 1e-12
        safe = np.where(solvable[:, None, None], safe, np.eye(design.shape[1]))
        step = np.linalg.solve(safe, gradient[:, :, None])[:, :, 0]
        step = np.clip(np.where(solvable[:, None], step, np.nan), -_LARGEST_STEP, _LARGEST_STEP)
        beta, change = beta + step, np.abs(step).max(axis=1)
        if ((change < 1e-9) | ~np.isfinite(change)).all():
            break
    usable = (change < 1e-6) & (np.abs(beta).max(axis=1) < _LARGEST)
    return np.where(usable[:, None], beta, np.nan)
