"""Added value: does a model's risk say more than another model's does?"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import Interval

Array = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True)
class AddedValue:
    """Test of a risk on top of a base risk, both of patients no model was fitted on.

    Attributes:
        log_hazard_ratio: Per SD of the added risk at equal base risk, with its Wald
            interval; above 0 = the added risk points the right way.
        p_value: Likelihood-ratio test of the nested Cox models, 1 degree of freedom.
    """

    log_hazard_ratio: Interval
    p_value: float


def added_value(
    outcome: tuple[Array, Array], base: Array, added: Array, confidence: float, fold: Array | None = None
) -> AddedValue:
    """Cox on the base risk against Cox on both risks (lifelines, Efron's ties).

    The risks are out-of-sample predictions, so that selection and tuning of either model
    do not inflate the test.

    Args:
        outcome: (n,) times and (n,) events (1 = occurred).
        base: (n,) risk that is given, e.g. of a clinical model.
        added: (n,) risk that is tested.
        confidence: Of the interval.
        fold: (n,) given, every fold has a baseline hazard of its own (stratified Cox).

    Returns:
        NaN where either risk is constant, both are the same, or there is no event.
    """
    from lifelines.exceptions import ConvergenceError
    from scipy.special import chdtrc, ndtri

    nothing = AddedValue(Interval(NAN, NAN, NAN), NAN)
    columns = np.column_stack([base, added])
    spread = columns.std(axis=0)
    if not outcome[1].any() or not (spread > 0).all():
        return nothing
    columns = (columns - columns.mean(axis=0)) / spread
    if abs(float(np.corrcoef(columns.T)[0, 1])) > 1 - 1e-6:
        return nothing
    try:
        with warnings.catch_warnings():
            # Near separation shows in the interval; lifelines' advice is for interactive use.
            warnings.simplefilter("ignore")
            one = _cox(outcome, columns[:, :1], fold)
            both = _cox(outcome, columns, fold)
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return nothing
    estimate, error = float(both.params_["x1"]), float(both.standard_errors_["x1"])
    half = float(ndtri(0.5 + confidence / 2)) * error
    chi_square = max(0.0, 2.0 * (both.log_likelihood_ - one.log_likelihood_))
    return AddedValue(Interval(estimate, estimate - half, estimate + half), float(chdtrc(1, chi_square)))


def _cox(outcome: tuple[Array, Array], columns: Array, fold: Array | None) -> Any:
    import pandas as pd
    from lifelines import CoxPHFitter

    names = [f"x{i}" for i in range(columns.shape[1])]
    frame = pd.DataFrame(columns, columns=names).assign(time=outcome[0], event=outcome[1])
    if fold is None:
        return CoxPHFitter().fit(frame, "time", "event")
    return CoxPHFitter().fit(frame.assign(fold=fold), "time", "event", strata=["fold"])
