"""Net benefit, by hand on patients who were all followed, and against Kaplan–Meier where some were not."""

import numpy as np
import pytest

from pipeline.metrics.decision_curves import decision_curve, net_benefit
from pipeline.metrics.kaplan_meier import kaplan_meier
from pipeline.metrics.time_dependent import SurvivalOutcome


def test_by_hand_without_censoring():
    """Ten patients, four die by day 10; the model treats six of them, three who die: 3/10 − 3/10 · 1/4."""
    time = np.array([5.0, 6, 7, 8, 20, 21, 22, 23, 24, 25])
    outcome = SurvivalOutcome.of(time, np.ones(10))
    risk = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.5, 0.4, 0.1, 0.1, 0.1])
    row = next(r for r in decision_curve(outcome, 1 - risk, 10) if r["threshold"] == 0.2)
    assert row["net_benefit"] == pytest.approx(0.3 - 0.3 * 0.25)
    assert row["treat_all"] == pytest.approx(0.4 - 0.6 * 0.25)


def test_censored_patients_count_by_kaplan_meier():
    generator = np.random.default_rng(0)
    time, event = generator.exponential(500, 60), (generator.random(60) < 0.6).astype(float)
    treated = generator.random(60) < 0.5
    survival = kaplan_meier(time[treated], event[treated]).at(400).value
    share = treated.mean()
    expected = share * (1 - survival) - share * survival * 0.25
    assert net_benefit(SurvivalOutcome.of(time, event), treated, 400, 0.25) == pytest.approx(expected)


def test_nobody_treated_is_zero_and_short_follow_up_has_no_value():
    outcome = SurvivalOutcome.of(np.array([5.0, 6, 7, 30]), np.array([1.0, 0, 0, 0]))
    assert net_benefit(outcome, np.zeros(4, dtype=bool), 10, 0.25) == 0
    assert np.isnan(net_benefit(outcome, np.array([True, True, True, False]), 10, 0.25))
