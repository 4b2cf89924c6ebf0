"""AUC, Brier and calibration against scikit-survival; vectorised curves against row-wise ones."""

import numpy as np
import pytest

from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.kaplan_meier import kaplan_meier
from pipeline.metrics.time_dependent import (
    SurvivalOutcome,
    auc_pairs,
    brier_terms,
    calibration_bins,
    survival_at,
)


def sample(seed, n=90):
    generator = np.random.default_rng(seed)
    risk = np.round(generator.normal(size=n), 1)
    time = np.ceil(generator.exponential(20 * np.exp(-risk)))
    censored = np.ceil(generator.exponential(40, n))
    event = (time <= censored).astype(float)
    time = np.minimum(time, censored)
    event[np.argmax(time)] = 0  # the last patient is censored, else G is 0 at the end
    return time, event, risk


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("horizon", [5.0, 12.0, 30.0])
def test_auc_and_brier_agree_with_scikit_survival(seed, horizon):
    from sksurv.metrics import brier_score, cumulative_dynamic_auc
    from sksurv.util import Surv

    time, event, risk = sample(seed)
    outcome, theirs = SurvivalOutcome.of(time, event), Surv.from_arrays(event == 1, time)
    expected = cumulative_dynamic_auc(theirs, theirs, risk, [horizon])[0][0]
    assert auc_pairs(outcome, risk, horizon).index()[0] == pytest.approx(expected, abs=1e-12)
    survival = np.exp(-np.exp(risk) * horizon / 25)
    _, expected = brier_score(theirs, theirs, survival[:, None], [horizon])
    assert brier_terms(outcome, survival, horizon).mean() == pytest.approx(expected[0], abs=1e-12)


def test_a_time_outside_follow_up_has_no_value_but_a_reason():
    time, event, _ = sample(0)
    outcome = SurvivalOutcome.of(time, event)
    assert "no patient is followed" in outcome.no_value_reason(time.max())
    assert "no event" in outcome.no_value_reason(0.5)
    assert outcome.no_value_reason(12.0) == ""


@pytest.mark.parametrize("horizon", [1.0, 12.0, 39.0])
def test_vectorised_kaplan_meier_equals_row_wise(horizon):
    time, event, _ = sample(2, n=40)
    counts = resample_counts(40, 20, seed=3)
    fast = survival_at(time, event, horizon, counts)
    for row, value in zip(counts.astype(int), fast, strict=True):
        drawn = np.repeat(np.arange(40), row)
        expected = kaplan_meier(time[drawn], event[drawn]).at(horizon).value
        if np.isnan(expected):
            # After a last event the curve is 0 for ever; after a censoring it is unknown.
            assert np.isnan(value) or value == 0
        else:
            assert value == pytest.approx(expected, abs=1e-12)


def test_a_true_model_is_calibrated_and_a_wrong_one_is_not():
    generator = np.random.default_rng(5)
    risk = generator.normal(size=4000)
    time = generator.exponential(20 * np.exp(-risk))
    outcome = SurvivalOutcome.of(time, np.ones(4000))
    truth = np.exp(-np.exp(risk) * 10 / 20)
    rows = calibration_bins(outcome, truth, 10.0, 0.99)
    assert [r["bin"] for r in rows] == [1, 2, 3, 4, 5]
    assert all(r["ci_low"] <= r["predicted"] <= r["ci_high"] for r in rows)
    assert rows[0]["predicted"] < rows[-1]["predicted"]
    wrong = calibration_bins(outcome, truth**3, 10.0, 0.99)
    assert not all(r["ci_low"] <= r["predicted"] <= r["ci_high"] for r in wrong)
