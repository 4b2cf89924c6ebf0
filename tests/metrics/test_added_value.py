"""Added value in small samples: permutation of the score against enumeration and on noise."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.added_value import added_value, permutation_p


def patients(seed, n=20, effect=0.0):
    generator = np.random.default_rng(seed)
    base, added = 0.3 * generator.normal(size=n), generator.normal(size=n)
    died = generator.exponential(900 * np.exp(-base - effect * added)) + 1
    left = generator.uniform(100, 2500, n)
    return np.minimum(died, left), (died <= left).astype(float), base, added


def test_permutation_p_is_that_of_all_orders():
    # Martingale residuals by lifelines; no base risk, so that nothing is taken out but the mean.
    from lifelines import CoxPHFitter

    time, event, _, added = patients(3, n=6)
    frame = pd.DataFrame({"x": np.arange(6.0), "time": time, "event": event})
    null = CoxPHFitter(penalizer=1e8).fit(frame, "time", "event")  # coefficient 0
    residual = null.compute_residuals(frame, "martingale").sort_index()["martingale"].to_numpy()
    for risk in (added, -added):
        scores = np.array([np.array(order) @ residual for order in permutations(risk)])
        expected = min(1.0, 2 * np.mean(scores >= risk @ residual - 1e-9))
        assert permutation_p(time, event, np.zeros(6), risk) == pytest.approx(expected, abs=0.04)


def test_noise_in_twenty_patients_is_significant_as_often_as_it_may():
    fold = np.arange(20) % 3
    p = np.array([permutation_p(*patients(seed), fold) for seed in range(200)])
    assert np.mean(p < 0.05) < 0.06
    assert np.mean(p < 0.5) == pytest.approx(0.25, abs=0.1)
    p = [permutation_p(*patients(seed, effect=1.5), fold) for seed in range(40)]
    assert np.mean(np.array(p) < 0.05) > 0.6


def test_few_events_are_tested_by_permutation_many_by_likelihood():
    def whole(p):  # of the permutations
        return abs(p * 2001 - round(p * 2001)) < 1e-6

    time, event, base, added = patients(0, n=20, effect=1.0)
    assert event.sum() < 20 and whole(added_value(time, event, base, added, 0.95).p_value)
    time, event, base, added = patients(0, n=90, effect=0.2)
    assert event.sum() >= 20 and not whole(added_value(time, event, base, added, 0.95).p_value)


def test_a_risk_that_points_the_wrong_way_adds_nothing():
    for n in (20, 90):
        time, event, base, added = patients(0, n=n, effect=1.5)
        assert added_value(time, event, base, added, 0.95).p_value < 0.05
        assert added_value(time, event, base, -added, 0.95).p_value > 0.99


def test_added_value_agrees_with_scikit_survival():
    from sksurv.datasets import load_veterans_lung_cancer
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    from pipeline.metrics.added_value import added_value

    table, outcome = load_veterans_lung_cancer()
    time, event = outcome["Survival_in_days"], outcome["Status"].astype(float)
    age, score = table["Age_in_years"].to_numpy(), -table["Karnofsky_score"].to_numpy()
    result = added_value(time, event, age, score, 0.95)
    model = CoxPHSurvivalAnalysis(ties="efron").fit(np.column_stack([age, score / score.std()]), outcome)
    assert result.log_hazard_ratio.value == pytest.approx(model.coef_[1], abs=1e-4)
    assert result.log_hazard_ratio.low > 0 and result.p_value < 1e-8
