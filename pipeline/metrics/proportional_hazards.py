"""Whether the hazard ratio of a model's risk is the same all along follow-up."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow
from pipeline.metrics.predictions import RiskPredictions

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
METRIC = "proportional_hazards_p"


def proportional_hazards(predictions: RiskPredictions) -> MetricRow:
    """P-value of proportional hazards of a risk, from its scaled Schoenfeld residuals (lifelines).

    A small value says that the risk's hazard ratio changes over follow-up, so that a C-index or a Cox-type
    probability holds on average only; a large one does not show that it is constant. The Cox model is of
    the risk alone in the patients judged, in development with a baseline hazard per fold; residuals are
    correlated with the rank of time among events (Grambsch and Therneau, Biometrika 1994; 81: 515).
    """
    outcome = predictions.outcome
    patients, events = len(predictions.risk), int(outcome.event.sum())
    if reason := outcome.few_events_reason() or outcome.dependent_rows_reason():
        return MetricRow(METRIC, NO_VALUE, patients, events, reason)
    p_value = schoenfeld_p(outcome.time, outcome.event, predictions.risk, predictions.fold)
    note = "rank of time; below 0.05 the risk's hazard ratio changes over follow-up"
    if not np.isfinite(p_value):
        note = "the risk is the same for all, or a Cox model of it does not converge"
    return MetricRow(METRIC, Interval(p_value, np.nan, np.nan), patients, events, note)


def _rank_among_events(time: pd.Series, event: pd.Series, weight: pd.Series) -> pd.Series:
    """Mean rank of each time among the times of events, as R's `cox.zph(transform = "rank")` takes it.

    lifelines' own counts events in the order of its rows, which with strata is that of the strata first.
    """
    happened = np.sort(time[event.to_numpy(bool)])
    sides = [np.searchsorted(happened, time, side=side) for side in ("left", "right")]
    return (sides[0] + sides[1] + 1.0) / 2 + 0.0 * time


def schoenfeld_p(time: Array, event: Array, risk: Array, fold: Array | None = None) -> float:
    """P-value of the test; NaN where the Cox model has no estimate.

    Args:
        time: (n,) time to event or censoring.
        event: (n,) 1 = the event occurred.
        risk: (n,) higher = worse.
        fold: (n,) fold of each patient; given, every fold has a baseline hazard of its own.
    """
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError
    from lifelines.statistics import proportional_hazard_test

    spread = float(np.std(risk))
    if spread <= 1e-12 * max(1.0, float(np.abs(risk).max())):
        return float("nan")
    strata = np.zeros(len(risk)) if fold is None else np.asarray(fold)
    frame = pd.DataFrame(
        {"risk": (risk - np.mean(risk)) / spread, "time": time, "event": event, "fold": strata}
    )
    # lifelines sorts within strata; in this order residuals and times belong together.
    frame = frame.sort_values(["fold", "time"], kind="stable", ignore_index=True)
    try:
        with warnings.catch_warnings():
            # Near separation shows in the estimate; lifelines' advice is for interactive use.
            warnings.simplefilter("ignore")
            model = CoxPHFitter().fit(frame, "time", "event", strata=["fold"])
            test = proportional_hazard_test(model, frame, time_transform=_rank_among_events)
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return float("nan")
    return float(np.ravel(test.p_value)[0])
