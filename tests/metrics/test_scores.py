"""Integrated Brier score against scikit-survival, medians of distances by hand."""

import numpy as np
import pytest

from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.mask_scores import median_distances
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.scores import score
from pipeline.metrics.time_dependent import SurvivalOutcome


def sample(seed, n=90):
    generator = np.random.default_rng(seed)
    risk = np.round(generator.normal(size=n), 1)
    time = generator.exponential(20 * np.exp(-risk))
    censored = generator.exponential(40, n)
    event = (time <= censored).astype(float)
    time = np.minimum(time, censored)
    event[np.argmax(time)] = 0  # the last patient is censored, else G is 0 at the end
    return time, event, risk


def test_integrated_brier_score_agrees_with_scikit_survival():
    from sksurv.metrics import integrated_brier_score
    from sksurv.util import Surv

    time, event, risk = sample(11)
    horizons = [5.0, 12.0, 30.0]
    survival = {h: np.exp(-np.exp(risk) * h / 25) for h in horizons}
    patients = ("a",) * 90
    predictions = RiskPredictions(
        "m",
        "external",
        patients,
        None,
        event,
        outcome=SurvivalOutcome.of(time, event),
        risk=risk,
        survival=survival,
    )
    rows = {r.metric: r for r in score(predictions, resample_counts(90, 100, 1), 0.95)}
    outcome = Surv.from_arrays(event == 1, time)
    expected = integrated_brier_score(
        outcome, outcome, np.stack([survival[h] for h in horizons], axis=1), horizons
    )
    assert rows["ibs"].interval.value == pytest.approx(expected, abs=1e-12)
    assert rows["ibs"].interval.low < expected < rows["ibs"].interval.high


def test_median_distance_by_hand():
    values = np.array([3.0, np.nan, 1.0, 9.0, np.inf])
    (row,) = median_distances({"hd95_mm": values}, np.ones((100, 5)), 0.95)
    assert (row.metric, row.interval.value, row.patients) == ("hd95_mm", 6.0, 4)
    assert row.note == "median; one mask is empty in 1 patients"
    assert (row.interval.low, row.interval.high) == (3.0, 3.0)  # the lower of two middle patients
