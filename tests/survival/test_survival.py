"""The job: what it writes, what it refuses."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.settings.models import REGISTERED, read_model
from pipeline.survival.model_job import ModelJob
from pipeline.survival.preprocessing import FITTERS
from pipeline.survival.survival import fit_model
from pipeline.tables.predictions import read_predictions
from pipeline.training.tabular import learn_columns

HORIZONS = (365.25, 1095.75)


def run(study, spec, **more):
    model = read_model(spec)
    options = {"features": study.features, "horizons_days": HORIZONS, "learner": learn_columns, **more}
    out = study.folder / spec["kind"]
    fit_model(
        ModelJob(spec["kind"], model, outcomes=study.outcomes, splits=study.splits, seed=7, **options), out
    )
    return out


def report(out, fold=0):
    return json.loads((out / f"fold{fold}" / "model.json").read_text())


def test_every_fold_predicts_every_patient_once(make_study):
    study = make_study()
    out = run(study, {"kind": "lasso_cox"})
    for k, fold in enumerate(study.folds.folds):
        frame = read_predictions(out / f"fold{k}" / "predictions.parquet")
        for name in ("train", "validation", "test"):
            assert set(frame.loc[frame["set"] == name, "patient_id"]) == set(getattr(fold, name))
        assert set(frame.loc[frame["set"] == "external", "patient_id"]) == set(study.folds.external)
        survival = frame[["survival_365.25d", "survival_1095.75d"]].to_numpy()
        assert ((survival >= 0) & (survival <= 1)).all() and (survival[:, 0] >= survival[:, 1]).all()


def test_two_runs_are_identical(make_study):
    study = make_study()
    for kind in ("rsf", "signed_bagging", "gradient_boosting"):
        spec = {"kind": kind, **{"rsf": {"trees": 15}, "gradient_boosting": {"rounds": 12}}.get(kind, {})}
        first = (run(study, spec) / "fold1" / "predictions.parquet").read_bytes()
        assert first == (run(study, spec) / "fold1" / "predictions.parquet").read_bytes()


def test_lasso_finds_the_feature_that_matters(make_study):
    study = make_study(sizes=(150, 30, 40), strength=1.5)
    out = run(study, {"kind": "lasso_cox"})
    for k in range(3):
        coefficients = report(out, k)["coefficients"]
        assert max(coefficients, key=lambda name: abs(coefficients[name])) == "pet_f0"
        assert report(out, k)["c_index"]["test"] > 0.65


@pytest.mark.parametrize(
    "kind", ["univariate", "hecktor_cox", "rsf", "gradient_boosting", "survival_svm", "signed_bagging"]
)
def test_risk_points_the_right_way(kind, make_study):
    study = make_study(sizes=(120, 10, 8), strength=2.0)
    study.table = 1.0 / study.table  # worse = smaller: the sign must be learned
    study.write()
    out = run(study, {"kind": kind})
    assert np.mean([report(out, k)["c_index"]["test"] for k in range(3)]) > 0.6


def test_hecktors_selection_as_printed_is_marked(make_study):
    study = make_study(sizes=(90, 5, 12), strength=2.0)
    out = run(study, {"kind": "hecktor_cox", "select_on": "validation", "top": 4})
    assert all("validation" in report(out, k)["caveats"][0] for k in range(3))
    validation = study.cohort.loc[list(study.folds.folds[0].validation)]
    x = pd.DataFrame(np.log(study.table)).loc[validation.index]
    distance = {
        name: abs(
            concordance_index(
                validation["time_days"].to_numpy(), validation["event"].to_numpy(float), x[name]
            )
            - 0.5
        )
        for name in x
    }
    best = sorted(distance, key=lambda name: -distance[name])[:4]
    assert set(report(out)["coefficients"]) <= set(best)
    assert not report(run(study, {"kind": "hecktor_cox"}))["caveats"]


def test_a_model_shrunk_to_zero_has_a_warning(make_study):
    study = make_study(strength=0.0)
    out = run(study, {"kind": "lasso_cox", "penalty_rule": "1se"})
    reports = [report(out, k) for k in range(3)]
    empty = [r for r in reports if not r["coefficients"]]
    assert empty and all(any("shrinks everything" in w for w in r["warnings"]) for r in empty)
    frame = read_predictions(out / f"fold{reports.index(empty[0])}" / "predictions.parquet")
    assert (frame["risk"] == 0).all()


def test_events_per_candidate_variable_are_warned_of(make_study):
    out = run(make_study(), {"kind": "clinical_cox", "clinical": ["clinical_age", "clinical_stage"]})
    assert any("for 3 candidate variables" in line for line in report(out)["warnings"])


def test_clinical_columns_of_no_use_are_left_out_on_request(make_study):
    study = make_study(sizes=(150, 10, 3))
    study.cohort["clinical_grade"] = study.x[:, 0]
    study.write()
    spec = {"kind": "clinical_cox", "clinical": ["clinical_age", "clinical_grade"], "clinical_p": 1e-4}
    assert list(report(run(study, spec))["coefficients"]) == ["clinical_grade"]


def test_missing_and_constant_features(make_study):
    study = make_study(sizes=(90, 10, 6))
    study.table.iloc[::7, 0] = np.nan
    study.table["pet_constant"] = 3.0
    study.table["pet_absent"] = np.nan
    study.table.iloc[3, 2] = np.inf
    study.write()
    out = run(study, {"kind": "lasso_cox"})
    assert report(out)["candidates"] == 6
    assert np.isfinite(read_predictions(out / "fold0" / "predictions.parquet")["risk"]).all()


def test_of_two_correlated_features_the_first_stays(make_study):
    study = make_study(sizes=(90, 10, 3))
    study.table["pet_copy"] = study.table["pet_f0"] ** 3
    study.write()
    assert report(run(study, {"kind": "lasso_cox"}))["candidates"] == 3


def broken_rows(study):
    study.table = study.table.drop(index=["P003", "P004"])


def text_column(study):
    study.table["pet_text"] = "high"


def nobody_died(study):
    study.cohort["event"] = 0


def lost_patient(study):
    study.cohort = study.cohort.drop(index="P005")


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (broken_rows, "2 absent: P003, P004"),
        (text_column, "pet_text"),
        (nobody_died, "no training patient had the event"),
        (lost_patient, "P005"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_names(breaks, words, make_study):
    study = make_study()
    breaks(study)
    study.write()
    with pytest.raises(ModelError, match=words):
        run(study, {"kind": "lasso_cox"})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"kind": "feature", "feature": "pet_f00"}, "expected: pet_f0"),
        ({"kind": "feature", "feature": "pet_f1?"}, "several features.*pet_f10, pet_f11"),
        ({"kind": "column", "column": "truth_risk"}, "no column 'truth_risk'"),
        ({"kind": "column", "column": "clinical_stage"}, "cannot be a risk"),
        ({"kind": "column", "column": "truth_endless"}, "missing or infinite for P007"),
        ({"kind": "clinical_cox"}, "no columns"),
    ],
)
def test_wrong_names_are_refused(spec, words, make_study):
    study = make_study()
    study.cohort["truth_endless"] = study.cohort["clinical_age"].where(study.cohort.index != "P007", np.inf)
    study.write()
    with pytest.raises(ModelError, match=words) as caught:
        run(study, spec)
    assert "fold 0" in str(caught.value)


def test_a_logarithm_of_zero_is_refused(make_study):
    study = make_study()
    study.table.loc["P000", "pet_f0"] = 0.0
    study.write()
    with pytest.raises(ModelError, match="P000"):
        run(study, {"kind": "feature", "feature": "pet_f0"})
    run(study, {"kind": "feature", "feature": "pet_f0", "log": False})


@pytest.mark.parametrize("kind", ["univariate", "hecktor_cox"])
def test_without_a_varying_feature_clinical_columns_are_still_used(kind, make_study):
    study = make_study(sizes=(60, 6, 3))
    study.table[:] = 1.0
    study.cohort["clinical_hazard"] = study.cohort["truth_log_hazard"]
    study.write()
    clinical = ["clinical_hazard", "clinical_age"]
    out = run(study, {"kind": kind, "clinical": clinical})
    alone = run(study, {"kind": "clinical_cox", "clinical": clinical})
    assert report(out)["coefficients"] == pytest.approx(report(alone)["coefficients"], abs=1e-12)
    assert any("clinical columns alone" in line for line in report(out)["warnings"])


def test_a_centre_that_harmonisation_has_not_learned_has_a_warning(make_study):
    study = make_study()
    spec = {"kind": "signed_bagging", "members": 20, "harmonise": "combat"}
    assert not [line for line in report(run(study, spec))["warnings"] if "centres" in line]
    study.cohort.loc[list(study.folds.external), "centre"] = "Z"
    study.write()
    warnings = [line for line in report(run(study, spec))["warnings"] if "centres" in line]
    assert len(warnings) == 1 and "external" in warnings[0] and warnings[0].endswith(": Z")


SPARE = {
    "column": {"column": "truth_log_hazard"},
    "feature": {"feature": "pet_f0"},
    "clinical_cox": {"clinical": ["clinical_age", "clinical_stage"]},
    "rsf": {"trees": 15},
    "gradient_boosting": {"rounds": 10},
    "survival_svm": {"weights": [0.01]},
    "hecktor_cox": {"thresholds": [0.7]},
    "signed_bagging": {"members": 20, "harmonise": "combat"},
    "deepsurv": {"trials": 2, "epochs": [5], "inner_folds": 2, "members": 1, "layers": [1]},
}


@pytest.mark.parametrize("kind", [kind for kind in FITTERS if "risk" in REGISTERED[kind].GIVES])
def test_every_kind_does_without_validation_and_external_patients(kind, make_study):
    study = make_study(sizes=(48, 0, 5), validation=0.0)
    out = run(study, {"kind": kind, **SPARE.get(kind, {})})
    frame = read_predictions(out / "fold0" / "predictions.parquet")
    assert set(frame["set"]) == {"train", "test"} and len(frame) == 48
    assert "train (" in report(out)["baseline"]["source"]
    assert frame["survival_365.25d"].between(0, 1).all()


def test_models_without_features_need_no_feature_table(make_study):
    study = make_study()
    study.features.unlink()
    run(study, {"kind": "clinical_cox", "clinical": ["clinical_age"]})
    with pytest.raises(ModelError, match="needs radiomics features"):
        run(study, {"kind": "lasso_cox"}, features=None)


def test_reported_concordance_is_that_of_the_predictions(make_study):
    study = make_study()
    out = run(study, {"kind": "feature", "feature": "pet_f0"})
    frame = pd.read_parquet(out / "fold2" / "predictions.parquet").set_index("patient_id")
    held = frame[frame["set"] == "test"]
    outcome = study.cohort.loc[held.index]
    expected = concordance_index(
        outcome["time_days"].to_numpy(), outcome["event"].to_numpy(float), held["risk"].to_numpy()
    )
    assert report(out, 2)["c_index"]["test"] == pytest.approx(expected, abs=1e-12)
