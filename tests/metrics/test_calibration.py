"""Calibration and Royston's D: equal to lifelines and scikit-survival, and to the truth of simulated cohorts."""

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy.stats import norm
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from pipeline.metrics.calibration import calibrate, spline, weighted_quantile
from pipeline.metrics.separation import normal_scores, separation
from pipeline.metrics.time_dependent import SurvivalOutcome
from pipeline.metrics.weighted_cox import RiskSets, fit_resamples

HORIZON = 700.0


def cohort(n, seed=0, hazard_ratio=1.0, tied=False):
    """Exponential times of known hazard: (outcome, true log hazard, true survival at the horizon)."""
    generator = np.random.default_rng(seed)
    index = hazard_ratio * generator.normal(size=n)
    died = generator.exponential(900 * np.exp(-index))
    time = np.minimum(died, left := generator.uniform(300, 3000, n))
    time = np.ceil(time / 200) * 200 if tied else time
    return (
        SurvivalOutcome.of(time, (died <= left).astype(float)),
        index,
        np.exp(-np.exp(index) * HORIZON / 900),
    )


def resamples(n, number=20, seed=1):
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=number).astype(float)


@pytest.mark.parametrize("tied", [False, True])
def test_coefficients_of_resamples_are_those_of_repeated_rows(tied):
    """scikit-survival with Breslow's ties on the drawn rows themselves."""
    outcome, index, _ = cohort(60, tied=tied)
    columns = np.stack([index, np.random.default_rng(5).normal(size=60)], axis=1)
    counts = resamples(60, 5)
    ours = fit_resamples(columns, RiskSets.of(outcome.time, outcome.event), counts)
    for row, drawn in zip(ours, counts.astype(int), strict=True):
        rows = np.repeat(np.arange(60), drawn)
        truth = Surv.from_arrays(outcome.event[rows] > 0, outcome.time[rows])
        theirs = CoxPHSurvivalAnalysis(ties="breslow", tol=1e-12).fit(columns[rows], truth).coef_
        assert row == pytest.approx(theirs, abs=1e-5)


def test_a_resample_without_events_or_with_perfect_separation_has_no_value():
    time, event = np.arange(1.0, 21), np.r_[np.ones(10), np.zeros(10)]
    sets = RiskSets.of(time, event)
    counts = np.stack([np.ones(20), np.r_[np.zeros(10), np.ones(10)], np.ones(20)])
    noise = np.random.default_rng(0).normal(size=20)
    fitted = fit_resamples(noise[:, None], sets, counts)[:, 0]
    assert np.isfinite(fitted[[0, 2]]).all() and np.isnan(fitted[1])
    assert np.isnan(fit_resamples(-time[:, None], sets, counts[:1])).all()


def test_coefficients_follow_the_scale_of_the_columns():
    """A slope of narrow predictions is as certain as one of wide ones: only its unit differs."""
    outcome, index, _ = cohort(100)
    sets, counts = RiskSets.of(outcome.time, outcome.event), resamples(100, 50)
    wide = fit_resamples(index[:, None], sets, counts)
    narrow = fit_resamples(0.005 * index[:, None], sets, counts)
    assert np.isfinite(narrow).all() and narrow * 0.005 == pytest.approx(wide)
    varying = np.stack([index * factor for factor in np.linspace(1, 9, 50)])[:, :, None]
    scaled = fit_resamples(varying, sets, counts)[:, 0] * np.linspace(1, 9, 50)
    assert scaled == pytest.approx(wide[:, 0])


def test_few_events_by_a_horizon_have_no_calibration():
    from pipeline.metrics.predictions import Predictions, RiskPredictions
    from pipeline.metrics.probability_tables import probability_tables

    outcome, _, survival = cohort(60)
    soon = float(np.sort(outcome.time[outcome.event == 1])[3])
    patients = tuple(f"P{i}" for i in range(60))
    predictions = RiskPredictions.of(
        Predictions("m", "external", patients, None), outcome, -survival, {soon: survival, 700.0: survival}
    )
    early, late = probability_tables(predictions, resamples(60), 0.95)
    assert all(row.note == f"4 events by {soon:g} days: not estimated" for row in early.metrics)
    assert all(np.isnan(row.interval.value) for row in early.metrics)
    assert not early.curve and not early.bins and not early.decisions
    assert all(np.isfinite(row.interval.value) for row in late.metrics) and late.curve


def test_true_probabilities_are_calibrated():
    outcome, _, survival = cohort(4000)
    found = calibrate(outcome, survival, HORIZON, resamples(4000), 0.95).values
    assert found["calibration_slope"].value == pytest.approx(1, abs=0.06)
    assert found["calibration_intercept"].value == pytest.approx(0, abs=0.06)
    assert found["ici"].value < 0.012 and found["e50"].value < 0.012 and found["e90"].value < 0.03


