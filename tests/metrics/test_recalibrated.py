"""Recalibrated probabilities: what is known of simulated patients, and what scikit-survival estimates."""

from dataclasses import replace

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.recalibrated import COLUMNS, recalibrated_rows
from pipeline.metrics.time_dependent import SurvivalOutcome

HORIZON = 700.0


def external(shift=0.0, slope=1.0, n=400, events=None):
    """Patients of known log-hazard η, of whom a model says η' with η = shift + slope·η'."""
    generator = np.random.default_rng(4)
    said = generator.normal(size=n) + np.log(HORIZON / 900)
    died = generator.exponential(HORIZON * np.exp(-(shift + slope * said)))
    left = generator.uniform(300, 3000, n)
    event = (died <= left).astype(float)
    if events is not None:
        event[np.flatnonzero(event)[events:]] = 0.0
    predictions = Predictions("model", "external", tuple(map(str, range(n))), None, event)
    outcome = SurvivalOutcome.of(np.minimum(died, left), event)
    return RiskPredictions.of(predictions, outcome, said, {HORIZON: np.exp(-np.exp(said))}), said


def test_a_known_miscalibration_is_found_and_taken_away():
    """Cumulative hazards 1.6 times as high, log-hazards 0.6 as far apart as the model says."""
    predictions, said = external(shift=np.log(1.6), slope=0.6)
    predicted, baseline, both = recalibrated_rows(predictions)
    assert [row["version"] for row in (predicted, baseline, both)] == [
        "as predicted",
        "baseline",
        "baseline and slope",
    ]
    assert tuple(both) == COLUMNS
    assert both["slope"] == pytest.approx(0.6, abs=0.1) and both["intercept"] == pytest.approx(
        np.log(1.6), abs=0.15
    )
    assert predicted["observed_expected"] > 1.1 and both["observed_expected"] == pytest.approx(1, abs=0.03)
    assert predicted["ici"] > 0.08 > 0.03 > both["ici"]

    # The recalibrated survival of a patient is that of scikit-survival's Cox model itself.
    outcome = predictions.outcome
    truth = Surv.from_arrays(outcome.event > 0, outcome.time)
    theirs = CoxPHSurvivalAnalysis(ties="breslow", tol=1e-12).fit(said[:, None], truth)
    assert both["slope"] == pytest.approx(theirs.coef_[0], abs=1e-6)
    survival = theirs.predict_survival_function(said[:1, None])[0](HORIZON)
    assert np.exp(-np.exp(both["intercept"] + both["slope"] * said[0])) == pytest.approx(survival, abs=1e-6)


def test_good_predictions_stay_as_they_are():
    predictions, _ = external()
    _, baseline, both = recalibrated_rows(predictions)
    assert baseline["intercept"] == pytest.approx(0, abs=0.15) and both["slope"] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("events", [0, 9])
def test_few_events_are_not_recalibrated(events):
    predictions, _ = external(n=40, events=events)
    assert list(recalibrated_rows(predictions)) == []


def test_equal_predictions_have_a_baseline_and_no_slope():
    predictions, _ = external()
    same = replace(predictions, survival={HORIZON: np.full(400, 0.5)})
    rows = list(recalibrated_rows(same))
    assert [row["version"] for row in rows] == ["as predicted", "baseline"] and np.isnan(rows[1]["ici"])
    assert rows[1]["observed_expected"] == pytest.approx(1, abs=0.02)
