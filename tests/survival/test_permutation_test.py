"""Cross-validated risk groups: noise is significant as often as it should be, and never in reversed order."""

import itertools
import json

import numpy as np
import pytest

from pipeline.metrics.kaplan_meier import logrank
from pipeline.settings.models import read_model
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.permutation_test import (
    directed_logrank,
    no_test_reason,
    permutation_test,
    permute_covariates,
)
from pipeline.survival.preprocessing import fit_preprocessed
from tests.survival.test_survival import run


def fitted_with(settings):
    return lambda fold, train, validation: fit_preprocessed(settings, train, Context(fold))


def a_column(sign):
    """A model that is not fitted at all: the sign of the first feature."""
    return lambda fold, train, validation: FittedModel(lambda patients: sign * patients.features[:, 0])


def test_permutations_keep_outcomes_and_folds_and_move_a_patients_columns_together(make_study):
    study = make_study()
    patients = study.patients()
    permuted = permute_covariates(patients, study.folds, np.random.default_rng(0))
    for column in ("time_days", "event"):
        assert (permuted.table[column] == patients.table[column]).all()
    assert (permuted.table.index == patients.table.index).all()
    ages = patients.table["clinical_age"].to_numpy()
    source = [int(np.flatnonzero(ages == age)[0]) for age in permuted.table["clinical_age"]]
    assert (permuted.features == patients.features[source]).all()
    assert (permuted.table["centre"].to_numpy() == patients.table["centre"].to_numpy()[source]).all()
    test = [list(fold.test) for fold in study.folds.folds]
    moved = patients.table.index[source]
    for members in test:
        at = permuted.table.index.isin(members)
        assert sorted(moved[at]) == sorted(members) and list(moved[at]) != list(permuted.table.index[at])


def test_the_statistic_is_the_log_rank_test_of_the_groups(make_study):
    study = make_study(strength=2.0)
    patients = study.patients()
    members, groups = [], []
    for fold in study.folds.folds:
        cut = np.median(patients.select(fold.train).features[:, 0])
        test = patients.select(fold.test)
        members += list(fold.test)
        groups += [1 + int(value > cut) for value in test.features[:, 0]]
    held_out = patients.select(members)
    expected = logrank(held_out.time, held_out.event, np.array(groups)).chi_square
    assert expected > 4
    assert directed_logrank(a_column(1), patients, study.folds, 2) == pytest.approx(expected)
    reversed_order = permutation_test(a_column(-1), patients, study.folds, 2, 50, 0)
    assert reversed_order.p_value == 1 and reversed_order.permutations == 0 > reversed_order.statistic


def test_a_model_that_predicts_is_significant(make_study):
    study = make_study(sizes=(60, 0, 5), strength=1.5)
    settings = read_model({"kind": "feature", "feature": "pet_f0", "log": False})
    test = permutation_test(fitted_with(settings), study.patients(), study.folds, 2, 99, 0)
    assert test.p_value == 0.01 and test.permutations == 99


def test_a_test_ends_when_ten_permutations_are_as_extreme(make_study):
    study = make_study(sizes=(60, 0, 5), strength=0.0, seed=1)
    settings = read_model({"kind": "feature", "feature": "pet_f0", "log": False})
    test = permutation_test(fitted_with(settings), study.patients(), study.folds, 2, 999, 0)
    assert test.p_value > 0.05
    assert test.statistic <= 0 or test.permutations == round(10 / test.p_value) < 999


@pytest.mark.parametrize(("share", "made"), [(2, 40), (20, 6)])
def test_permutations_without_a_test_do_not_count_as_less_extreme(share, made, make_study, monkeypatch):
    """Every permutation that allows a test is as extreme as the study; one in `share` allows one."""
    draws = itertools.count()
    monkeypatch.setattr(
        "pipeline.survival.permutation_test.directed_logrank",
        lambda *_: 3.0 if next(draws) % share == 0 else None,
    )
    monkeypatch.setattr("pipeline.survival.permutation_test.EXCEEDANCES", 99)
    study = make_study()
    test = permutation_test(a_column(1), study.patients(), study.folds, 2, 40, 0)
    assert test.permutations == made
    assert test.p_value == (1.0 if made == 40 else None)
    assert test.reason == (
        "" if made == 40 else "no p-value: only 6 of 120 permutations allow a log-rank test"
    )


def test_a_cluster_gives_the_same_test(make_study, monkeypatch):
    """Permutations are drawn by number: where each is computed changes nothing."""
    study = make_study(sizes=(60, 0, 5), strength=0.5, seed=2)
    settings = read_model({"kind": "feature", "feature": "pet_f0", "log": False})
    here = permutation_test(fitted_with(settings), study.patients(), study.folds, 2, 19, 0)
    from distributed import LocalCluster

    with LocalCluster(1, processes=False, dashboard_address=None) as local:
        monkeypatch.setenv("SUVIVAL_CLUSTER", local.scheduler_address)
        monkeypatch.setattr("pipeline.spread._BLOCK", 7)
        there = permutation_test(fitted_with(settings), study.patients(), study.folds, 2, 19, 0)
    assert here.p_value is not None and here == there


@pytest.mark.nightly
def test_noise_is_significant_in_one_study_of_twenty(make_study):
    """40 patients, 3 folds, 3 clinical columns; the χ² of these groups is below 0.05 in about 15 %."""
    settings = read_model({"kind": "univariate", "spearman": 1.0})
    p_values = []
    for seed in range(200):
        study = make_study(f"study{seed}", sizes=(40, 0, 3), strength=0.0, seed=seed)
        test = permutation_test(fitted_with(settings), study.patients(), study.folds, 2, 199, seed)
        p_values.append(1.0 if test.p_value is None else test.p_value)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(
    ("spec", "permutations", "words"),
    [
        ({"kind": "feature", "feature": "pet_f0"}, 0, "evaluation.permutations is 0"),
        ({"kind": "rsf"}, 9, "rsf is too slow"),
        ({"kind": "lasso_cox", "min_icc": 0.5}, 9, "depend on the fold"),
        ({"kind": "lasso_cox"}, 9, ""),
    ],
)
def test_models_that_are_not_refitted_say_why(spec, permutations, words, make_study):
    study = make_study()
    reason = no_test_reason(read_model(spec), study.patients(), study.folds, permutations)
    assert words in reason and bool(reason) == bool(words)
    study.cohort["event"] = (np.arange(len(study.cohort)) < 9).astype(int)
    assert no_test_reason(read_model({"kind": "lasso_cox"}), study.patients(), study.folds, 9).startswith(
        "9 ev"
    )


def test_the_job_writes_the_test(make_study):
    out = run(make_study(strength=1.5), {"kind": "feature", "feature": "pet_f0"}, permutations=19)
    test = json.loads((out / "permutations.json").read_text())
    assert (test["p_value"], test["permutations"], test["reason"]) == (0.05, 19, "")
    assert run(make_study("other"), {"kind": "feature", "feature": "pet_f0"}) is not None
