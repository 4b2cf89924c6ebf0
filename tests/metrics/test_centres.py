"""Pooling over centres: as metafor and statsmodels have it, and as a simulation with known truth says."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow
from pipeline.metrics.centres import pooled_rows, random_effects
from pipeline.settings.evaluation import EvaluationSettings
from tests.metrics.evaluated_study import Study, value

# The 13 trials of BCG against tuberculosis (Colditz et al., JAMA 1994; metafor's `dat.bcg`): cases and others,
# vaccinated, then not.
BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232),
    (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
], dtype=float)  # fmt: skip


def log_risk_ratios():
    a, b, c, d = BCG.T
    return np.log(a / (a + b)) - np.log(c / (c + d)), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_bcg_is_as_metafor_prints_it():
    """`rma(yi, vi, method="DL")` prints -0.7141, tau² 0.3088, I² 92.12 %, standard error 0.1787."""
    effect, variance = log_risk_ratios()
    found = random_effects(effect, variance, 0.95)
    assert found.mean == pytest.approx(-0.7141, abs=5e-5)
    assert found.tau**2 == pytest.approx(0.3088, abs=5e-5)
    assert found.i_squared == pytest.approx(0.9212, abs=5e-5)
    # statsmodels 0.15, `combine_effects(effect, variance, method_re="dl")`: Hartung and Knapp's error is 0.1806966.
    error = (found.high - found.mean) / student.ppf(0.975, 12)
    assert error == pytest.approx(0.1806966283, rel=1e-8) and found.mean == pytest.approx(-0.7141172221)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    reach = student.ppf(0.975, 11) * np.sqrt(found.tau**2 + error**2)
    assert found.prediction_high - found.mean == pytest.approx(reach, abs=2e-4)


def test_equal_centres_have_no_spread_between_them_and_two_no_prediction():
    found = random_effects(np.array([0.5, 0.5, 0.5]), np.array([0.1, 0.2, 0.3]), 0.95)
    assert (found.mean, found.tau, found.i_squared) == (0.5, 0, 0)
    # 1 / (10 + 5 + 10/3) is the mean's variance; t of two degrees of freedom is 4.3027.
    assert found.high - 0.5 == pytest.approx(4.30265 * np.sqrt(1 / (10 + 5 + 10 / 3)), rel=1e-5)
    assert np.isnan(random_effects(np.array([0.4, 0.6]), np.ones(2), 0.95).prediction_low)


def test_intervals_hold_the_mean_as_often_as_they_say():
    generator = np.random.default_rng(3)
    held = predicted = 0
    for _ in range(400):
        truth = 0.8 + 0.3 * generator.normal(size=7)
        variance = generator.uniform(0.02, 0.2, 6)
        found = random_effects(truth[:6] + np.sqrt(variance) * generator.normal(size=6), variance, 0.95)
        held += found.low <= 0.8 <= found.high
        predicted += found.prediction_low <= truth[6] <= found.prediction_high
    assert 0.93 <= held / 400 <= 0.99
    # Too narrow with few centres, as is known of it (Partlett and Riley, Stat Med 2017; 36: 301); the note says so.
    assert 0.82 <= predicted / 400 <= 0.95


def of_centre(metric, value, spread, patients=40, events=20):
    samples = value + spread * np.linspace(-1.7, 1.7, 101)
    return MetricRow(
        metric, Interval(value, value - 2 * spread, value + 2 * spread, samples), patients, events
    )


def test_values_are_pooled_on_the_logit_scale_and_unknown_ones_left_out():
    few = MetricRow("c_index", NO_VALUE, 9, 3, "3 events: not estimated")
    rows = [of_centre("c_index", 0.7, 0.05), of_centre("c_index", 0.7, 0.05), few]
    pooled, prediction = pooled_rows([*rows, of_centre("brier_365d", 0.2, 0.01)], 0.95)
    assert pooled.metric == "c_index_centres" and pooled.interval.value == pytest.approx(0.7)
    assert (pooled.patients, pooled.events) == (80, 40) and "2 centres, 1 left out" in pooled.note
    error = np.std(rows[0].interval.samples, ddof=1) / 0.21 / np.sqrt(2)
    bound = np.log(0.7 / 0.3) + student.ppf(0.975, 1) * error
    assert pooled.interval.high == pytest.approx(1 / (1 + np.exp(-bound)))
    assert np.isnan(prediction.interval.low) and "3 centres are needed" in prediction.note
    (one,) = pooled_rows([rows[0], few], 0.95)
    assert np.isnan(one.interval.value) and "1 centre with a value: not pooled (1 left out)" in one.note
    (perfect,) = pooled_rows([rows[0], of_centre("c_index", 1.0, 0.0)], 0.95)
    assert np.isnan(perfect.interval.value) and "no logit" in perfect.note


def test_a_study_that_asks_for_centres_has_the_pooled_value(tmp_path):
    study = Study(tmp_path, n=180, external=60)
    study.cohort["centre"] = np.array(["A", "B", "C"])[np.arange(240) % 3]
    # As with plan.by_centre: each fold tests a centre.
    study.cohort.to_parquet(tmp_path / "cohort.parquet")
    path = study.model("truth", study.hazard)
    settings = EvaluationSettings(horizons_days=(365.25,), bootstraps=200, subgroups=("centre",))
    tables = study.run({"truth": path}, settings)
    of_centres = [
        float(row["value"])
        for row in tables["subgroups"]
        if (row["set"], row["metric"]) == ("development", "c_index")
    ]
    pooled = value(tables["metrics"], "c_index_centres")
    assert len(of_centres) == 3 and min(of_centres) < pooled < max(of_centres)
    low, high = (value(tables["metrics"], "c_index_centres", column=c) for c in ("ci_low", "ci_high"))
    wide = [value(tables["metrics"], "c_index_centres_prediction", column=c) for c in ("ci_low", "ci_high")]
    assert wide[0] <= low < pooled < high <= wide[1]
    plain = study.run({"truth": path}, settings.model_copy(update={"subgroups": ()}))
    assert not [row for row in plain["metrics"] if "centres" in row["metric"]]
    assert pd.DataFrame(plain["subgroups"]).empty
