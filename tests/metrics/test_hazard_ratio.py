"""The hazard ratio of risk groups, against lifelines and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.hazard_ratio import hazard_ratio
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.time_dependent import SurvivalOutcome

RNG = np.random.default_rng(3)
N = 80
GROUP = np.repeat([1, 2], N // 2)
TIME = np.ceil(RNG.exponential(np.where(GROUP == 2, 300.0, 900.0)))
EVENT = (RNG.random(N) < 0.8).astype(int)
COUNTS = RNG.multinomial(N, np.full(N, 1 / N), size=200).astype(float)


def predictions_of(time: np.ndarray, event: np.ndarray, fold: np.ndarray | None = None) -> RiskPredictions:
    """Predictions of patients whose risks are not read."""
    patients = [f"P{number}" for number in range(len(time))]
    outcome = SurvivalOutcome.of(time, event)
    return RiskPredictions("m", "external", patients, fold, event, outcome=outcome, risk=time, survival={})


def test_value_is_lifelines_own() -> None:
    import pandas as pd
    from lifelines import CoxPHFitter

    # No ties, so that Breslow and Efron agree.
    time = TIME + np.arange(N) / 1000
    row = hazard_ratio(predictions_of(time, EVENT), GROUP, COUNTS, 0.95)
    table = pd.DataFrame({"time": time, "event": EVENT, "high": GROUP == 2}).astype(float)
    fitted = CoxPHFitter().fit(table, "time", "event")
    assert row.interval.value == pytest.approx(float(fitted.hazard_ratios_["high"]), rel=1e-4)
    low, high = np.exp(fitted.confidence_intervals_.loc["high"])
    # A bootstrap and a normal interval of one estimate: near, not equal.
    assert row.interval.low == pytest.approx(low, rel=0.25) and row.interval.high == pytest.approx(
        high, rel=0.25
    )
    assert (row.patients, row.events) == (80, int(EVENT.sum()))


def test_of_three_groups_the_outer_ones_are_compared() -> None:
    group = np.repeat([1, 2, 3], [30, 20, 30])
    outer = group != 2
    whole = hazard_ratio(predictions_of(TIME, EVENT), group, COUNTS, 0.95)
    alone = hazard_ratio(predictions_of(TIME[outer], EVENT[outer]), group[outer], COUNTS[:, outer], 0.95)
    assert whole.interval == alone.interval and whole.patients == 60


def test_reasons_stand_where_there_is_none() -> None:
    few = np.zeros(N, dtype=int)
    few[:3] = 1
    row = hazard_ratio(predictions_of(TIME, few), GROUP, COUNTS, 0.95)
    assert np.isnan(row.interval.value) and "events" in row.note
    small = np.where(np.arange(N) < 4, 2, 1)
    assert (
        "no hazard ratio of a group under 5"
        in hazard_ratio(predictions_of(TIME, EVENT), small, COUNTS, 0.95).note
    )
    one = hazard_ratio(predictions_of(TIME, EVENT), np.ones(N, dtype=int), COUNTS, 0.95)
    assert np.isnan(one.interval.value) and "groups of 80 and 0 patients" in one.note
    folds = hazard_ratio(predictions_of(TIME, EVENT, fold=np.arange(N) % 2), GROUP, COUNTS, 0.95)
    assert folds.note == "cross-validated groups have no hazard ratio"


def test_separated_groups_have_no_finite_ratio() -> None:
    event = np.where(GROUP == 2, 1, 0)
    row = hazard_ratio(predictions_of(np.where(GROUP == 2, 10.0, 500.0), event), GROUP, COUNTS, 0.95)
    assert np.isnan(row.interval.value) and row.note == "all events are in one of the groups"
