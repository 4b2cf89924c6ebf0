"""Breslow's baseline hazard on the 6-MP leukaemia trial (Freireich et al., Blood 1963) and against scikit-survival."""

import numpy as np
import pytest

from pipeline.metrics.baseline import breslow
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
