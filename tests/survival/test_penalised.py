"""Penalised Cox: a path that scikit-survival ends early is still the whole path."""

import numpy as np
import pandas as pd
import pytest

from pipeline.settings.classical import LassoCox
from pipeline.survival.cox import fit_cox
from pipeline.survival.estimator import Context
from pipeline.survival.patients import Patients
from pipeline.survival.penalised import PENALTIES, cross_validate, fit_lasso, lasso_path

UNSHRUNK = LassoCox(clinical=("clinical_stage",), penalise_clinical=False, spearman=1.0, inner_folds=3)


def patients(stage, features, log_hazard, seed=0):
    """Everybody has the event, at a time of an exponential distribution; stage is a number."""
    time = np.random.default_rng(seed).exponential(900 * np.exp(-log_hazard)) + 1
    table = pd.DataFrame({"time_days": time, "event": 1, "clinical_stage": stage})
    return Patients(table, features, tuple(f"f{j}" for j in range(features.shape[1])))


def gradient(matrix, beta, time):
    """Of the mean log partial likelihood without ties, everybody having the event: x − its mean at risk."""
    total = np.zeros(matrix.shape[1])
    for row, moment in zip(matrix, time, strict=True):
        weight = np.exp(matrix @ beta) * (time >= moment)
        total += row - weight @ matrix / weight.sum()
    return total / len(time)


def standardised(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_a_path_goes_on_below_penalties_that_leave_only_unpenalised_columns():
    # The first seven penalties are so large that no feature is in, and change nothing.
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 12))
    stage = generator.normal(size=60)
    train = patients(stage, features, 1.5 * features[:, 0] + stage)
    matrix = standardised(np.column_stack([stage, features]))
    own = lasso_path(matrix, train, UNSHRUNK, 1, None)
    penalties = own.penalties[0] * 2 * np.geomspace(1, 0.025, PENALTIES)
    path = lasso_path(matrix, train, UNSHRUNK, 1, penalties)
    assert path.coefficients.shape == (13, PENALTIES) and not path.coefficients[1:, 6].any()
    assert path.coefficients[1, -1] > 0.5
    # Karush–Kuhn–Tucker: at the optimum the slope is 0 without a penalty, ±penalty of a feature
    # that is in, and less than the penalty of one that is not.
    for at in (3, 10, 25, PENALTIES - 1):
        beta = path.coefficients[:, at]
        slope, inside = gradient(matrix, beta, train.time), beta[1:] != 0
        assert slope[0] == pytest.approx(0, abs=1e-3)
        assert slope[1:][inside] == pytest.approx((penalties[at] * np.sign(beta[1:]))[inside], abs=1e-3)
        assert (np.abs(slope[1:][~inside]) <= penalties[at] + 1e-3).all()


def test_separated_patients_end_the_path_early_and_are_still_fitted():
    # The later the lower the stage, without exception: unpenalised, it explains everything.
    generator = np.random.default_rng(2)
    train = patients(np.zeros(40), generator.normal(size=(40, 5)), np.zeros(40))
    train.table["clinical_stage"] = -train.table["time_days"].rank()
    matrix = standardised(np.column_stack([train.table["clinical_stage"], train.features]))
    penalties = np.geomspace(0.5, 0.025, PENALTIES)
    path = lasso_path(matrix, train, UNSHRUNK, 1, penalties)
    assert path.coefficients.shape == (6, PENALTIES)
    assert np.array_equal(path.coefficients[:, -1], path.coefficients[:, -2])
    assert np.isfinite(cross_validate(UNSHRUNK, train, Context(0), penalties)).all()
    risk = fit_lasso(UNSHRUNK, train, Context(0)).score(train)
    assert np.corrcoef(pd.Series(risk).rank(), train.table["clinical_stage"])[0, 1] == pytest.approx(1)


def test_unpenalised_columns_alone_are_plain_cox():
    generator = np.random.default_rng(3)
    stage = generator.normal(size=50)
    train = patients(stage, np.ones((50, 2)), stage)
    fitted = fit_lasso(UNSHRUNK, train, Context(0))
    expected = fit_cox(standardised(stage)[:, None], train.time, train.event, ridge=0.01).coefficients[0]
    assert fitted.report["coefficients"] == {"clinical_stage": pytest.approx(expected, abs=1e-9)}
    assert any("clinical columns alone" in line for line in fitted.warnings)
