"""Deep features reach a classical model only of patients their network was not trained on."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.planning.cross_splits import write_cross_splits
from pipeline.settings.models import read_model
from pipeline.settings.root import load_settings
from pipeline.survival.deep_feature_blocks import (
    DeepSource,
    count_blocks,
    select_block,
    with_deep_features,
)
from pipeline.survival.model_job import ModelJob
from pipeline.survival.patients import load_patients
from pipeline.survival.survival import fit_model
from pipeline.tables.splits import read_splits, write_splits
from pipeline.tables.status import Status, write_status
from tests.settings.minimal import study as minimal_study

PARTS = 2


def memoriser(study, trained, seed):
    """Features of a network that knows its training patients by heart and nobody else."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(len(study.ids), 3))
    known = np.isin(study.ids, list(trained))
    hazard = -np.log(study.cohort["time_days"].to_numpy())
    values[known, 1] = 3 * ((hazard - hazard.mean()) / hazard.std())[known]
    frame = pd.DataFrame(values, columns=[f"deep_{i:03d}" for i in range(3)])
    frame.insert(0, "patient_id", study.ids)
    return frame


def cross_fitted(study, seed=0, everybody=False):
    """The study's cross splits, and what memorising networks trained as they say would give.

    `everybody`: the leak, networks that were trained on all patients whatever the splits say.
    """
    path = study.folder / "cross_splits.json"
    write_cross_splits(study.splits, study.outcomes, PARTS, seed, path)
    tables = []
    for m, fold in enumerate(read_splits(path).folds):
        tables.append(study.folder / f"cross{m}" / "deep_features.parquet")
        tables[-1].parent.mkdir(exist_ok=True)
        trained = study.ids if everybody else fold.train
        memoriser(study, trained, [9, seed, m]).to_parquet(tables[-1])
        write_status(tables[-1].parent, Status("ok", "train_cross"))
    return DeepSource(tuple(tables), path)


def shuffled(study, seed):
    """Outcomes dealt out anew: nothing can predict them."""
    order = np.random.default_rng(seed).permutation(len(study.cohort))
    for column in ("time_days", "event"):
        study.cohort[column] = study.cohort[column].to_numpy()[order]
    study.write()


def job(study, source, **model):
    spec = {"kind": "univariate", "features": [], "deep": "deepmts", **model}
    settings = read_model(spec)
    return ModelJob("deep", settings, study.features, study.outcomes, study.splits, (365.25,), 7, deep=source)


def held_out_c(study, source, **model):
    fit_model(job(study, source, **model), study.folder / "out")
    frames = [pd.read_parquet(study.folder / "out" / f"fold{k}" / "predictions.parquet") for k in range(3)]
    held = pd.concat([f[f["set"] == "test"].assign(fold=k) for k, f in enumerate(frames)])
    rows = study.cohort.loc[held["patient_id"]]
    return concordance_index(
        rows["time_days"].to_numpy(), rows["event"].to_numpy(float), held["risk"].to_numpy(), held["fold"]
    )


def test_a_network_has_no_features_of_those_it_was_trained_on(make_study):
    study = make_study()
    source = cross_fitted(study)
    patients = with_deep_features(load_patients(study.outcomes, study.features), source, 1, study.folds)
    assert count_blocks(patients) == PARTS
    cross = read_splits(source.splits)
    for j in range(PARTS):
        block = select_block(patients, j)
        there, rows = block.patients, block.rows
        trained = set(cross.folds[PARTS + j].train)
        assert set(there.table.index) == set(study.ids) - trained
        assert list(patients.table.index[rows]) == list(there.table.index)
        assert there.names == (*study.table.columns, "deep_000", "deep_001", "deep_002")
        expected = pd.read_parquet(source.tables[PARTS + j]).set_index("patient_id")
        assert (there.features[:, -3:] == expected.loc[there.table.index].to_numpy()).all()


