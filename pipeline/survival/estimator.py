"""What a classical model is fitted from and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.stability import PerturbedFeatures
from pipeline.settings.classical import DeepSurvNet
from pipeline.survival.design import Design
from pipeline.survival.patients import Patients

Array = NDArray[np.float64]


class Learned(Protocol):
    """A network trained on columns, after several numbers of epochs."""

    def risk(self, matrix: Array, epochs: int) -> Array:
        """(n,) log-hazards, higher = worse, of (n, K) columns after so many epochs."""


class Learner(Protocol):
    """Trains one network; this room knows no torch, so it is handed in by the rule."""

    def __call__(
        self,
        settings: DeepSurvNet,
        data: tuple[Array, Array, NDArray[np.bool_]],
        looks: Sequence[int],
        seed: int,
    ) -> Learned:
        """Columns (n, K), times and events of training patients → the network after `looks` epochs."""


@dataclass(frozen=True)
class Context:
    """What a fit may use beside its patients.

    Attributes:
        seed: Of inner folds, bootstraps and forests.
        threads: CPU threads.
        validation: The fold's validation patients; only for recipes that are marked.
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
        score: Patients → (n,) risk, higher = worse.
        report: Chosen features, coefficients, penalty: plain values for `model.json`.
        warnings: What a reader of the model's figures should know.
        caveats: What was done otherwise than this software would; printed in every table.
        log_hazard: Whether the score is a log-hazard; else only its order has a meaning,
            and survival probabilities need a slope.
    """

    score: Callable[[Patients], Array]
    report: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    log_hazard: bool = True
    caveats: tuple[str, ...] = ()


Fitter = Callable[[Any, Patients, Context], FittedModel]
"""Settings, training patients, context → a fitted model."""


def linear(design: Design, coefficients: Array, **more: Any) -> FittedModel:
    """A linear risk Σ βⱼ·xⱼ on a design matrix.

    Args:
        design: Learned from the training patients.
        coefficients: (columns,) log hazard ratios per SD (features, numbers) or level.
        more: `report` (merged with the coefficients that are not 0) and `warnings`.
    """
    chosen = {n: float(b) for n, b in zip(design.names, coefficients, strict=True) if b != 0}
    report = {"coefficients": chosen, "design": design.state(set(chosen)), **more.pop("report", {})}
    return FittedModel(lambda patients: design.transform(patients) @ coefficients, report, **more)