@pytest.mark.parametrize(("stretch", "factor"), [(2.0, 1.0), (0.5, 1.0), (1.0, 2.0)])
def test_slope_and_intercept_are_the_distortion_that_was_made(stretch, factor):
    """Log-hazards stretched by s have slope 1/s; hazards divided by f have intercept log f."""
    outcome, index, _ = cohort(4000)
    survival = np.exp(-np.exp(stretch * index) * HORIZON / 900 / factor)
    found = calibrate(outcome, survival, HORIZON, resamples(4000), 0.95).values
    assert found["calibration_slope"].value == pytest.approx(1 / stretch, rel=0.06)
    if stretch == 1:
        assert found["calibration_intercept"].value == pytest.approx(np.log(factor), abs=0.06)
        low, high = found["calibration_intercept"].low, found["calibration_intercept"].high
        assert low < found["calibration_intercept"].value < high


def test_the_smooth_curve_is_that_of_lifelines():
    outcome, _, survival = cohort(150)
    index = np.log(-np.log(survival))
    design = spline(index, np.quantile(index, (0.1, 0.5, 0.9)))
    frame = pd.DataFrame({"a": design[:, 0], "b": design[:, 1], "t": outcome.time, "e": outcome.event})
    model = CoxPHFitter().fit(frame, "t", "e")
    observed = 1 - model.predict_survival_function(frame, times=[HORIZON]).to_numpy()[0]
    distance = np.abs(observed - (1 - survival))
    found = calibrate(outcome, survival, HORIZON, resamples(150), 0.95)
    assert found.values["ici"].value == pytest.approx(distance.mean(), abs=2e-4)
    assert np.isnan(found.values["ici"].low)
    assert found.values["e90"].value == pytest.approx(np.quantile(distance, 0.9), abs=0.01)
    assert found.predicted[0] == pytest.approx(1 - survival.max())
    ends = [observed[survival.argmax()], observed[survival.argmin()]]
    assert found.observed[[0, -1]] == pytest.approx(ends, abs=1e-3)
    assert (found.low <= found.observed + 1e-9).mean() > 0.9


def test_equal_predictions_have_no_slope_and_no_curve():
    outcome, _, _ = cohort(100)
    found = calibrate(outcome, np.full(100, 0.5), HORIZON, resamples(100), 0.95)
    assert np.isnan(found.values["calibration_slope"].value) and not len(found.predicted)
    assert np.isfinite(found.values["calibration_intercept"].value)


def test_the_spline_is_linear_outside_of_its_knots():
    knots = np.array([-1.0, 0.0, 1.0])
    outside = spline(np.array([1.0, 2.0, 3.0, -1.0, -2.0]), knots)
    assert outside[1] - outside[0] == pytest.approx(outside[2] - outside[1])
    assert (outside[3:, 1] == 0).all()


def test_weighted_quantiles_are_those_of_repeated_values():
    values, counts = np.random.default_rng(0).random((4, 30)), resamples(30, 4)
    for level in (0.5, 0.9):
        expected = [
            np.quantile(np.repeat(row, drawn.astype(int)), level, method="inverted_cdf")
            for row, drawn in zip(values, counts, strict=True)
        ]
        assert weighted_quantile(values, counts, level) == pytest.approx(expected)


def test_d_is_the_coefficient_of_normal_scores():
    """lifelines on the scores of Royston and Sauerbrei 2004; scores by hand."""
    outcome, risk, _ = cohort(80)
    scores = norm.ppf((np.argsort(np.argsort(risk)) + 1 - 0.375) / 80.25) / np.sqrt(8 / np.pi)
    frame = pd.DataFrame({"z": scores, "t": outcome.time, "e": outcome.event})
    d = CoxPHFitter().fit(frame, "t", "e").params_["z"]
    found = dict(separation(outcome, risk, resamples(80, 100), 0.95))
    assert found["royston_d"].value == pytest.approx(d, abs=1e-4)
    explained = d**2 / (8 / np.pi)
    assert found["r2_d"].value == pytest.approx(explained / (np.pi**2 / 6 + explained), abs=1e-4)
    assert found["royston_d"].low < d < found["royston_d"].high
    reversed_risk = dict(separation(outcome, -risk, resamples(80, 100), 0.95))
    assert (
        reversed_risk["royston_d"].value == pytest.approx(-d, abs=1e-4) and reversed_risk["r2_d"].value == 0
    )


def test_scores_of_a_resample_are_those_of_the_drawn_rows():
    risk, counts = np.array([3.0, 1.0, 2.0, 2.0]), np.array([[1.0, 2.0, 1.0, 2.0]])
    # Sorted: 1 1 2 2 2 3; mean ranks 1.5, 4, 6 of 6.
    expected = norm.ppf((np.array([6, 1.5, 4, 4]) - 0.375) / 6.25)
    assert normal_scores(risk, counts)[0] == pytest.approx(expected)
