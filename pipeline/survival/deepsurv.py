"""DeepSurv among the classical models: random search by inner cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.classical import DeepSurvModel, DeepSurvNet
from pipeline.survival.design import Design
from pipeline.survival.estimator import Context, FittedModel, Learned, Learner, linear
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design, tune

Array = NDArray[np.float64]
NOTHING = "no column varies among the training patients; the risk is 0"


def draw_nets(settings: DeepSurvModel, seed: int) -> list[DeepSurvNet]:
    """Networks drawn independently from the model's ranges (Bergstra and Bengio, JMLR 2012; 13: 281)."""
    generator = np.random.default_rng(seed)

    def logarithmic(bounds: tuple[float, float]) -> float:
        return float(np.exp(generator.uniform(*np.log(bounds))))

    return [
        DeepSurvNet(
            layers=int(generator.choice(settings.layers)),
            nodes=round(logarithmic(settings.nodes)),
            activation=str(generator.choice(settings.activations)),  # type: ignore[arg-type]
            batch_norm=bool(generator.choice(settings.batch_norm)),
            dropout=float(generator.uniform(*settings.dropout)),
            learning_rate=logarithmic(settings.learning_rate),
            decay=logarithmic(settings.decay),
            l2=logarithmic(settings.l2),
        )
        for _ in range(settings.trials)
    ]


def fit_deepsurv(settings: DeepSurvModel, train: Patients, context: Context) -> FittedModel:
    """The best of several drawn networks and numbers of epochs, by inner cross-validation.

    Each inner fold learns its own imputation, scaling and filters, as every recipe here.
    The chosen network is then trained on all training patients from several seeds.

    Raises:
        ModelError: Nobody handed in a learner.
    """
    learner = _learner(context)
    nets = draw_nets(settings, context.seed)
    looks = tuple(sorted(set(settings.epochs)))
    candidates = list(product(range(len(nets)), looks))
    (chosen, epochs), values = tune(
        candidates,
        lambda part: _trainer(settings, nets, part, context),
        train,
        settings.inner_folds,
        context.seed,
    )
    design = offered_design(settings, train)
    if not design.names:
        return linear(design, np.zeros(0), warnings=(NOTHING,))
    data = (design.transform(train), train.time, train.event)
    members = [learner(nets[chosen], data, (epochs,), context.seed + i) for i in range(settings.members)]
    # A single candidate was not compared with anything.
    best = np.reshape(values, (len(nets), len(looks))).max(axis=1) if values else []
    report = {
        "candidates": len(design.names),
        "network": nets[chosen].model_dump(mode="json"),
        "epochs": epochs,
        "members": settings.members,
        "cross_validation": {"trials": len(nets), "c_index": [float(v) for v in best]},
    }
    return FittedModel(lambda patients: _mean_risk(members, design, patients, epochs), report)


def _trainer(
    settings: DeepSurvModel, nets: list[DeepSurvNet], part: Patients, context: Context
) -> Callable[[tuple[int, int]], FittedModel]:
    """(network, epochs) → that network fitted on `part`; trained once for all its epochs."""
    design = offered_design(settings, part)
    data = (design.transform(part), part.time, part.event)
    looks = tuple(sorted(set(settings.epochs)))
    learner = _learner(context)
    trained: dict[int, Learned] = {}

    def fit(candidate: tuple[int, int]) -> FittedModel:
        number, epochs = candidate
        if not design.names:
            return linear(design, np.zeros(0), warnings=(NOTHING,))
        if number not in trained:
            trained[number] = learner(nets[number], data, looks, context.seed)
        return FittedModel(lambda patients: _mean_risk([trained[number]], design, patients, epochs))

    return fit


def _mean_risk(members: list[Learned], design: Design, patients: Patients, epochs: int) -> Array:
    """(n,) mean log-hazard over networks."""
    matrix = design.transform(patients)
    return np.asarray(np.mean([member.risk(matrix, epochs) for member in members], axis=0))


def _learner(context: Context) -> Learner:
    if context.learner is None:
        raise ModelError(
            "a DeepSurv model needs something that trains networks",
            action="hand `pipeline.training.tabular.learn_columns` to the job, as the rule does",
        )
    return context.learner
