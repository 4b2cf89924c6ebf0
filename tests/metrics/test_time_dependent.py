"""AUC, Brier and calibration against scikit-survival and identities; vectorised curves against row-wise ones."""

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


def sample(seed, n=90, unit=1.0):
    """Patients whose times are rounded up to whole units; 0: no two times are the same."""
    generator = np.random.default_rng(seed)
    risk = np.round(generator.normal(size=n), 1)
    time = generator.exponential(20 * np.exp(-risk))
    censored = generator.exponential(40, n)
    if unit:
        time, censored = unit * np.ceil(time / unit), unit * np.ceil(censored / unit)
    event = (time <= censored).astype(float)
    time = np.minimum(time, censored)
    event[np.argmax(time)] = 0  # the last patient is censored, else G is 0 at the end
    return time, event, risk


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("horizon", [5.0, 12.0, 30.0])
def test_auc_and_brier_agree_with_scikit_survival(seed, horizon):
    from sksurv.metrics import brier_score, cumulative_dynamic_auc
    from sksurv.util import Surv

    # scikit-survival weights an event at T by G(T), here it is G(T−): the same where times are not tied.
    time, event, risk = sample(seed, unit=0)
    outcome, theirs = SurvivalOutcome.of(time, event), Surv.from_arrays(event == 1, time)
    expected = cumulative_dynamic_auc(theirs, theirs, risk, [horizon])[0][0]
    assert auc_pairs(outcome, risk, horizon).index()[0] == pytest.approx(expected, abs=1e-12)
    survival = np.exp(-np.exp(risk) * horizon / 25)
    _, expected = brier_score(theirs, theirs, survival[:, None], [horizon])
    assert brier_terms(outcome, survival, horizon).mean() == pytest.approx(expected[0], abs=1e-12)


@pytest.mark.parametrize("unit", [1.0, 6.0, 12.0])
@pytest.mark.parametrize("seed", range(5))
def test_kaplan_meier_as_the_prediction_has_a_brier_score_of_s_times_one_minus_s(seed, unit):
    """However many times are tied: Satten and Datta, Am Stat 2001; 55: 207 (weighted events add up to 1 − S)."""
    time, event, _ = sample(seed, unit=unit)
    outcome, horizon = SurvivalOutcome.of(time, event), 24.0
    survival = kaplan_meier(time, event).at(horizon).value
    weighted_events = ((time <= horizon) & (event == 1)) / outcome.censoring
    assert weighted_events.mean() == pytest.approx(1 - survival, abs=1e-12)
    brier = brier_terms(outcome, np.full(len(time), survival), horizon).mean()
    assert brier == pytest.approx(survival * (1 - survival), abs=1e-12)


def test_an_event_is_weighted_by_the_probability_of_being_uncensored_just_before_it():
    # Years 1 (one censored of 4), 2 (an event and a censoring): G(1−) = 1, G(2−) = 3/4.
    outcome = SurvivalOutcome.of(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0, 0.0]))
    assert outcome.censoring == pytest.approx([1, 3 / 4, 3 / 4, 3 / 8])


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
    rows = calibration_bins(outcome, truth, 10.0, np.ones((1, 4000)), 0.99)
    assert [r["bin"] for r in rows] == [1, 2, 3, 4, 5]
    assert all(r["ci_low"] <= r["predicted"] <= r["ci_high"] for r in rows)
    assert rows[0]["predicted"] < rows[-1]["predicted"]
    wrong = calibration_bins(outcome, truth**3, 10.0, np.ones((1, 4000)), 0.99)
    assert not all(r["ci_low"] <= r["predicted"] <= r["ci_high"] for r in wrong)
