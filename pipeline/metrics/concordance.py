"""Concordance: how often the patient who had the event earlier was given the higher risk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TIE_TOLERANCE = 1e-8
"""Risks closer than this are tied (scikit-survival's tolerance)."""


@dataclass(frozen=True)
class Pairs:
    """Comparable pairs of n patients and their concordance, as (n, n) matrices.

    Entry (i, j) belongs to the pair in which i had the event first. `weight` is 0 where
    the pair cannot be compared; `score` is the weight times 1 (i has the higher risk),
    0.5 (tied risks) or 0.
    """

    score: Array
    weight: Array

    def index(self, counts: Array | None = None) -> Array:
        """Concordance index in [0, 1], NaN where no pair can be compared.

        Args:
            counts: (B, n) how often each patient is in each of B resamples; None: once.

        Returns:
            (B,) indices; (1,) without counts. Repeats of one patient are never a pair,
            since a patient has no event before himself.
        """
        if counts is None:
            counts = np.ones((1, len(self.weight)))
        total = np.einsum("bj,bj->b", counts @ self.weight, counts)
        agreed = np.einsum("bj,bj->b", counts @ self.score, counts)
        index: Array = np.divide(agreed, total, out=np.full(len(total), np.nan), where=total > 0)
        return index


def comparable(time: Array, event: Array) -> NDArray[np.bool_]:
    """(n, n): i had the event while j was known to be without it.

    That is time_i < time_j and event_i, or equal times where i had the event and j was
    censored (as scikit-survival and lifelines count).
    """
    time, occurred = np.asarray(time, dtype=float), np.asarray(event) == 1
    earlier = time[:, None] < time[None, :]
    tied = (time[:, None] == time[None, :]) & ~occurred[None, :]
    pairs: NDArray[np.bool_] = occurred[:, None] & (earlier | tied)
    return pairs


def concordant(risk: Array) -> Array:
    """(n, n): 1 where i has the higher risk than j, 0.5 where tied, else 0."""
    difference = np.asarray(risk, dtype=float)[:, None] - np.asarray(risk, dtype=float)[None, :]
    tied = np.abs(difference) <= TIE_TOLERANCE
    return np.where(tied, 0.5, (difference > 0).astype(float))


def harrell_pairs(time: Array, event: Array, risk: Array, fold: Array | None = None) -> Pairs:
    """Pairs of Harrell's C (Harrell, Lee, Mark, Stat Med 1996; 15: 361).

    Args:
        time: (n,) time to event or censoring.
        event: (n,) 1 = the event occurred.
        risk: (n,) higher = worse.
        fold: (n,) the fold that held each patient out; given, only pairs within a fold
            count, because risks of different folds come from different models.
    """
    weight = comparable(time, event)
    if fold is not None:
        weight &= np.asarray(fold)[:, None] == np.asarray(fold)[None, :]
    return Pairs(concordant(risk) * weight, weight.astype(float))


def uno_pairs(time: Array, event: Array, risk: Array, censoring: Array, tau: float) -> Pairs:
    """Pairs of Uno's C, weighted by the inverse probability of being uncensored.

    Source: Uno et al., Stat Med 2011; 30: 1105, eq. 6: weight event_i·G(time_i−)⁻² for
    time_i < tau; the left limit, since a patient censored at time_i was under observation until then.

    Args:
        time: (n,) time to event or censoring.
        event: (n,) 1 = the event occurred.
        risk: (n,) higher = worse.
        censoring: (n,) G(time_i−), the probability of being uncensored just before that time; above 0.
        tau: Events at or after this time do not count.
    """
    weight = comparable(time, event) & (np.asarray(time) < tau)[:, None]
    weighted = weight * (np.asarray(censoring) ** -2.0)[:, None]
    return Pairs(concordant(risk) * weighted, weighted)


def concordance_index(time: Array, event: Array, risk: Array, fold: Array | None = None) -> float:
    """Harrell's C in [0, 1]; NaN where no pair can be compared (see :func:`harrell_pairs`)."""
    return float(harrell_pairs(time, event, risk, fold).index()[0])
