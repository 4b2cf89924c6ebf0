"""Repeats, Harrell's optimism and permutation importance of whole classical models."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.concordance import concordance_index
from pipeline.settings.models import read_model
from pipeline.survival.deep_feature_blocks import fit_estimator
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.internal_validation import (
    Refits,
    bootstrap_optimism,
    permutation_importance,
    repeated,
)
from pipeline.survival.model_job import ModelJob
from pipeline.survival.patients import Patients
from pipeline.survival.survival import fit_model
from pipeline.tables.splits import Splits, read_splits, write_splits


def fitter(spec):
    model = read_model(spec)
    return Refits(lambda fold, train, validation: fit_estimator(model, train, Context(fold, 1, validation)))


def test_concordance_within_folds_is_that_of_the_study(make_study):
    study = make_study(sizes=(60, 0, 4))
    spec = {"kind": "univariate"}
    job = ModelJob("m", read_model(spec), study.features, study.outcomes, study.splits, (365.25,), seed=0)
    fit_model(job, study.folder / "m")
    parts = [pd.read_parquet(study.folder / f"m/fold{k}/predictions.parquet") for k in range(3)]
    held = pd.concat([part[part["set"] == "test"].assign(fold=k) for k, part in enumerate(parts)])
    truth = study.cohort.loc[held["patient_id"]]
    expected = concordance_index(
        truth["time_days"].to_numpy(), truth["event"].to_numpy(float), held["risk"].to_numpy(),
        held["fold"].to_numpy(float),
    )  # fmt: skip
    patients = Patients(study.cohort, study.table.to_numpy(), tuple(study.table.columns))
    assert fitter(spec).within_folds(patients, study.folds.folds) == pytest.approx(expected)
    assert json.loads((study.folder / "m/validation.json").read_text())["repeats"] == []


def test_optimism_by_hand():
    """The model that learns each patient's time: C-index 1 where it has seen them, 0.5 else."""
    n = 40
    table = pd.DataFrame(
        {"time_days": np.arange(1.0, n + 1), "event": 1}, index=pd.Index([f"P{i}" for i in range(n)])
    )
    patients = Patients(table, np.empty((n, 0)), ())

    def memorise(fold, train, validation):
        known = set(train.table.index)
        return FittedModel(lambda some: np.array([-t if p in known else -1e9
                           for p, t in zip(some.table.index, some.time, strict=True)]))  # fmt: skip

    found = bootstrap_optimism(Refits(memorise), patients, 50, 1)
    assert found.apparent == 1 and found.resamples == found.asked == 50
    # Patients not drawn are all ranked lowest and tied: concordant with later drawn ones at random.
    values = []
    for number in range(50):
        drawn = np.unique(np.random.default_rng([1, number]).integers(0, n, n))
        names = np.unique(patients.group.astype(str))[drawn]
        risk = np.array(
            [-t if p in set(names) else -1e9 for p, t in zip(table.index, table["time_days"], strict=True)]
        )
        values.append(1 - concordance_index(patients.time, np.ones(n), risk))
    assert found.optimism == pytest.approx(np.mean(values))


def test_optimism_of_noise_is_seen_and_groups_are_drawn_whole(make_study):
    study = make_study(sizes=(60, 0, 30), strength=0.0)
    patients = Patients(study.cohort, study.table.to_numpy(), tuple(study.table.columns))
    found = bootstrap_optimism(
        fitter({"kind": "univariate", "clinical": ["clinical_stage"]}), patients, 15, 3
    )
    assert found.apparent > 0.55 and found.resamples == 15
    assert found.apparent - found.optimism == pytest.approx(0.5, abs=0.05)
    grouped = Patients(
        patients.table.assign(group=[f"g{i // 2}" for i in range(60)]), patients.features, patients.names
    )
    sizes = []

    def count(fold, train, validation):
        ids, times = np.unique(train.table.index, return_counts=True)
        sizes.append(dict(zip(ids, times, strict=True)))
        return FittedModel(lambda some: some.features[:, 0])

    bootstrap_optimism(Refits(count), grouped, 5, 3)
    for drawn in sizes:
        assert all(drawn.get(f"P{i:03d}") == drawn.get(f"P{i + 1:03d}") for i in range(0, 60, 2))


def test_only_the_column_that_matters_is_important(make_study):
    study = make_study(sizes=(60, 0, 4))
    patients = Patients(study.cohort, np.log(study.table.to_numpy()), tuple(study.table.columns))
    fit = fitter({"kind": "lasso_cox", "inner_folds": 3, "clinical": ["clinical_age", "clinical_stage"]})
    rows = permutation_importance(fit, patients, study.folds, 10, 1)
    assert rows[0].column == "pet_f0" and rows[0].drop > 0.1 and rows[0].sd > 0
    assert all(abs(row.drop) < 0.08 for row in rows[1:])
    # What no model uses is not listed.
    column = fitter({"kind": "column", "column": "truth_log_hazard"})
    (only,) = permutation_importance(column, patients, study.folds, 10, 1)
    assert only.column == "truth_log_hazard" and only.drop > 0.1


def test_the_job_writes_what_is_asked_for(make_study):
    study = make_study(sizes=(60, 0, 4))
    splits = read_splits(study.splits)
    rotated = tuple(
        type(fold)(fold.test + fold.validation, (), fold.train[: len(fold.train) // 2])
        for fold in splits.folds
    )
    write_splits(study.splits, Splits(splits.folds, splits.external, splits.seed, {}, (rotated, rotated)))
    assert read_splits(study.splits).repeats == (rotated, rotated)
    job = ModelJob(
        "m", read_model({"kind": "univariate"}), study.features, study.outcomes, study.splits, (365.25,), seed=0,
        optimism_bootstraps=4, importance_permutations=2,
    )  # fmt: skip
    fit_model(job, study.folder / "m")
    found = json.loads((study.folder / "m/validation.json").read_text())
    patients = Patients(study.cohort, study.table.to_numpy(), tuple(study.table.columns))
    expected = repeated(fitter({"kind": "univariate"}), patients, (rotated,))
    assert found["repeats"] == pytest.approx(2 * list(expected)) and found["optimism"]["resamples"] == 4
    assert found["importance"][0]["column"] == "pet_f0" and found["reason"] == ""
