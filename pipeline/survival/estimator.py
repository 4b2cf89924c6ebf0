"""What a classical model is fitted from and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.stability import PerturbedFeatures
from pipeline.settings.deepsurv import DeepSurvNet
from pipeline.survival.design import Design
from pipeline.survival.patients import Patients

Array = NDArray[np.float64]


NO_COLUMN_VARIES = "no column varies among the training patients; the risk is 0"


class TabularNetwork(Protocol):
    """A network trained on columns, with its weights after several numbers of epochs."""

    def risk(self, matrix: Array, epochs: int) -> Array:
        """(n,) log-hazards, higher = worse, of (n, K) columns after so many epochs."""


class Learner(Protocol):
    """Trains a network on columns. This room does not import torch, so the rule passes the function in."""

    def __call__(
        self,
        settings: DeepSurvNet,
        data: tuple[Array, Array, NDArray[np.bool_]],
        epochs: Sequence[int],
        seed: int,
    ) -> TabularNetwork:
        """Train on columns (n, K), times and events; weights are stored after each number of `epochs`."""


@dataclass(frozen=True)
class Context:
    """What a fit may use beside its training patients.

    Attributes:
        seed: Seed of inner folds, bootstraps and forests.
        threads: Number of CPU threads.
        validation: The fold's validation patients; only for selections that carry a caveat.
        perturbed: Features under perturbed contours; for models with `min_icc`.
        learner: Trains networks on columns; for DeepSurv.
    """

    seed: int
    threads: int = 1
    validation: Patients | None = None
    perturbed: PerturbedFeatures | None = None
    learner: Learner | None = None


@dataclass(frozen=True)
class FittedModel:
    """A model fitted on training patients.

    Attributes:
        score: Patients → (n,) risk, higher = worse; of a class outcome (n, classes) probabilities.
        report: Chosen features, coefficients, penalty: plain values for `model.json`.
        warnings: What a reader of the model's numbers should know.
        caveats: Where the model departs from sound practice on request; printed in every table.
    """

    score: Callable[[Patients], Array]
    report: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


Fitter = Callable[[Any, Patients, Context], FittedModel]
"""Settings, training patients, context → a fitted model."""


def linear_model(
    design: Design,
    coefficients: Array,
    report: dict[str, Any] | None = None,
    warnings: tuple[str, ...] = (),
) -> FittedModel:
    """A linear risk Σ βⱼ·xⱼ on a design matrix.

    Args:
        design: Design matrix, learned from the training patients.
        coefficients: (columns,) log hazard ratios per SD (features, numbers) or level.
        report: Plain values for `model.json`, beside the coefficients that are not 0.
        warnings: What a reader of the model's numbers should know.
    """
    nonzero = {name: float(b) for name, b in zip(design.names, coefficients, strict=True) if b != 0}
    state = {"coefficients": nonzero, "design": design.state(set(nonzero))}
    return FittedModel(
        lambda patients: design.transform(patients) @ coefficients,
        {**state, **(report or {})},
        warnings,
    )


def constant_model(design: Design, warning: str = NO_COLUMN_VARIES) -> FittedModel:
    """The model of a design without columns: the risk is 0 for all patients."""
    return linear_model(design, np.zeros(0), warnings=(warning,))
