"""DeepSurv: what it learns that a linear model cannot, its tuning, and WHAS."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.nets.deepsurv import build
from pipeline.settings.deepsurv import DeepSurvModel, DeepSurvNet
from pipeline.settings.models import read_model
from pipeline.survival.cox import efron_log_likelihood, fit_cox
from pipeline.survival.deepsurv import fit_deepsurv, sample_networks
from pipeline.survival.estimator import Context
from pipeline.survival.model_job import ModelJob
from pipeline.survival.patients import Patients
from pipeline.survival.survival import fit_model
from pipeline.training.tabular import learn_columns

QUICK = {"trials": 2, "epochs": [10, 20], "inner_folds": 2, "members": 1, "layers": [1]}


def bowl(n=128, seed=0):
    """Hazard rises with the distance from 0: no column has a linear effect."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (n, 2))
    died = generator.exponential(900 * np.exp(-4 * (x**2).sum(axis=1)))
    left = generator.uniform(100, 1500, n)
    table = pd.DataFrame({"time_days": np.minimum(died, left), "event": (died <= left).astype(int)})
    return Patients(table, x, ("a", "b"))


def c_index(patients, risk):
    return concordance_index(patients.time, patients.event.astype(float), risk)


def test_a_bowl_is_learned_where_a_line_sees_nothing():
    train, test = bowl(), bowl(seed=1)
    net = DeepSurvNet(layers=1, nodes=16, learning_rate=0.05, dropout=0.0, l2=1e-3)
    learned = learn_columns(net, (train.features, train.time, train.event), (40,), seed=0)
    line = fit_cox(train.features, train.time, train.event).coefficients
    assert c_index(test, test.features @ line) < 0.6
    assert c_index(test, learned.risk(test.features, 40)) > 0.7


def test_training_reaches_the_likelihood_of_linear_cox():
    # A layer of eight rectified nodes holds every linear risk; Efron's likelihood of lines is concave.
    patients = bowl(90)
    patients.features[:, 0] -= patients.time / 1000
    best = fit_cox(patients.features, patients.time, patients.event)
    net = DeepSurvNet(layers=1, nodes=8, dropout=0, learning_rate=0.05, l2=0)
    learned = learn_columns(net, (patients.features, patients.time, patients.event), (120,), seed=3)
    log_likelihood = efron_log_likelihood(learned.risk(patients.features, 120), patients.time, patients.event)
    assert log_likelihood > best.log_likelihood


def test_equal_seeds_give_equal_weights_and_leave_torch_alone():
    train = bowl(60)
    data = (train.features, train.time, train.event)
    state = torch.random.get_rng_state()
    first, second, other = (
        learn_columns(DeepSurvNet(), data, (3,), seed).risk(train.features, 3) for seed in (0, 0, 1)
    )
    assert (first == second).all() and (first != other).any()
    assert torch.equal(state, torch.random.get_rng_state())


def test_weights_after_few_epochs_do_not_depend_on_later_looks():
    train = bowl(60)
    data = (train.features, train.time, train.event)
    early = learn_columns(DeepSurvNet(), data, (4,), 0).risk(train.features, 4)
    assert (learn_columns(DeepSurvNet(), data, (4, 9), 0).risk(train.features, 4) == early).all()


@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_layers_are_as_set(activation):
    net = build(DeepSurvNet(layers=2, nodes=48, activation=activation, batch_norm=True), 6)
    # 6·48 + 48, 48·48 + 48, 2 × (48 + 48) of batch norm, 48 of the last node without bias.
    assert sum(p.numel() for p in net.parameters()) == 336 + 2352 + 192 + 48
    assert net(torch.zeros(5, 6)).shape == (5,)


def test_networks_are_drawn_from_the_ranges():
    settings = DeepSurvModel(trials=60, nodes=(4, 9), layers=(2,), dropout=(0.1, 0.2))
    nets = sample_networks(settings, seed=0)
    assert nets == sample_networks(settings, seed=0) and nets != sample_networks(settings, seed=1)
    assert {n.nodes for n in nets} <= set(range(4, 10)) and {n.layers for n in nets} == {2}
    assert all(0.1 <= n.dropout <= 0.2 and 3e-3 <= n.learning_rate <= 5e-2 for n in nets)
    assert {n.activation for n in nets} == {"relu", "selu"}


@pytest.mark.parametrize("wrong", [{"nodes": (9, 4)}, {"dropout": (0.2, 1.0)}, {"l2": (0.0, 1.0)}])
def test_wrong_ranges_are_refused(wrong):
    with pytest.raises(ValidationError):
        DeepSurvModel(**wrong)


def test_the_job_writes_what_every_model_writes(make_study):
    study = make_study(sizes=(60, 6, 4), strength=2.0)
    model = read_model({"kind": "deepsurv", **QUICK})
    job = ModelJob(
        "net", model, study.features, study.outcomes, study.splits, (365.25,), 7, learner=learn_columns
    )
    fit_model(job, study.folder / "net")
    report = json.loads((study.folder / "net" / "fold2" / "model.json").read_text())
    assert report["network"]["layers"] == 1 and report["epochs"] in (10, 20)
    frame = pd.read_parquet(study.folder / "net" / "fold2" / "predictions.parquet")
    assert frame["survival_365.25d"].between(0, 1).all() and np.isfinite(frame["risk"]).all()


def test_clinical_columns_alone_need_no_feature_table(make_study):
    study = make_study(sizes=(60, 6, 4))
    settings = {"kind": "deepsurv", "features": [], "clinical": ["clinical_age"], **QUICK, "trials": 1}
    model = read_model({**settings, "epochs": [5]})
    job = ModelJob("net", model, None, study.outcomes, study.splits, (365.25,), 7, learner=learn_columns)
    fit_model(job, study.folder / "net")
    report = json.loads((study.folder / "net" / "fold0" / "model.json").read_text())
    assert report["candidates"] == 1 and report["cross_validation"]["c_index"] == []


def test_without_a_learner_it_is_refused():
    with pytest.raises(ModelError, match="learn_columns"):
        fit_deepsurv(DeepSurvModel(**QUICK), bowl(60), Context(0))


@pytest.mark.nightly
def test_whas(whas):
    # Katzman et al. 2018, table 1: DeepSurv on WHAS 0.8627 (0.859–0.867), linear Cox 0.816.
    # Everything is chosen by inner cross-validation on the training split; the test split is read once.
    def patients(part):
        table = pd.DataFrame({"time_days": part["t"], "event": part["e"]})
        return Patients(table, part["x"], tuple(f"x{i}" for i in range(6)))

    settings = DeepSurvModel(spearman=1.0, trials=8, inner_folds=4, epochs=(50, 100, 200))
    fitted = fit_deepsurv(settings, patients(whas["train"]), Context(0, learner=learn_columns))
    c_index_of_test = c_index(patients(whas["test"]), fitted.score(patients(whas["test"])))
    print(f"WHAS test split: C-index of DeepSurv {c_index_of_test:.4f}")
    assert c_index_of_test >= 0.85
