"""Class outcomes by classical models: as scikit-learn's, in the study's folds, and refused where impossible."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.ensemble.ensemble import ensemble
from pipeline.errors import ModelError, SettingsError
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.settings.models import read_model
from pipeline.survival.estimator import Context
from pipeline.survival.model_job import ModelJob
from pipeline.survival.preprocessing import fit_preprocessed
from pipeline.survival.survival import fit_model
from pipeline.tables.label_classes import require_label_classes
from pipeline.tables.splits import write_splits

KINDS = {
    "logistic": {"kind": "logistic", "label": "label_x", "strengths": [0.1, 1.0], "inner_folds": 3},
    "lasso": {
        "kind": "logistic",
        "label": "label_x",
        "penalty": "lasso",
        "strengths": [0.3],
        "inner_folds": 3,
    },
    "forest": {"kind": "label_forest", "label": "label_x", "trees": 50},
    "boosting": {"kind": "label_boosting", "label": "label_x", "rounds": 20, "inner_folds": 3},
}


@pytest.fixture
def labelled(make_study):
    """The label follows the second feature; every tenth patient's is not known."""
    study = make_study(sizes=(60, 30, 6))
    chance = np.random.default_rng(4).uniform(size=90)
    label = (chance < 1 / (1 + np.exp(-2.5 * study.x[:, 1]))).astype(float)
    label[::10] = np.nan
    study.cohort["label_x"] = label
    study.write()
    return study


def fitted(study, spec, name):
    out = study.folder / "models" / name
    job = ModelJob(name, read_model(spec), study.features, study.outcomes, study.splits, (365.25,), seed=1)
    fit_model(job, out)
    return out


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_tells_the_classes_of_patients_it_has_not_seen(name, labelled):
    out = fitted(labelled, KINDS[name], name)
    table = labelled.folder / f"{name}.parquet"
    ensemble({name: [out / f"fold{k}" for k in range(3)]}, table, table.with_suffix(".json"))
    sources = Sources(
        labelled.outcomes, labelled.splits, permutations={name: out / "permutations.json"},
        validations={name: out / "validation.json"},
    )  # fmt: skip
    settings = EvaluationSettings(horizons_days=(365.25,), bootstraps=100)
    evaluate({name: table}, sources, settings, 1, labelled.folder / "metrics")
    rows = pd.read_csv(labelled.folder / "metrics" / "metrics.csv")
    external = rows[rows["set"] == "external"].set_index("metric")
    assert {
        "label_x_auc",
        "label_x_accuracy",
        "label_x_f1",
        "label_x_brier",
        "label_x_calibration_slope",
    } <= set(external.index)
    assert external.loc["label_x_auc", "value"] > 0.7 and external.loc["label_x_auc", "patients"] == 27
    averaged = pd.read_parquet(table).set_index("patient_id").loc[labelled.ids[60:]]
    truth = labelled.cohort.loc[labelled.ids[60:], "label_x"]
    known = truth.notna()
    expected = roc_auc_score(truth[known], averaged.loc[known, "label_x"])
    assert external.loc["label_x_auc", "value"] == pytest.approx(expected)
    assert "c_index" not in set(rows["metric"]) and "logrank_p" not in set(rows["metric"])


def test_the_fits_are_those_of_scikit_learn(labelled):
    patients = labelled.patients()
    known = patients.pick(np.isfinite(patients.table["label_x"].to_numpy(float)))
    train, test = known.pick(np.arange(40)), known.pick(np.arange(40, len(known)))
    truth = train.table["label_x"].to_numpy() == 1
    mean, sd = train.features.mean(axis=0), train.features.std(axis=0)
    x, z = (train.features - mean) / sd, (test.features - mean) / sd
    spec = {"kind": "logistic", "label": "label_x", "strengths": [0.5], "spearman": 1.0}
    ours = fit_preprocessed(read_model(spec), train, Context(1))
    theirs = LogisticRegression(C=0.5).fit(x, truth)
    assert ours.score(test) == pytest.approx(theirs.predict_proba(z), abs=1e-6)
    assert list(ours.report["log_odds_ratios"]["1"].values()) == pytest.approx(
        list(theirs.coef_[0]), abs=1e-6
    )
    assert ours.report["intercepts"] == {"1": pytest.approx(theirs.intercept_[0], abs=1e-6)}
    spec = {"kind": "label_forest", "label": "label_x", "trees": 30, "spearman": 1.0}
    ours = fit_preprocessed(read_model(spec), train, Context(7))
    forest = RandomForestClassifier(30, min_samples_leaf=5, random_state=7).fit(x, truth)
    assert ours.score(test) == pytest.approx(forest.predict_proba(z))


