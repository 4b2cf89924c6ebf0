"""Cox's partial likelihood in many bootstrap resamples at once, for one or two columns.

A resample is how often each patient is drawn: a weight of the likelihood. All resamples are fitted
together by Newton's method, so that a thousand of them cost a few matrix operations. Ties as
Breslow, which weights repeated patients correctly (drawn twice, a patient ties with itself).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_STEPS = 25
_LARGEST_STEP = 2.0
_LARGEST = 30.0
_CHUNK = 100_000
"""Resamples times patients that are fitted at a time; bounds the memory at some ten megabytes."""


@dataclass(frozen=True)
class RiskSets:
    """Patients by descending time, with the end of each one's risk set.

    Attributes:
        order: (n,) positions of the patients by descending time.
        last: (n,) for each sorted patient, the last one whose time is not shorter (ties included).
        event: (n,) 1 = the event occurred, sorted.
        time: (n,) sorted times.
    """

    order: NDArray[np.int64]
    last: NDArray[np.int64]
    event: Array
    time: Array

    @classmethod
    def of(cls, time: Array, event: Array) -> RiskSets:
        """Risk sets of n patients."""
        order = np.argsort(-time, kind="stable")
        ordered = time[order]
        last = np.searchsorted(-ordered, -ordered, side="right") - 1
        return cls(order, last, event[order].astype(float), ordered)

    def sums(self, values: Array) -> Array:
        """(B, n, …) sums of values of sorted patients over each one's risk set."""
        sums: Array = np.cumsum(values, axis=1)[:, self.last]
        return sums


def fit_resamples(columns: Array, sets: RiskSets, counts: Array) -> Array:
    """(B, p) coefficients that maximise the log partial likelihood in each resample.

    Args:
        columns: (n, p) design matrix, or (B, n, p) where it differs between resamples; p small.
        sets: Risk sets of the n patients.
        counts: (B, n) how often each patient is drawn.

    Returns:
        Coefficients; NaN where a resample has no event or no finite maximum.
    """
    # Limits of the maximisation are in standard deviations, whatever the columns' units.
    scale = columns.std(axis=-2, keepdims=True)
    # Equal values differ by rounding at most; they stay as they are, and have no coefficient.
    scale = np.where(scale > 1e-9 * np.abs(columns).max(axis=-2, keepdims=True), scale, 1.0)
    columns = columns / scale
    if columns.ndim == 2:
        columns, scale = np.broadcast_to(columns, (len(counts), *columns.shape)), scale[None]
    size = max(1, _CHUNK // counts.shape[1])
    parts = [
        _newton(columns[i : i + size][:, sets.order], sets, counts[i : i + size][:, sets.order])
        for i in range(0, len(counts), size)
    ]
    fitted: Array = np.concatenate(parts) / scale[:, 0]
    return fitted


def _newton(columns: Array, sets: RiskSets, counts: Array) -> Array:
    """Coefficients of a chunk of resamples; everything is sorted already."""
    resamples, _, width = columns.shape
    beta = np.zeros((resamples, width))
    happened = counts * sets.event
    converged = np.zeros(resamples, dtype=bool)
    for _ in range(_STEPS):
        gradient, information = _derivatives(beta, columns, sets, counts, happened)
        # A determinant of 0 (no event, a constant column) leaves the resample without a value.
        solvable = np.linalg.det(information) > 1e-12
        safe = np.where(solvable[:, None, None], information, np.eye(width))
        step = np.linalg.solve(safe, gradient[:, :, None])[:, :, 0]
        step = np.clip(np.where(solvable[:, None], step, np.nan), -_LARGEST_STEP, _LARGEST_STEP)
        beta = beta + step
        converged = np.abs(step).max(axis=1) < 1e-8
        if (converged | ~np.isfinite(step).all(axis=1)).all():
            break
    usable = converged & (np.abs(beta).max(axis=1) < _LARGEST)
    return np.where(usable[:, None], beta, np.nan)


def _derivatives(
    beta: Array, columns: Array, sets: RiskSets, counts: Array, happened: Array
) -> tuple[Array, Array]:
    """(B, p) gradient and (B, p, p) information of the log partial likelihood."""
    index = np.einsum("bnp,bp->bn", columns, beta)
    with np.errstate(invalid="ignore", over="ignore"):
        weight = counts * np.exp(index - index.max(axis=1, keepdims=True))
        total = sets.sums(weight)
        # A resample's first patients by time may not be drawn: no event counts there.
        total = np.where(total > 0, total, 1.0)
        mean = sets.sums(weight[:, :, None] * columns) / total[:, :, None]
        outer = sets.sums(weight[:, :, None, None] * columns[:, :, :, None] * columns[:, :, None, :])
        spread = outer / total[:, :, None, None] - mean[:, :, :, None] * mean[:, :, None, :]
        gradient = (happened[:, :, None] * (columns - mean)).sum(axis=1)
        information = (happened[:, :, None, None] * spread).sum(axis=1)
    finite = np.isfinite(information).all(axis=(1, 2))
    return gradient, np.where(finite[:, None, None], information, 0.0)


def cumulative_baseline(index: Array, sets: RiskSets, counts: Array, horizon: float) -> Array:
    """(B,) Breslow's cumulative baseline hazard up to a time.

    Args:
        index: (B, n) linear predictors of the patients in their own order.
        sets: Their risk sets.
        counts: (B, n) how often each patient is drawn.
        horizon: Time, in the unit of the risk sets.
    """
    ordered, index = counts[:, sets.order], index[:, sets.order]
    total = sets.sums(ordered * np.exp(index))
    happened = ordered * sets.event * (sets.time <= horizon)
    hazard: Array = np.divide(happened, total, out=np.zeros_like(total), where=total > 0).sum(axis=1)
    return hazard
