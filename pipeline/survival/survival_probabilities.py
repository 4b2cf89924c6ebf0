"""From a model's scores to survival probabilities, by a baseline hazard of out-of-sample predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.baseline import Baseline, breslow
from pipeline.survival.cox import fit_cox
from pipeline.survival.estimator import FittedModel
from pipeline.survival.patients import Patients
from pipeline.tables.splits import stratified_folds

Array = NDArray[np.float64]
MIN_EVENTS = 5
"""A baseline hazard of fewer events is pooled with cross-fitted predictions of training patients."""
CROSS_FITS = 4


@dataclass(frozen=True)
class SurvivalProbabilities:
    """How survival probabilities follow from a score.

    Attributes:
        baseline: Breslow's baseline hazard, of out-of-sample log-hazards.
        slope: Log-hazard per unit of the score; 1 where the score is a log-hazard.
        source: Patients whose predictions the baseline hazard comes from.
        warnings: What a reader of the probabilities should know.
    """

    baseline: Baseline
    slope: float
    source: str
    warnings: tuple[str, ...] = ()

    def at(self, score: Array, times: Array) -> Array:
        """(n, m) survival probabilities of n scores at m times; NaN after the last follow-up."""
        return self.baseline.survival(self.slope * score, times)


@dataclass(frozen=True)
class ScoredPatients:
    """Scores beside outcomes.

    Attributes:
        score: (n,) risk, higher = worse.
        time: (n,) time to event or censoring.
        event: (n,) whether the event occurred.
        source: Where the patients come from.
        warnings: What a reader should know of them.
    """

    score: Array
    time: Array
    event: NDArray[np.bool_]
    source: str
    warnings: tuple[str, ...] = ()


def out_of_sample(
    refit: Callable[[Patients], FittedModel],
    model: FittedModel,
    train: Patients,
    validation: Patients,
    seed: int,
) -> SurvivalProbabilities:
    """Baseline hazard from patients the model was not fitted on.

    It comes from the validation patients, if they have five events and are followed as long as the
    training patients (to three quarters); otherwise they are pooled with cross-fitted predictions
    of the training patients: each quarter is predicted by the same model fitted on the rest.
    Test patients are never used.

    Args:
        refit: Fits the whole model on given patients.
        model: The model fitted on `train`.
        train: Training patients.
        validation: Validation patients, possibly none.
        seed: Seed of the quarters.
    """
    scored = _scored_patients(refit, model, train, validation, seed)
    warnings = list(scored.warnings)
    slope = 1.0 if model.log_hazard else calibration_slope(scored.score, scored.time, scored.event)
    if slope == 0:
        warnings.append(
            "the score does not predict out of sample; survival probabilities are the same for all"
        )
    baseline = breslow(scored.time, scored.event.astype(float), slope * scored.score)
    return SurvivalProbabilities(baseline, slope, scored.source, tuple(warnings))


def _scored_patients(
    refit: Callable[[Patients], FittedModel],
    model: FittedModel,
    train: Patients,
    validation: Patients,
    seed: int,
) -> ScoredPatients:
    """Validation patients, where they are too few together with the training patients."""
    score = model.score(validation)
    if int(validation.event.sum()) >= MIN_EVENTS and validation.time.max() >= 0.75 * train.time.max():
        return ScoredPatients(score, validation.time, validation.event, "validation")
    train_score = cross_fit(refit, train, seed)
    source = "validation and train (cross-fitted)"
    warnings: tuple[str, ...] = ()
    if train_score is None:
        train_score = model.score(train)
        source = "validation and train (in-sample)"
        warnings = ("too few events to cross-fit; the baseline hazard is of in-sample predictions",)
    return ScoredPatients(
        np.r_[score, train_score],
        np.r_[validation.time, train.time],
        np.r_[validation.event, train.event],
        source,
        warnings,
    )


def cross_fit(refit: Callable[[Patients], FittedModel], train: Patients, seed: int) -> Array | None:
    """(n,) predictions of training patients by models fitted without them.

    None where fewer than four events leave too few patients to fit a part on.
    """
    folds = min(CROSS_FITS, int(train.event.sum()))
    if folds < 2:
        return None
    assigned = stratified_folds(train.event, folds, seed + 1)
    predicted = np.empty(len(train))
    for k in range(folds):
        try:
            part = refit(train.pick(assigned != k))
        except ModelError:
            return None
        predicted[assigned == k] = part.score(train.pick(assigned == k))
    return predicted


def calibration_slope(score: Array, time: Array, event: NDArray[np.bool_]) -> float:
    """Log-hazard per unit of a score, by Cox on out-of-sample scores; never below 0."""
    spread = float(score.std())
    if spread == 0 or not event.any():
        return 0.0
    fit = fit_cox((score - score.mean())[:, None] / spread, time, event, ridge=1.0)
    return max(0.0, float(fit.coefficients[0]) / spread)