def test_memorising_networks_predict_nothing_and_the_leak_is_seen(make_study):
    honest, leaky = [], []
    for seed in range(6):
        study = make_study(f"study{seed}", seed=seed, strength=0.0)
        shuffled(study, seed)
        honest.append(held_out_c(study, cross_fitted(study, seed)))
        if seed < 2:
            leaky.append(held_out_c(study, cross_fitted(study, seed, everybody=True)))
    assert np.mean(honest) == pytest.approx(0.5, abs=0.1)
    assert min(leaky) > 0.9


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["univariate", "lasso_cox"])
def test_fifty_permutations_of_cross_fitted_features(kind, make_study):
    values = []
    for seed in range(50):
        study = make_study(f"{kind}{seed}", seed=0, strength=0.0, sizes=(120, 2, 2))
        shuffled(study, seed)
        values.append(held_out_c(study, cross_fitted(study, seed), kind=kind))
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_a_network_trained_on_test_patients_is_refused(make_study):
    study = make_study()
    source = cross_fitted(study)
    cross = read_splits(source.splits)
    # The study's own folds instead of cross splits: fold 1's network knows fold 0's patients.
    write_splits(source.splits, type(cross)((*study.folds.folds, *cross.folds[3:]), cross.external, 0))
    with pytest.raises(ModelError, match="patients of other sets"):
        fit_model(job(study, source), study.folder / "out")


def test_useful_deep_features_are_used_beside_others(make_study):
    study = make_study(sizes=(120, 8, 3), strength=2.0)
    source = cross_fitted(study)
    for path in source.tables:
        frame = pd.read_parquet(path)
        frame["deep_002"] = study.x[:, 0] * np.random.default_rng(0).choice([-1, 1])
        frame.to_parquet(path)
        write_status(path.parent, Status("ok", "train_cross"))
    study.table = study.table.drop(columns="pet_f0")
    study.write()
    assert held_out_c(study, source, features=["*"]) > 0.7
    report = json.loads((study.folder / "out" / "fold0" / "model.json").read_text())
    assert [list(part["coefficients"]) for part in report["parts"]] == [["deep_002"]] * PARTS
    external = pd.read_parquet(study.folder / "out" / "fold0" / "predictions.parquet")
    assert np.isfinite(external["risk"]).all()


def test_baseline_hazard_of_cross_fitted_predictions_is_out_of_sample(make_study):
    # Too few validation events: training patients are predicted by the network that does not know them.
    study = make_study(sizes=(48, 4, 2), validation=0.1, strength=0.0)
    fit_model(job(study, cross_fitted(study)), study.folder / "out")
    report = json.loads((study.folder / "out" / "fold0" / "model.json").read_text())
    assert report["baseline"]["source"] == "validation and train (cross-fitted)"


@pytest.mark.parametrize(
    ("models", "training", "words"),
    [
        ({"lasso": {"kind": "lasso_cox", "deep": "deepmts"}}, {}, "no network of this study"),
        (
            {"net": {"kind": "deepmts"}, "lasso": {"kind": "lasso_cox", "deep": "net"}},
            {"checkpoint_selection": "best_test"},
            "gives deep features",
        ),
        # What a network starts from is in its features, over however many steps.
        (
            {
                "far": {"kind": "deepmts", "training": {"checkpoint_selection": "best_test"}},
                "near": {"kind": "deepmts", "training": {"pretrained_from": "far"}},
                "net": {"kind": "deepmts", "training": {"pretrained_from": "near"}},
                "lasso": {"kind": "lasso_cox", "deep": "net"},
            },
            {"checkpoint_selection": "last"},
            "'far' is what 'net' starts from",
        ),
        (
            {
                "near": {"kind": "deepmts", "training": {"pretrained_from": "elsewhere/weights.pt"}},
                "net": {"kind": "deepmts", "training": {"pretrained_from": "near"}},
                "lasso": {"kind": "lasso_cox", "deep": "net"},
            },
            {},
            r"starts from weights of elsewhere \(through near\), elsewhere/weights.pt",
        ),
        (
            {
                "near": {"kind": "deepmts", "training": {"pretrained_from": "net"}},
                "net": {"kind": "deepmts", "training": {"pretrained_from": "near"}},
                "lasso": {"kind": "lasso_cox", "deep": "net"},
            },
            {},
            "in a ring",
        ),
    ],
)
def test_wrong_sources_are_refused(models, training, words):
    with pytest.raises(Exception, match=words):
        load_settings(minimal_study(models=models, training=training))
