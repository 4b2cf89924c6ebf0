"""Where slope and baseline hazard come from, and what survival probabilities they give."""

import numpy as np
import pytest

from pipeline.metrics.baseline import breslow, calibration_slope
from pipeline.survival.estimator import FittedModel
from pipeline.survival.survival_probabilities import recalibrate
from pipeline.tables.predictions import read_predictions
from tests.survival.test_survival import report, run


def test_survival_of_the_true_hazard_is_calibrated(make_study):
    study = make_study(sizes=(600, 0, 2), strength=1.0)
    out = run(study, {"kind": "column", "column": "truth_log_hazard"}, features=None)
    frame = read_predictions(out / "fold0" / "predictions.parquet").set_index("patient_id")
    risk = study.cohort.loc[frame.index, "truth_log_hazard"]
    truth = np.exp(-np.exp(risk) * 365.25 / 900)  # the generator's exponential hazard, 1/900 per day
    assert np.abs(frame["survival_365.25d"] - truth).max() < 0.15
    assert report(out)["baseline"]["source"] == "validation and train (cross-fitted)"
    assert report(out)["baseline"]["slope"] == pytest.approx(1.0, abs=0.25)
    assert (frame["risk"] == risk).all()


@pytest.mark.parametrize("kind", ["feature", "lasso_cox"])
def test_slope_and_baseline_are_of_the_folds_own_patients_scored_out_of_sample(kind, make_study):
    study = make_study(sizes=(120, 5, 3))
    out = run(study, {"kind": kind, **({"feature": "pet_f0"} if kind == "feature" else {})})
    frame = read_predictions(out / "fold0" / "predictions.parquet").set_index("patient_id")
    own = [*study.folds.folds[0].validation, *study.folds.folds[0].train]
    time, event = (study.cohort.loc[own, c].to_numpy(float) for c in ("time_days", "event"))
    score = frame.loc[own, "risk_out_of_sample"].to_numpy()
    expected = breslow(time, event, score, calibration_slope(score, time, event))
    survival = expected.survival(frame["risk"].to_numpy(), np.array([365.25]))[:, 0]
    assert frame["survival_365.25d"].to_numpy() == pytest.approx(survival, abs=1e-12)
    others = frame["set"] != "train"
    assert (frame.loc[others, "risk_out_of_sample"] == frame.loc[others, "risk"]).all()
    assert not (frame.loc[~others, "risk_out_of_sample"] == frame.loc[~others, "risk"]).any()
    baseline = report(out)["baseline"]
    assert (baseline["patients"], baseline["events"]) == (len(own), event.sum())


def test_log_hazards_of_noise_are_shrunk_to_the_survival_of_all(make_study):
    """Cox on the best of 200 noise features: with its own log-hazards the survival would differ widely."""
    study = make_study(sizes=(40, 400, 200), strength=0.0)
    out = run(study, {"kind": "univariate"})
    frames = [read_predictions(out / f"fold{k}" / "predictions.parquet") for k in range(3)]
    external = [frame[frame["set"] == "external"] for frame in frames]
    assert np.mean([frame["risk"].std() for frame in external]) > 0.4
    assert np.mean([frame["survival_365.25d"].std() for frame in external]) < 0.05


def test_what_cannot_be_cross_fitted_has_the_slope_of_validation_patients(make_study):
    """One event among training patients: their scores are in-sample, as wide as can be."""
    patients = make_study().patients()
    train, validation = patients.pick(np.arange(20)), patients.pick(np.arange(20, 40))
    train.table.loc[:, "event"] = (np.arange(20) == 3).astype(int)
    model = FittedModel(lambda part: part.features[:, 0])
    fit = recalibrate(lambda part: model, model, train, validation, 0)
    expected = calibration_slope(validation.features[:, 0], validation.time, validation.event, 4.0)
    assert fit.baseline.slope == expected and fit.source == "validation and train (in-sample)"
    assert "rests on 20 validation patients" in fit.warnings[0]
    nobody = patients.pick(np.arange(0))
    assert recalibrate(lambda part: model, model, train, nobody, 0).baseline.slope == 0


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
