"""Slopes and baseline hazards: the 6-MP leukaemia trial (Freireich et al., Blood 1963), and scikit-survival."""

import numpy as np
import pytest

from pipeline.metrics.baseline import breslow, calibration_slope, in_sample_baseline
from tests.metrics.test_kaplan_meier import PLACEBO, TREATED, arm


def test_breslow_without_covariates_is_nelson_aalen():
    # Hazard 3/21 at 6, 1/17 at 7, 1/15 at 10 (counts above).
    time, event = arm(TREATED)
    baseline = breslow(time, event, np.zeros(21))
    assert baseline.hazard[:3] == pytest.approx(np.cumsum([3 / 21, 1 / 17, 1 / 15]))
    curve = baseline.survival(np.zeros(1), np.array([5.0, 6.0, 40.0]))[0]
    assert curve[:2] == pytest.approx([1.0, np.exp(-3 / 21)])
    assert np.isnan(curve[2])


def test_breslow_agrees_with_scikit_survival():
    from sksurv.linear_model.coxph import BreslowEstimator

    generator = np.random.default_rng(0)
    risk = generator.normal(size=70)
    time = np.ceil(generator.exponential(20 * np.exp(-risk)))
    event = generator.random(70) < 0.6
    reference = BreslowEstimator().fit(risk, event, time)
    ours = breslow(time, event, risk)
    wanted = np.array([1.0, 5.0, 17.0, time.max()])
    expected = [[f(t) for t in wanted] for f in reference.get_survival_function(risk)]
    assert ours.survival(risk, wanted) == pytest.approx(np.array(expected), abs=1e-12)


def test_breslow_does_not_overflow_and_ignores_shifts():
    time, event = arm(PLACEBO)
    risk = np.linspace(-1, 1, 21)
    wanted = np.array([3.0, 9.0])
    expected = breslow(time, event, risk).survival(risk, wanted)
    moved = breslow(time, event, risk + 5000.0).survival(risk + 5000.0, wanted)
    assert moved == pytest.approx(expected, abs=1e-9)
    steep = breslow(time, event, 2000 * risk).survival(2000 * risk, wanted)
    assert np.isfinite(steep).all() and (steep >= 0).all() and (steep <= 1).all()


@pytest.mark.parametrize("ridge", [0.5, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_slope_is_that_of_a_ridge_cox_model(seed, ridge):
    """scikit-survival's penalised Cox model with Breslow's ties, on the standardised score."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    generator = np.random.default_rng(seed)
    score = 3 + 2 * generator.normal(size=50)
    time = np.ceil(generator.exponential(20 * np.exp(-0.5 * score)))
    event = generator.random(50) < 0.6
    model = CoxPHSurvivalAnalysis(alpha=ridge, ties="breslow", n_iter=200)
    model.fit(((score - score.mean()) / score.std())[:, None], Surv.from_arrays(event, time))
    expected = model.coef_[0] / score.std()
    assert expected > 0 and calibration_slope(score, time, event, ridge) == pytest.approx(expected, rel=1e-5)
    assert calibration_slope(-score, time, event, ridge) == 0


def test_scores_without_a_slope():
    time, event = arm(TREATED)
    assert calibration_slope(np.full(21, 0.1 + 0.2), time, event) == 0
    assert calibration_slope(np.arange(21.0), time, np.zeros(21)) == 0
    assert calibration_slope(np.zeros(0), np.zeros(0), np.zeros(0)) == 0


def test_in_sample_scores_have_the_slope_of_validation_patients_and_the_hazard_of_all():
    generator = np.random.default_rng(0)
    score = generator.normal(size=90)
    time = generator.exponential(20 * np.exp(-score))
    event, validation = generator.random(90) < 0.7, np.arange(90) < 25
    # What a network that has learned its training patients by heart gives them.
    score[~validation] = -5 * np.log(time[~validation])
    baseline = in_sample_baseline(time, event, score, validation)
    slope = calibration_slope(score[:25], time[:25], event[:25], 4.0)
    assert baseline.slope == slope > 0.2
    assert baseline.hazard == pytest.approx(breslow(time, event, slope * score).hazard)
    assert len(baseline.times) == event.sum()  # all patients' events, not the validation patients'
    assert in_sample_baseline(time, event, score, np.zeros(90, bool)).slope == 0
