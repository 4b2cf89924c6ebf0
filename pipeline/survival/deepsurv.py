"""DeepSurv beside the classical models: random search by inner cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.deepsurv import DeepSurvModel, DeepSurvNet
from pipeline.survival.design import Design
from pipeline.survival.estimator import Context, FittedModel, Learner, TabularNetwork, constant_model
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design, tune

Array = NDArray[np.float64]


class Candidate(NamedTuple):
    """A sampled network and how long it is trained.

    Attributes:
        network: Its number.
        epochs: Number of epochs.
    """

    network: int
    epochs: int


def sample_networks(settings: DeepSurvModel, seed: int) -> list[DeepSurvNet]:
    """Networks sampled independently from the model's ranges (Bergstra and Bengio, JMLR 2012; 13: 281)."""
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
    """The best of several sampled networks and numbers of epochs, by inner cross-validation.

    Each inner fold learns its own imputation, scaling and filters, as for every model here.
    The chosen network is then trained on all training patients from several seeds.

    Raises:
        ModelError: The context has no learner.
    """
    learner = _learner(context)
    networks = sample_networks(settings, context.seed)
    numbers_of_epochs = tuple(sorted(set(settings.epochs)))
    candidates = [Candidate(*each) for each in product(range(len(networks)), numbers_of_epochs)]
    tuned = tune(
        candidates,
        lambda part: _trainer(settings, networks, part, context),
        train,
        settings.inner_folds,
        context.seed,
    )
    chosen, epochs = tuned.candidate
    design = offered_design(settings, train)
    if not design.names:
        return constant_model(design)
    data = (design.transform(train), train.time, train.event)
    members = [learner(networks[chosen], data, (epochs,), context.seed + i) for i in range(settings.members)]
    # A single candidate is not compared with others.
    best = np.reshape(tuned.c_index, (len(networks), -1)).max(axis=1) if tuned.c_index else []
    report = {
        "candidates": len(design.names),
        "network": networks[chosen].model_dump(mode="json"),
        "epochs": epochs,
        "members": settings.members,
        "cross_validation": {"trials": len(networks), "c_index": [float(value) for value in best]},
    }
    return FittedModel(lambda patients: _mean_risk(members, design, patients, epochs), report)


def _trainer(
    settings: DeepSurvModel, networks: list[DeepSurvNet], part: Patients, context: Context
) -> Callable[[Candidate], FittedModel]:
    """Candidate → its network fitted on `part`; each is trained once for all numbers of epochs."""
    design = offered_design(settings, part)
    data = (design.transform(part), part.time, part.event)
    numbers_of_epochs = tuple(sorted(set(settings.epochs)))
    learner = _learner(context)
    trained: dict[int, TabularNetwork] = {}

    def fit(candidate: Candidate) -> FittedModel:
        number, epochs = candidate
        if not design.names:
            return constant_model(design)
        if number not in trained:
            trained[number] = learner(networks[number], data, numbers_of_epochs, context.seed)
        return FittedModel(lambda patients: _mean_risk([trained[number]], design, patients, epochs))

    return fit


def _mean_risk(members: list[TabularNetwork], design: Design, patients: Patients, epochs: int) -> Array:
    """(n,) mean log-hazard over networks."""
    matrix = design.transform(patients)
    return np.asarray(np.mean([member.risk(matrix, epochs) for member in members], axis=0))


def _learner(context: Context) -> Learner:
    if context.learner is None:
        raise ModelError(
            "a DeepSurv model needs a function that trains networks",
            action="pass `pipeline.training.tabular.learn_columns` to the job, as the rule does",
        )
    return context.learner
