"""Nothing of test patients reaches a model, and noise predicts nothing."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.concordance import concordance_index
from pipeline.settings.models import read_model
from pipeline.survival import survival_probabilities
from pipeline.survival.deep_feature_blocks import fit_estimator
from pipeline.survival.estimator import Context
from pipeline.survival.model_job import ModelJob
from pipeline.survival.patients import Patients, load_patients
from pipeline.survival.selection import univariate_concordance
from pipeline.survival.survival import fit_model
from pipeline.tables.splits import stratified_folds
from pipeline.training.tabular import learn_columns

MODELS = {
    "clinical_cox": {"clinical": ["clinical_age", "clinical_stage"]},
    "feature": {"feature": "pet_f3", "log": False},
    "lasso_cox": {"clinical": ["clinical_age"]},
    "univariate": {},
    "hecktor_cox": {"thresholds": [0.6, 0.8]},
    "rsf": {"trees": 20},
    "gradient_boosting": {"rounds": 15},
    "survival_svm": {"weights": [1e-3, 1e-2]},
    "signed_bagging": {"members": 40, "harmonise": "combat"},
    "deepsurv": {"trials": 2, "epochs": [4, 8], "inner_folds": 2, "members": 1, "layers": [1]},
}


def settings(kind, **more):
    return read_model({"kind": kind, **MODELS[kind], **more})


def job(study, kind, **more):
    return ModelJob(
        kind, settings(kind, **more), study.features, study.outcomes, study.splits, (365.25, 1095.75), seed=7,
        learner=learn_columns,
    )  # fmt: skip


def predictions(folder, *sets):
    frame = pd.read_parquet(folder / "predictions.parquet").set_index("patient_id")
    return frame[frame["set"].isin(sets)]


def assert_independent_of_test_and_external_patients(kind, study):
    """Fold 0 is the same, but for its predictions of them, whatever their features and outcomes."""
    fit_model(job(study, kind), study.folder / "before")
    others = [*study.folds.folds[0].test, *study.folds.external]
    generator = np.random.default_rng(9)
    study.table.loc[others] = generator.uniform(5, 900, (len(others), study.table.shape[1]))
    study.cohort.loc[others, "time_days"] = generator.uniform(1, 9000, len(others))
    study.cohort.loc[others, "event"] = 1 - study.cohort.loc[others, "event"]
    study.cohort.loc[others, "clinical_age"] += 400
    study.write()
    fit_model(job(study, kind), study.folder / "after")
    before, after = (study.folder / name / "fold0" for name in ("before", "after"))
    pd.testing.assert_frame_equal(
        predictions(before, "train", "validation"),
        predictions(after, "train", "validation"),
        check_exact=True,
    )
    report_before, report_after = (json.loads((f / "model.json").read_text()) for f in (before, after))
    for report in (report_before, report_after):
        report["c_index"].pop("test")
        report.pop("events")
    assert report_before == report_after
    changed = predictions(after, "test")["risk"] != predictions(before, "test")["risk"]
    assert changed.any()


@pytest.mark.parametrize("kind", MODELS)
def test_a_fold_does_not_depend_on_its_test_and_external_patients(kind, make_study):
    assert_independent_of_test_and_external_patients(kind, make_study())


def test_a_baseline_hazard_of_another_folds_model_is_caught(make_study, monkeypatch):
    """The leak: training patients are scored by a model of those whom the fold predicts."""
    assert_independent_of_test_and_external_patients("feature", make_study())
    study = make_study("another")

    def by_another_folds_model(refit, train, seed):
        everyone = load_patients(study.outcomes, study.features)
        return refit(everyone.select(study.folds.folds[0].test)).score(train)

    monkeypatch.setattr(survival_probabilities, "cross_fit", by_another_folds_model)
    with pytest.raises(AssertionError, match="survival_365.25d|slope|baseline|risk_out_of_sample"):
        assert_independent_of_test_and_external_patients("feature", study)


@pytest.mark.parametrize("kind", ["lasso_cox", "univariate", "hecktor_cox"])
def test_a_feature_that_is_perfect_on_test_patients_only_is_not_chosen(kind, make_study):
    study = make_study(strength=2.0)
    held = list(study.folds.folds[0].test)
    # No relation in training, by construction: two values dealt alternately along the times.
    ordered = study.cohort["time_days"].sort_values().index
    study.table["pet_planted"] = pd.Series(1.0 + np.arange(len(ordered)) % 2, index=ordered)
    study.table.loc[held, "pet_planted"] = -study.cohort.loc[held, "time_days"]
    study.write()
    fit_model(job(study, kind, **({"top": 5} if kind == "hecktor_cox" else {})), study.folder / "out")
    report = json.loads((study.folder / "out" / "fold0" / "model.json").read_text())
    assert "pet_f0" in report["coefficients"]
    assert "pet_planted" not in report["coefficients"]


def noise(seed, n=120, p=30):
    """Patients whose outcomes have nothing to do with their features."""
    generator = np.random.default_rng(seed)
    time, censored = generator.exponential(900, n), generator.uniform(100, 3000, n)
    table = pd.DataFrame(
        {
            "time_days": np.minimum(time, censored),
            "event": (time <= censored).astype(int),
            "centre": generator.choice(["A", "B"], n),
            "clinical_age": generator.normal(60, 9, n),
            "clinical_stage": generator.choice(["I", "II"], n),
        },
        index=[f"P{i}" for i in range(n)],
    )
    return Patients(table, generator.normal(size=(n, p)), tuple(f"pet_f{i}" for i in range(p)))


def mean_c_index(kind, permutations, prepare=lambda patients: patients, features=30):
    """Mean held-out within-fold C-index over permutations of the outcomes of one data set."""
    patients, values = noise(0, p=features), []
    generator = np.random.default_rng(1)
    for seed in range(permutations):
        shuffled = generator.permutation(len(patients))
        table = patients.table.copy()
        for column in ("time_days", "event"):
            table[column] = patients.table[column].to_numpy()[shuffled]
        data = prepare(Patients(table, patients.features, patients.names))
        fold = stratified_folds(data.event, 3, seed)
        risk = np.empty(len(data))
        for k in range(3):
            fitted = fit_estimator(settings(kind), data.pick(fold != k), Context(seed, learner=learn_columns))
            risk[fold == k] = fitted.score(data.pick(fold == k))
        values.append(concordance_index(data.time, data.event.astype(float), risk, fold))
    return float(np.mean(values))


def best_five_of_all_patients(patients):
    """The leak: features chosen with the outcomes of test patients in view."""
    distance = np.abs(univariate_concordance(patients.features, patients)[0] - 0.5)
    chosen = np.argsort(-distance)[:5]
    names = tuple(patients.names[i] for i in chosen)
    return Patients(patients.table, patients.features[:, chosen], names)


def test_lasso_on_noise_is_a_coin_toss_and_a_leak_is_caught():
    assert mean_c_index("lasso_cox", 50) == pytest.approx(0.5, abs=0.03)
    assert mean_c_index("lasso_cox", 8, best_five_of_all_patients, features=300) > 0.55


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [k for k in MODELS if k != "lasso_cox"])
def test_every_model_on_noise_is_a_coin_toss(kind):
    assert mean_c_index(kind, 50) == pytest.approx(0.5, abs=0.03)