@pytest.fixture
def three_classes(make_study):
    """The class of three follows two features; every tenth patient's is not known."""
    study = make_study(sizes=(90, 30, 4))
    score = np.column_stack([np.zeros(120), 3 * study.x[:, 1], 3 * study.x[:, 2]])
    label = (score + np.random.default_rng(4).gumbel(size=score.shape)).argmax(axis=1).astype(float)
    label[::10] = np.nan
    study.cohort["label_x"] = label
    study.write()
    return study


@pytest.mark.parametrize("name", ["logistic", "forest", "boosting"])
def test_three_classes_are_told_apart_and_scored_as_scikit_learn_scores_them(name, three_classes):
    fewer = {"forest": {"trees": 30}, "boosting": {"rounds": 10, "inner_folds": 2}}
    spec = {**KINDS[name], "classes": 3, **fewer.get(name, {})}
    out = fitted(three_classes, spec, name)
    columns = [f"label_x_{k}" for k in range(3)]
    table = three_classes.folder / f"{name}.parquet"
    ensemble({name: [out / f"fold{k}" for k in range(3)]}, table, table.with_suffix(".json"))
    averaged = pd.read_parquet(table).set_index("patient_id").loc[three_classes.ids[90:]]
    truth = three_classes.cohort.loc[three_classes.ids[90:], "label_x"]
    known = truth.notna()
    probability = averaged.loc[known, columns].to_numpy()
    assert probability.sum(axis=1) == pytest.approx(1)
    sources = Sources(
        three_classes.outcomes, three_classes.splits, permutations={name: out / "permutations.json"},
        validations={name: out / "validation.json"},
    )  # fmt: skip
    evaluate({name: table}, sources, EvaluationSettings(bootstraps=100), 1, three_classes.folder / "metrics")
    rows = pd.read_csv(three_classes.folder / "metrics" / "metrics.csv")
    external = rows[rows["set"] == "external"].set_index("metric")["value"]
    expected = roc_auc_score(truth[known], probability, multi_class="ovr", average="macro")
    assert external["label_x_auc"] == pytest.approx(expected) and expected > 0.75
    assert external["label_x_accuracy"] == pytest.approx((probability.argmax(axis=1) == truth[known]).mean())
    report = json.loads((out / "fold0/model.json").read_text())
    assert set(report["classes"]) == {"0", "1", "2"}


def test_a_multinomial_fit_is_that_of_scikit_learn(three_classes):
    patients = three_classes.patients()
    known = patients.pick(np.isfinite(patients.table["label_x"].to_numpy(float)))
    train, test = known.pick(np.arange(60)), known.pick(np.arange(60, len(known)))
    mean, sd = train.features.mean(axis=0), train.features.std(axis=0)
    spec = {"kind": "logistic", "label": "label_x", "classes": 3, "strengths": [0.5], "spearman": 1.0}
    ours = fit_preprocessed(read_model(spec), train, Context(1))
    theirs = LogisticRegression(C=0.5).fit((train.features - mean) / sd, train.table["label_x"])
    assert ours.score(test) == pytest.approx(theirs.predict_proba((test.features - mean) / sd), abs=1e-5)
    assert list(ours.report["log_odds_ratios"]) == list(ours.report["intercepts"]) == ["0", "1", "2"]


