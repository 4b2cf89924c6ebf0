"""Added value: whether a model's risk improves a Cox model on another model's risk."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.baseline import breslow
from pipeline.metrics.bootstrap import NO_VALUE, Interval

Array = NDArray[np.float64]
FEW_EVENTS = 20
"""With fewer events, ten for each of two risks, χ² is too often significant in noise: risks are permuted instead."""
PERMUTATIONS = 2000


@dataclass(frozen=True)
class AddedValue:
    """Test of a risk on top of a base risk, both of patients that no model was fitted on.

    Attributes:
        log_hazard_ratio: Log hazard ratio per SD of the added risk at equal base risk, with its
            Wald interval; above 0 where the added risk points the right way.
        p_value: Likelihood-ratio test of the nested Cox models, 1 degree of freedom; with fewer
            than 20 events, permutation test of the added risk's score (:func:`permutation_p`).
            A risk that points the wrong way adds nothing and has p = 1. (Held-out predictions of
            noise tend to do so: leaving out a patient with an early event lowers the risk that
            is learned from the others.)
    """

    log_hazard_ratio: Interval
    p_value: float


def added_value(
    time: Array, event: Array, base: Array, added: Array, confidence: float, fold: Array | None = None
) -> AddedValue:
    """Compare Cox on the base risk with Cox on both risks (lifelines, Efron's ties).

    The risks are out-of-sample predictions, so that selection and tuning of either model
    do not inflate the test.

    Args:
        time: (n,) time to event or censoring.
        event: (n,) 1 = the event occurred.
        base: (n,) risk that is given, e.g. of a clinical model.
        added: (n,) risk that is tested.
        confidence: Confidence level of the interval.
        fold: (n,) fold of each patient; given, every fold has a baseline hazard of its own
            (stratified Cox).

    Returns:
        NaN where either risk is constant, both are the same, or there is no event.
    """
    from lifelines.exceptions import ConvergenceError
    from scipy.special import chdtrc, ndtri

    unknown = AddedValue(NO_VALUE, float("nan"))
    columns = np.column_stack([base, added])
    spread = columns.std(axis=0)
    if not event.any() or not (spread > 0).all():
        return unknown
    columns = (columns - columns.mean(axis=0)) / spread
    if abs(float(np.corrcoef(columns.T)[0, 1])) > 1 - 1e-6:
        return unknown
    try:
        with warnings.catch_warnings():
            # Near separation shows in the interval; lifelines' advice is for interactive use.
            warnings.simplefilter("ignore")
            nested = _fit_cox(time, event, columns[:, :1], fold)
            full = _fit_cox(time, event, columns, fold)
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return unknown
    estimate, error = float(full.params_["x1"]), float(full.standard_errors_["x1"])
    half = float(ndtri(0.5 + confidence / 2)) * error
    chi_square = max(0.0, 2.0 * (full.log_likelihood_ - nested.log_likelihood_))
    p_value = float(chdtrc(1, chi_square)) if estimate > 0 else 1.0
    if event.sum() < FEW_EVENTS:
        p_value = permutation_p(time, event, float(nested.params_["x0"]) * columns[:, 0], columns[:, 1], fold)
    return AddedValue(Interval(estimate, estimate - half, estimate + half), p_value)


def permutation_p(time: Array, event: Array, base: Array, added: Array, fold: Array | None = None) -> float:
    """P-value of an added risk by permutation of its score statistic, exact in small samples but for the fit.

    The score of the added risk at the base model is Σ added·martingale residual. What the base
    risk explains of the added one is removed first (it does not change the score), so that
    only the rest is permuted, within folds (Freedman and Lane, J Bus Econ Stat 1983; 1: 292).
    The value is twice the one-sided one, at most 1.

    Args:
        time: (n,) time to event or censoring.
        event: (n,) 1 = the event occurred.
        base: (n,) log-hazard of the base model as fitted to these patients.
        added: (n,) risk that is tested.
        fold: (n,) fold of each patient; given, baseline hazards and permutations are within folds.
    """
    groups = np.zeros(len(time)) if fold is None else np.asarray(fold)
    residual, rest = np.zeros(len(time)), np.zeros(len(time))
    for value in np.unique(groups):
        rows = groups == value
        hazard = -np.log(_survival_at_own_time(time[rows], event[rows], base[rows]))
        residual[rows] = event[rows] - hazard
        design = np.column_stack([np.ones(rows.sum()), base[rows]])
        rest[rows] = added[rows] - design @ np.linalg.lstsq(design, added[rows], rcond=None)[0]
    observed = float(rest @ residual)
    generator = np.random.default_rng(0)
    scores = np.zeros(PERMUTATIONS)
    for value in np.unique(groups):
        rows = np.flatnonzero(groups == value)
        permuted = generator.permuted(np.tile(rest[rows], (PERMUTATIONS, 1)), axis=1)
        scores += permuted @ residual[rows]
    # Permutations that repeat the observed order are as extreme as it, but for rounding.
    extreme = int((scores >= observed - 1e-12 * abs(observed)).sum())
    return min(1.0, 2.0 * (extreme + 1) / (PERMUTATIONS + 1))


def _survival_at_own_time(time: Array, event: Array, base: Array) -> Array:
    """(n,) each patient's survival probability at the end of follow-up, by Breslow."""
    curves = breslow(time, event, base).survival(base, time)
    return np.maximum(np.diagonal(curves), 1e-300)


def _fit_cox(time: Array, event: Array, columns: Array, fold: Array | None) -> Any:
    import pandas as pd
    from lifelines import CoxPHFitter

    names = [f"x{i}" for i in range(columns.shape[1])]
    frame = pd.DataFrame(columns, columns=names).assign(time=time, event=event)
    if fold is None:
        return CoxPHFitter().fit(frame, "time", "event")
    return CoxPHFitter().fit(frame.assign(fold=fold), "time", "event", strata=["fold"])
