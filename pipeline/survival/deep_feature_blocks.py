"""The whole recipe of a model on given patients: deep features' spaces, what is learned of features, its fitter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.classical import ClassicalModel
from pipeline.survival.cross_fit import in_space, spaces_of
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.patients import Patients
from pipeline.survival.preprocessing import fit_prepared

Array = NDArray[np.float64]


def fit_recipe(model: ClassicalModel, train: Patients, context: Context) -> FittedModel:
    """Fit a model; of one that is offered deep features, a part in each network's space.

    Args:
        model: The model's settings.
        train: The only patients anything is learned from.
        context: Seed and threads.

    Raises:
        ModelError: The model is offered deep features, and there are none.
    """
    if not model.needs.deep:
        return fit_prepared(model, train, context)
    spaces = spaces_of(train)
    if not spaces:
        raise ModelError("a model is offered deep features, and there are none", action="rerun its network")
    parts = [_fit_part(model, train, context, number) for number in range(spaces)]

    def score(patients: Patients) -> Array:
        return _mean_over_spaces(parts, patients)

    return FittedModel(
        score,
        {"deep_features_of": model.needs.deep, "parts": [part.report for part in parts]},
        tuple(dict.fromkeys(line for part in parts for line in part.warnings)),
        parts[0].log_hazard,
        tuple(dict.fromkeys(caveat for part in parts for caveat in part.caveats)),
    )


def _fit_part(model: ClassicalModel, train: Patients, context: Context, number: int) -> FittedModel:
    """Fitted in one network's space on the patients that network was not trained on."""
    part, _ = in_space(train, number)
    if not part.event.any():
        raise ModelError(
            "no patient with an event is left in a part of the cross-fitting",
            got=f"{len(part)} patients",
            action="use fewer folds or parts (plan.cross_parts)",
        )
    if context.validation is not None:
        context = replace(context, validation=in_space(context.validation, number)[0])
    return fit_prepared(model, part, context)


def _mean_over_spaces(parts: list[FittedModel], patients: Patients) -> Array:
    """(n,) mean risk over the networks that were not trained on a patient."""
    total, count = np.zeros(len(patients)), np.zeros(len(patients))
    for number, part in enumerate(parts):
        there, rows = in_space(patients, number)
        total[rows] += part.score(there)
        count[rows] += 1
    mean: Array = total / np.maximum(count, 1)
    return mean