def test_class_models_are_repeated_corrected_for_optimism_and_asked_for_their_columns(labelled):
    splits = labelled.folds
    write_splits(labelled.splits, replace(splits, repeats=(splits.folds, splits.folds[::-1])))
    spec = {**KINDS["logistic"], "strengths": [0.1]}
    out = labelled.folder / "m"
    paths = (labelled.features, labelled.outcomes, labelled.splits)
    job = ModelJob(
        "m", read_model(spec), *paths, (365.25,), 1, optimism_bootstraps=5, importance_permutations=3
    )
    fit_model(job, out)
    found = json.loads((out / "validation.json").read_text())
    assert found["metric"] == "label_x_auc" and found["importance"][0]["column"] == "pet_f1"
    assert found["optimism"]["resamples"] == 5 and found["optimism"]["optimism"] > 0
    table = labelled.folder / "m.parquet"
    ensemble({"m": [out / f"fold{k}" for k in range(3)]}, table, table.with_suffix(".json"))
    sources = Sources(
        labelled.outcomes, labelled.splits, permutations={"m": out / "permutations.json"},
        validations={"m": out / "validation.json"},
    )  # fmt: skip
    evaluate({"m": table}, sources, EvaluationSettings(bootstraps=100), 1, labelled.folder / "metrics")
    rows = pd.read_csv(labelled.folder / "metrics" / "metrics.csv")
    development = rows[rows["set"] == "development"].set_index("metric")
    # The same folds again, in the one or the other order, give the study's own value.
    assert found["repeats"] == pytest.approx([development.loc["label_x_auc", "value"]] * 2)
    assert development.loc["label_x_auc_repeats_mean", "value"] == pytest.approx(found["repeats"][0])
    corrected = found["optimism"]["apparent"] - found["optimism"]["optimism"]
    assert development.loc["label_x_auc_optimism_corrected", "value"] == pytest.approx(corrected)


def test_no_label_of_test_patients_is_learned_from(labelled):
    before = fitted(labelled, KINDS["logistic"], "before")
    test = list(labelled.folds.folds[0].test)
    labelled.cohort.loc[test, "label_x"] = 1 - labelled.cohort.loc[test, "label_x"]
    labelled.write()
    after = fitted(labelled, KINDS["logistic"], "after")
    tables = [pd.read_parquet(out / "fold0/predictions.parquet") for out in (before, after)]
    pd.testing.assert_frame_equal(*tables)
    other = [pd.read_parquet(out / "fold1/predictions.parquet") for out in (before, after)]
    assert not other[0]["label_x"].equals(other[1]["label_x"]), "but in the folds that train on them"


def test_a_class_of_one_training_patient_is_refused(labelled):
    labelled.cohort["label_x"] = 0.0
    labelled.cohort.loc[labelled.ids[:2], "label_x"] = 1.0
    labelled.write()
    with pytest.raises(ModelError, match="too few training patients of a class of label_x.*fold"):
        fitted(labelled, KINDS["forest"], "few")


def test_what_a_class_outcome_cannot_have_is_refused_before_anything_runs():
    for change, message in (
        ({"clinical_p": 0.05}, "clinical_p"),
        ({"deep": "net"}, "deep"),
        ({"label": "x"}, "label"),
    ):
        with pytest.raises(ValidationError, match=message):
            read_model({**KINDS["logistic"], **change})
    models = {"m": read_model(KINDS["logistic"])}
    require_label_classes(models, {"label_x": ["0", "1.0", "", "NA"]})
    for texts in (["1", "2"], ["0", "0", ""], ["low", "high"], ["0", "1", "2"]):
        with pytest.raises(SettingsError, match="no class|nobody has class 1.*cohort.labels"):
            require_label_classes(models, {"label_x": texts})
    require_label_classes(
        {"m": read_model({**KINDS["logistic"], "classes": 3})}, {"label_x": ["0", "1", "2"]}
    )


def test_the_penalty_is_chosen_by_cross_validated_log_loss(labelled):
    out = fitted(labelled, {**KINDS["logistic"], "strengths": [1e-6, 1.0]}, "strong")
    report = json.loads((out / "fold0/model.json").read_text())
    losses = report["cross_validation"]["log_loss"]
    assert report["strength"] == 1.0 and losses[1] < losses[0] < 0.75
    assert (
        sum(report["classes"].values())
        == labelled.cohort.loc[list(labelled.folds.folds[0].train), "label_x"].count()
    )
