"""From a model's scores to survival probabilities, by a slope and a baseline hazard of out-of-sample scores.

Both come from the fold's own training and validation patients. Never from another fold's model:
that has been fitted on this fold's test patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.baseline import Baseline, breslow, calibration_slope, in_sample_baseline
from pipeline.survival.estimator import FittedModel
from pipeline.survival.patients import Patients

Array = NDArray[np.float64]
CROSS_FITS = 4
"""Parts that training patients are dealt into, groups as a whole; each is scored by a model fitted on the others."""


@dataclass(frozen=True)
class SurvivalProbabilities:
    """How survival probabilities follow from a score.

    Attributes:
        baseline: Slope and Breslow's baseline hazard.
        source: Patients they rest on, and how these were scored.
        patients: How many patients these are.
        events: How many of them had the event.
        train_score: (n,) scores of the training patients that the baseline hazard rests on.
        warnings: What a reader of the probabilities should know.
    """

    baseline: Baseline
    source: str
    patients: int
    events: int
    train_score: Array
    warnings: tuple[str, ...] = ()


def recalibrate(
    refit: Callable[[Patients], FittedModel],
    model: FittedModel,
    train: Patients,
    validation: Patients,
    seed: int,
) -> SurvivalProbabilities:
    """Slope and baseline hazard of a model, from patients that were scored by models not fitted on them.

    Validation patients are scored by the model itself, training patients by the same model fitted
    without them (:func:`cross_fit`). Every score has a slope estimated from them, log-hazards of
    Cox models, too: selection and small samples spread these too wide. Where training patients
    cannot be cross-fitted, the slope is that of the validation patients alone, and the baseline
    hazard is of in-sample scores times this slope.

    Args:
        refit: Fits the whole model on given patients.
        model: The model fitted on `train`.
        train: Training patients.
        validation: Validation patients, possibly none.
        seed: Seed of the parts.
    """
    warnings = []
    time = np.r_[validation.time, train.time]
    event = np.r_[validation.event, train.event].astype(float)
    validation_score, train_score = model.score(validation), cross_fit(refit, train, seed)
    if train_score is not None:
        how = "cross-fitted"
        score = np.r_[validation_score, train_score]
        baseline = breslow(time, event, score, calibration_slope(score, time, event))
    else:
        how = "in-sample"
        train_score = model.score(train)
        is_validation = np.arange(len(time)) < len(validation)
        baseline = in_sample_baseline(time, event, np.r_[validation_score, train_score], is_validation)
        warnings.append(
            "too few events to cross-fit; the slope of survival probabilities rests on "
            f"{len(validation)} validation patients"
        )
    if baseline.slope == 0:
        warnings.append(
            "the score does not predict out of sample; survival probabilities are the same for all"
        )
    source = f"train ({how})" if not len(validation) else f"validation and train ({how})"
    return SurvivalProbabilities(baseline, source, len(time), int(event.sum()), train_score, tuple(warnings))


def cross_fit(refit: Callable[[Patients], FittedModel], train: Patients, seed: int) -> Array | None:
    """(n,) scores of training patients by models fitted without them.

    None where fewer than two events (of different groups), or a part that cannot be fitted on, forbid it.
    """
    folds = min(CROSS_FITS, train.independent_events)
    if folds < 2:
        return None
    assigned = train.inner_folds(folds, seed + 1)
    predicted = np.empty(len(train))
    for k in range(folds):
        try:
            part = refit(train.pick(assigned != k))
        except ModelError:
            return None
        predicted[assigned == k] = part.score(train.pick(assigned == k))
    return predicted
