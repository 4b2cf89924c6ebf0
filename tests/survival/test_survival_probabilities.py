"""Where the baseline hazard comes from, and what survival probabilities it gives."""

import numpy as np
import pytest

from pipeline.metrics.baseline import breslow
from pipeline.survival.survival_probabilities import calibration_slope
from pipeline.tables.predictions import read_predictions
from tests.survival.test_survival import report, run


def test_survival_of_the_true_hazard_is_calibrated(make_study):
    study = make_study(sizes=(600, 0, 2), strength=1.0)
    out = run(study, {"kind": "column", "column": "truth_log_hazard"}, features=None)
    frame = read_predictions(out / "fold0" / "predictions.parquet").set_index("patient_id")
    risk = study.cohort.loc[frame.index, "truth_log_hazard"]
    truth = np.exp(-np.exp(risk) * 365.25 / 900)  # the generator's exponential hazard, 1/900 per day
    assert np.abs(frame["survival_365.25d"] - truth).max() < 0.15
    assert report(out)["baseline"]["source"] == "validation"
    assert report(out)["baseline"]["slope"] == pytest.approx(1.0, abs=0.25)
    assert (frame["risk"] == risk).all()


def test_the_baseline_is_of_validation_patients(make_study):
    study = make_study(sizes=(300, 5, 3))
    out = run(study, {"kind": "feature", "feature": "pet_f0"})
    frame = read_predictions(out / "fold0" / "predictions.parquet").set_index("patient_id")
    validation = list(study.folds.folds[0].validation)
    outcome = study.cohort.loc[validation]
    expected = breslow(
        outcome["time_days"].to_numpy(),
        outcome["event"].to_numpy(float),
        frame.loc[validation, "risk"].to_numpy(),
    ).survival(frame["risk"].to_numpy(), np.array([365.25]))[:, 0]
    assert frame["survival_365.25d"].to_numpy() == pytest.approx(expected, abs=1e-12)


def test_few_validation_events_are_pooled_with_cross_fitted_training_patients(make_study):
    study = make_study(sizes=(36, 5, 15))
    out = run(study, {"kind": "lasso_cox"})
    baseline = report(out)["baseline"]
    assert baseline["source"] == "validation and train (cross-fitted)"
    times = study.cohort.loc[[*study.folds.folds[0].train, *study.folds.folds[0].validation], "time_days"]
    assert set(baseline["times_days"]) <= set(times)


def test_a_cross_fitted_baseline_is_less_sure_than_an_in_sample_one(make_study):
    # In-sample log-hazards of an overfitted model are too spread: its worst patients would
    # be given a survival near 0. Here 30 noise features leave nothing to predict.
    study = make_study(sizes=(60, 40, 30), strength=0.0, validation=0.1)
    out = run(study, {"kind": "survival_svm", "weights": [1.0]})
    frame = read_predictions(out / "fold0" / "predictions.parquet")
    train = frame[frame["set"] == "train"].set_index("patient_id")
    outcome = study.cohort.loc[train.index]
    naive = calibration_slope(
        train["risk"].to_numpy(), outcome["time_days"].to_numpy(), outcome["event"].to_numpy() == 1
    )
    assert report(out)["baseline"]["source"] == "validation and train (cross-fitted)"
    assert report(out)["baseline"]["slope"] < 0.04 * naive


def test_beyond_follow_up_there_is_no_probability(make_study):
    out = run(make_study(), {"kind": "feature", "feature": "pet_f0"}, horizons_days=(365.25, 36525.0))
    frame = read_predictions(out / "fold0" / "predictions.parquet")
    assert frame["survival_36525d"].isna().all() and frame["survival_365.25d"].notna().all()
    assert any("follow-up ends" in line for line in report(out)["warnings"])
