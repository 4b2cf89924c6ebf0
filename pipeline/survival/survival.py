"""The job `survival`: one classical model, fitted in all folds."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.metrics.stability import PerturbedFeatures
from pipeline.settings.label_models import LabelModel
from pipeline.survival.deep_feature_blocks import fit_estimator
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.internal_validation import AskedValidation, Fit, Refits, validate
from pipeline.survival.label_job import fit_label_model
from pipeline.survival.model_job import ModelJob, StudyData, patients_of_fold
from pipeline.survival.patients import Patients, load_patients
from pipeline.survival.permutation_test import PermutationTest, no_test_reason, permutation_test
from pipeline.survival.survival_probabilities import SurvivalProbabilities, recalibrate
from pipeline.tables.predicted_features import contour_caveats
from pipeline.tables.predictions import OUT_OF_SAMPLE, survival_column, write_predictions
from pipeline.tables.splits import FoldSet, read_splits
from pipeline.tables.status import stage_folder
from pipeline.tables.whole import write_text

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def fit_model(job: ModelJob, out: Path) -> None:
    """Fit a classical model in every fold, each within its training patients only.

    Writes `out/fold{k}/predictions.parquet` (train, validation, test, external; predictions
    of train are in-sample) and `out/fold{k}/model.json` (chosen features, coefficients,
    penalty, baseline hazard and its source, C-indices of train and test, warnings), and
    `out/permutations.json`, the test of the risk groups of all held-out patients, and
    `out/validation.json`, further repeats, optimism and importance of columns, where they are asked for.
    A model of a class outcome writes probabilities of its class instead (:mod:`pipeline.survival.label_job`).

    Raises:
        ModelError: A patient lacks features, or the model cannot be fitted; names the fold.
    """
    if job.needs_features and job.features is None and not job.predicted:
        raise ModelError(
            f"a model of kind {job.model.kind} needs radiomics features",
            where=f"model {job.name}",
            action="set radiomics.enabled: true, or leave the model out",
        )
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    table = job.features if job.needs_features and not job.predicted else None
    perturbed = PerturbedFeatures.read(job.stability) if job.stability else None
    study = StudyData(load_patients(job.outcomes, table), read_splits(job.splits), perturbed)
    if isinstance(job.model, LabelModel):
        fit_label_model(job, job.model, study, out)
        return
    for fold in range(len(study.splits.folds)):
        try:
            # Several jobs share a machine; a BLAS that uses all cores makes each of them slower.
            with threadpool_limits(job.threads), stage_folder("survival", out / f"fold{fold}") as folder:
                _fit_fold(job, study, fold, folder)
        except ModelError as error:
            error.where = f"model {job.name}, fold {fold}" + (f", {error.where}" if error.where else "")
            raise
    test = _test_risk_groups(job, study)
    write_text(out / "permutations.json", json.dumps(test.plain(), indent=1) + "\n")
    asked = AskedValidation("c_index", job.optimism_bootstraps, job.importance_permutations, job.seed)
    with threadpool_limits(job.threads):
        validation = validate(asked, job.model, Refits(_fitter(job, study)), study.patients, study.splits)
    write_text(out / "validation.json", json.dumps(validation.plain(), indent=1) + "\n")


def _fitter(job: ModelJob, study: StudyData) -> Fit:
    """Fits the whole model on given patients of a fold."""

    def fit(fold: int, train: Patients, validation: Patients) -> FittedModel:
        context = Context(job.seed + fold, job.threads, validation, study.perturbed, job.learner)
        return fit_estimator(job.model, train, context)

    return fit


def _test_risk_groups(job: ModelJob, study: StudyData) -> PermutationTest:
    from threadpoolctl import threadpool_limits

    reason = no_test_reason(job.model, study.patients, study.splits, job.permutations)
    if reason:
        return PermutationTest(None, None, 0, job.risk_groups, reason)
    with threadpool_limits(job.threads):
        return permutation_test(
            _fitter(job, study), study.patients, study.splits, job.risk_groups, job.permutations, job.seed
        )


def _fit_fold(job: ModelJob, study: StudyData, fold: int, out: Path) -> None:
    patients = patients_of_fold(job, study, fold)
    sets = {name: patients.select(ids) for name, ids in study.splits.sets(fold).items()}
    train, validation = sets["train"], sets["validation"]
    context = Context(job.seed + fold, job.threads, validation, study.perturbed, job.learner)
    if not train.event.any():
        raise ModelError("no training patient had the event", action="use fewer folds")

    def refit(part: Patients) -> FittedModel:
        return fit_estimator(job.model, part, context)

    model = refit(train)
    probabilities = recalibrate(refit, model, train, validation, context.seed)
    write_predictions(out / "predictions.parquet", _predict(job, model, probabilities, sets))
    report = _report(job, fold, model, probabilities, sets)
    (out / "model.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for warning in report["warnings"]:
        log.warning("model %s, fold %d: %s", job.name, fold, warning)


def _predict(
    job: ModelJob,
    model: FittedModel,
    probabilities: SurvivalProbabilities,
    sets: Mapping[FoldSet, Patients],
) -> pd.DataFrame:
    """Risks, out-of-sample risks and survival probabilities of all sets."""
    import pandas as pd

    frames = []
    for name, patients in sets.items():
        risk = model.score(patients)
        survival = probabilities.baseline.survival(risk, np.array(job.horizons_days))
        columns = {"patient_id": patients.table.index.astype(str), "set": name, "risk": risk}
        columns[OUT_OF_SAMPLE] = probabilities.train_score if name == "train" else risk
        for i, days in enumerate(job.horizons_days):
            columns[survival_column(days)] = survival[:, i]
        frames.append(pd.DataFrame(columns))
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)


def unharmonised(model: FittedModel, sets: Mapping[FoldSet, Patients]) -> list[str]:
    """A warning for predicted patients of centres that harmonisation has not learned."""
    learned = set(model.report.get("harmonisation", {}).get("centres", []))
    if not learned:
        return []
    unknown = {
        name: sorted(set(patients.table["centre"].astype(str)) - learned)
        for name, patients in sets.items()
        if name in ("test", "external") and len(patients)
    }
    return [
        f"harmonisation has not learned centres of {name} patients, whose features stay as they are: "
        + ", ".join(centres)
        for name, centres in unknown.items()
        if centres
    ]


def _report(
    job: ModelJob,
    fold: int,
    model: FittedModel,
    probabilities: SurvivalProbabilities,
    sets: Mapping[FoldSet, Patients],
) -> dict[str, Any]:
    """The content of `model.json`."""
    baseline = probabilities.baseline
    warnings = [*model.warnings, *probabilities.warnings]
    late = [f"{days:g}" for days in job.horizons_days if days > baseline.last]
    if late:
        warnings.append(
            f"no survival probability at {', '.join(late)} days: follow-up ends at {baseline.last:g}"
        )
    warnings.extend(unharmonised(model, sets))
    c_index = {
        name: concordance_index(patients.time, patients.event.astype(float), model.score(patients))
        for name, patients in sets.items()
        if name in ("train", "test")
    }
    return {
        "model": job.name,
        "kind": job.model.kind,
        "fold": fold,
        "patients": {name: len(patients) for name, patients in sets.items()},
        "events": {name: int(patients.event.sum()) for name, patients in sets.items()},
        "c_index": {name: value if np.isfinite(value) else None for name, value in c_index.items()},
        **model.report,
        "baseline": {
            "source": probabilities.source,
            "patients": probabilities.patients,
            "events": probabilities.events,
            "slope": baseline.slope,
            "centre": baseline.centre,
            "last_days": baseline.last,
            "times_days": baseline.times.tolist(),
            "cumulative_hazard": baseline.hazard.tolist(),
        },
        "caveats": [*model.caveats, *contour_caveats(job.predicted)],
        "warnings": warnings,
    }
