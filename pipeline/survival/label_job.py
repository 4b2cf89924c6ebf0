"""A classical model of a class outcome, fitted in all folds: part of the job `survival`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.labels import mean_auc
from pipeline.settings.label_models import LabelModel
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.internal_validation import (
    AskedValidation,
    Discrimination,
    Fit,
    Refits,
    validate,
)
from pipeline.survival.label_models import LEAST_OF_A_CLASS, classes_of, known_class
from pipeline.survival.model_job import ModelJob, StudyData, patients_of_fold
from pipeline.survival.patients import Patients
from pipeline.survival.permutation_test import PermutationTest
from pipeline.survival.preprocessing import fit_preprocessed
from pipeline.tables.predicted_features import contour_caveats
from pipeline.tables.predictions import write_predictions
from pipeline.tables.splits import FoldSet
from pipeline.tables.status import stage_folder
from pipeline.tables.whole import write_text

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
log = logging.getLogger(__name__)
NO_RISK = "no p-value: the model predicts a class and no risk"


def fit_label_model(job: ModelJob, model: LabelModel, study: StudyData, out: Path) -> None:
    """Fit a model of a class outcome in every fold, each within its training patients with a known class.

    Writes `out/fold{k}/predictions.parquet` (all sets; `label_x`, the probability of class 1, or of more than two
    classes `label_x_0`, `label_x_1`, …; of train in-sample), `out/fold{k}/model.json`, `out/permutations.json`,
    which says that a class has no risk groups, and `out/validation.json`: repeats, optimism and importance of
    columns by the AUC, where they are asked for.

    Raises:
        ModelError: A fold has fewer than two training patients of a class; names the fold.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    for fold in range(len(study.splits.folds)):
        with threadpool_limits(job.threads), stage_folder("survival", out / f"fold{fold}") as folder:
            _fit_fold(job, model, study, fold, folder)
    test = PermutationTest(None, None, 0, job.risk_groups, NO_RISK)
    write_text(out / "permutations.json", json.dumps(test.plain(), indent=1) + "\n")
    metric = f"{model.label}_auc"
    asked = AskedValidation(metric, job.optimism_bootstraps, job.importance_permutations, job.seed)
    refits = Refits(_fitter(job, model, study), _auc_within_folds(model.label))
    with threadpool_limits(job.threads):
        validation = validate(asked, model, refits, study.patients, study.splits)
    write_text(out / "validation.json", json.dumps(validation.plain(), indent=1) + "\n")


def _fitter(job: ModelJob, model: LabelModel, study: StudyData) -> Fit:
    """Fits the whole model on those of given patients whose class is known."""

    def fit(fold: int, train: Patients, validation: Patients) -> FittedModel:
        known = train.pick(known_class(train, model.label))
        _require_classes(known, model, f"model {job.name}, a further fit")
        return fit_preprocessed(
            model, known, Context(job.seed + fold, job.threads, validation, study.perturbed)
        )

    return fit


def _auc_within_folds(label: str) -> Discrimination:
    """AUC over pairs within folds of patients whose class is known."""

    def auc(tested: Sequence[Patients], scores: Sequence[Array]) -> float:
        fold = np.repeat(np.arange(len(tested)), [len(part) for part in tested]).astype(float)
        truth = np.concatenate([part.table[label].to_numpy(float) for part in tested])
        known = np.isfinite(truth)
        once = np.ones((1, int(known.sum())))
        return float(mean_auc(truth[known], np.concatenate(scores)[known], fold[known], once)[0])

    return auc


def _fit_fold(job: ModelJob, model: LabelModel, study: StudyData, fold: int, out: Path) -> None:
    patients = patients_of_fold(job, study, fold)
    sets = {name: patients.select(ids) for name, ids in study.splits.sets(fold).items()}
    train = sets["train"].pick(known_class(sets["train"], model.label))
    numbers = _require_classes(train, model, f"model {job.name}, fold {fold}")
    context = Context(job.seed + fold, job.threads, sets["validation"], study.perturbed)
    fitted = fit_preprocessed(model, train, context)
    write_predictions(out / "predictions.parquet", _predict(model, fitted, sets))
    report = {
        "model": job.name,
        "kind": model.kind,
        "fold": fold,
        "patients": {name: len(part) for name, part in sets.items()},
        "classes": {str(number): patients for number, patients in enumerate(numbers)},
        **fitted.report,
        "caveats": [*fitted.caveats, *contour_caveats(job.predicted)],
        "warnings": list(fitted.warnings),
    }
    (out / "model.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for warning in fitted.warnings:
        log.warning("model %s, fold %d: %s", job.name, fold, warning)


def _require_classes(train: Patients, model: LabelModel, where: str) -> list[int]:
    """Training patients of each class; refused where one has fewer than two, or all in one group."""
    classes = classes_of(train, model.label)
    numbers = [int((classes == number).sum()) for number in range(model.classes)]
    groups = [len(set(train.group[classes == number])) for number in range(model.classes)]
    if min(groups) < LEAST_OF_A_CLASS:
        raise ModelError(
            f"too few training patients of a class of {model.label}",
            where=where,
            expected=f"at least {LEAST_OF_A_CLASS} of each class, of different groups",
            got=", ".join(f"{patients} of class {number}" for number, patients in enumerate(numbers)),
            action="use fewer folds, or leave the model out",
        )
    return numbers


def _predict(model: LabelModel, fitted: FittedModel, sets: Mapping[FoldSet, Patients]) -> pd.DataFrame:
    """Probabilities in all sets: of class 1, or of each of more than two classes."""
    import pandas as pd

    frames = []
    for name, part in sets.items():
        if len(part):
            scores = fitted.score(part)
            columns = {f"{model.label}_{number}": scores[:, number] for number in range(model.classes)}
            if model.classes == 2:
                columns = {model.label: scores[:, 1]}
            frames.append(pd.DataFrame({"patient_id": part.table.index.astype(str), "set": name, **columns}))
    return pd.concat(frames, ignore_index=True)
