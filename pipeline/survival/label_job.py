"""A classical model of a class outcome, fitted in all folds: part of the job `survival`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.settings.label_models import LabelModel
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.internal_validation import InternalValidation
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

log = logging.getLogger(__name__)
NO_RISK = "no p-value: the model predicts a class and no risk"


def fit_label_model(job: ModelJob, model: LabelModel, study: StudyData, out: Path) -> None:
    """Fit a model of a class outcome in every fold, each within its training patients with a known class.

    Writes `out/fold{k}/predictions.parquet` (all sets; `label_x`, the probability of class 1; of train
    in-sample), `out/fold{k}/model.json`, and `out/permutations.json` and `out/validation.json`, which say that a
    class has no risk groups.

    Raises:
        ModelError: A fold has fewer than two training patients of a class; names the fold.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    for fold in range(len(study.splits.folds)):
        with threadpool_limits(job.threads), stage_folder("survival", out / f"fold{fold}") as folder:
            _fit_fold(job, model, study, fold, folder)
    test = PermutationTest(None, None, 0, job.risk_groups, NO_RISK)
    write_text(out / "permutations.json", json.dumps(test.plain(), indent=1) + "\n")
    validation = InternalValidation(reason="the model predicts a class and no risk")
    write_text(out / "validation.json", json.dumps(validation.plain(), indent=1) + "\n")


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
        "classes": {"0": numbers[0], "1": numbers[1]},
        **fitted.report,
        "caveats": [*fitted.caveats, *contour_caveats(job.predicted)],
        "warnings": list(fitted.warnings),
    }
    (out / "model.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for warning in fitted.warnings:
        log.warning("model %s, fold %d: %s", job.name, fold, warning)


def _require_classes(train: Patients, model: LabelModel, where: str) -> tuple[int, int]:
    """Training patients of class 0 and of class 1; refused where one has fewer than two, or all in one group."""
    positive = classes_of(train, model.label)
    numbers = (int((~positive).sum()), int(positive.sum()))
    groups = [len(set(train.group[positive == which])) for which in (False, True)]
    if min(groups) < LEAST_OF_A_CLASS:
        raise ModelError(
            f"too few training patients of a class of {model.label}",
            where=where,
            expected=f"at least {LEAST_OF_A_CLASS} of each class, of different groups",
            got=f"{numbers[0]} of class 0 and {numbers[1]} of class 1",
            action="use fewer folds, or leave the model out",
        )
    return numbers


def _predict(model: LabelModel, fitted: FittedModel, sets: Mapping[FoldSet, Patients]) -> pd.DataFrame:
    """Probabilities of class 1 in all sets."""
    import pandas as pd

    frames = [
        pd.DataFrame(
            {"patient_id": part.table.index.astype(str), "set": name, model.label: fitted.score(part)}
        )
        for name, part in sets.items()
        if len(part)
    ]
    return pd.concat(frames, ignore_index=True)
