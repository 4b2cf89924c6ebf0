"""The test of proportional hazards against its formula, lifelines on several columns, and simulations."""

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import proportional_hazard_test
from scipy.special import chdtrc
from scipy.stats import rankdata

from pipeline.metrics.proportional_hazards import schoenfeld_p
from tests.metrics.evaluated_study import Study, value


def cohort(seed, n=300, shape=1.0):
    """Hazard ratio of the risk constant (shape 1), or falling with time (0: gone after 5)."""
    generator = np.random.default_rng(seed)
    risk = generator.normal(size=n)
    early = generator.exponential(10 * np.exp(-risk))
    later = 5 + generator.exponential(10 * np.exp(-shape * risk))
    time = np.where(early < 5, early, later)
    left = generator.uniform(5, 40, n)
    return np.minimum(time, left), (time <= left).astype(float), risk


def by_formula(time, event, risk):
    """Grambsch and Therneau's statistic of one covariate, from residuals in a loop; no ties."""
    z = (risk - risk.mean()) / risk.std()
    frame = pd.DataFrame({"z": z, "t": time, "e": event})
    fit = CoxPHFitter().fit(frame, "t", "e")
    beta, variance = fit.params_["z"], fit.variance_matrix_.iloc[0, 0]
    happened = np.flatnonzero(event == 1)
    residual = []
    for i in happened:
        at_risk = time >= time[i]
        weight = np.exp(beta * z[at_risk])
        residual.append(z[i] - (weight @ z[at_risk]) / weight.sum())
    g = rankdata(time[happened])
    g = g - g.mean()
    d = len(happened)
    statistic = (g @ (d * variance * np.array(residual))) ** 2 / (d * variance * (g**2).sum())
    return chdtrc(1, statistic)


@pytest.mark.parametrize("shape", [1.0, 0.0])
def test_the_formula_in_any_order_of_patients(shape):
    time, event, risk = cohort(1, 120, shape)
    expected = by_formula(time, event, risk)
    assert schoenfeld_p(time, event, risk) == pytest.approx(expected, rel=1e-3)
    order = np.random.default_rng(0).permutation(120)
    assert schoenfeld_p(time[order], event[order], 3 * risk[order] + 7) == pytest.approx(expected, rel=1e-3)


def test_lifelines_on_the_rossi_recidivism_data():
    """Age alone. lifelines ranks tied times in the order of rows, here they share their mean rank."""
    from lifelines.datasets import load_rossi

    rossi = load_rossi()[["age", "week", "arrest"]]
    model = CoxPHFitter().fit(rossi, "week", "arrest")
    expected = float(np.ravel(proportional_hazard_test(model, rossi, time_transform="rank").p_value)[0])
    time, event, age = (rossi[name].to_numpy(float) for name in ("week", "arrest", "age"))
    assert schoenfeld_p(time, event, -age) == pytest.approx(expected, rel=0.15) and expected < 0.02


def test_an_effect_that_ends_is_seen_and_folds_have_their_own_hazard():
    assert schoenfeld_p(*cohort(2, shape=0.0)) < 0.01 < 0.05 < schoenfeld_p(*cohort(3))
    # Each fold's times on a scale of its own, in which nothing is seen without strata.
    time, event, risk = cohort(2, shape=0.0)
    fold = np.arange(300) % 3
    assert schoenfeld_p(time * 100.0**fold, event, risk, fold.astype(float)) < 0.05
    assert np.isnan(schoenfeld_p(time, event, np.ones(300)))


def test_every_model_and_set_has_it(tmp_path):
    study = Study(tmp_path)
    rows = study.run({"truth": study.model("truth", study.hazard)})["metrics"]
    for which in ("development", "external"):
        assert 0 < value(rows, "proportional_hazards_p", which=which) <= 1
