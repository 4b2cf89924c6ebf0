"""The job `survival`: one classical model, all its folds."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.baseline import Baseline, breslow
from pipeline.metrics.concordance import concordance_index
from pipeline.metrics.stability import PerturbedFeatures
from pipeline.settings.classical import ClassicalModel
from pipeline.survival.deep_feature_blocks import DeepSource, fit_estimator, with_deep_features
from pipeline.survival.estimator import Context, FittedModel, Learner
from pipeline.survival.patients import Patients, load_patients, with_features
from pipeline.tables.predicted_features import contour_caveats, read_predicted_features
from pipeline.tables.predictions import survival_column, write_predictions
from pipeline.tables.splits import Splits, read_splits, stratified_folds

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
log = logging.getLogger(__name__)
MIN_EVENTS = 5
"""A baseline hazard from fewer events is pooled with cross-fitted training predictions."""
CROSS_FITS = 4


@dataclass(frozen=True)
class ModelJob:
    """A classical model to be fitted in every fold.

    Attributes:
        name: The model's name in the study.
        model: Its settings.
        features: `features.parquet`; None for models without features.
        outcomes: `cohort.parquet`.
        splits: `splits.json`.
        horizons_days: Times of the survival probabilities.
        seed: The study's seed.
        threads: CPU threads.
        predicted: Features on predicted contours, a table per fold, in place of `features`.
        stability: `stability.parquet`, for models with `min_icc`.
        learner: Trains networks on columns; only DeepSurv needs it.
        deep: Cross-fitted deep features, for models that name a network.
    """

    name: str
    model: ClassicalModel
    features: Path | None
    outcomes: Path
    splits: Path
    horizons_days: tuple[float, ...]
    seed: int
    threads: int = 1
    predicted: tuple[Path, ...] = ()
    stability: Path | None = None
    learner: Learner | None = None
    deep: DeepSource | None = None

    @property
    def needs_features(self) -> bool:
        """Whether the model reads a feature table at all."""
        return self.model.needs.radiomics


@dataclass(frozen=True)
class Probabilities:
    """From a score to survival probabilities.

    Attributes:
        baseline: Breslow's, of out-of-sample log-hazards.
        slope: Log-hazard per unit of the score; 1 where the score is one.
        source: Whose predictions the baseline comes from.
        told: Warnings.
    """

    baseline: Baseline
    slope: float
    source: str
    told: list[str] = field(default_factory=list)


def fit_model(job: ModelJob, out: Path) -> None:
    """Fit a classical model in every fold, each within its training patients only.

    Writes `out/fold{k}/predictions.parquet` (train, validation, test, external; predictions
    of train are in-sample) and `out/fold{k}/model.json` (chosen features, coefficients,
    penalty, baseline hazard and its source, C-indices of train and test, warnings).

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
    patients = load_patients(job.outcomes, table)
    perturbed = PerturbedFeatures.read(job.stability) if job.stability else None
    splits = read_splits(job.splits)
    for fold in range(len(splits.folds)):
        try:
            # Several jobs share a machine; a BLAS that takes all cores makes each slower.
            with threadpool_limits(job.threads):
                _fit_fold(job, (patients, splits, perturbed), fold, out / f"fold{fold}")
        except ModelError as error:
            error.where = f"model {job.name}, fold {fold}" + (f", {error.where}" if error.where else "")
            raise


def _of_fold(job: ModelJob, patients: Patients, splits: Splits, fold: int) -> Patients:
    """Patients with what differs from fold to fold: features of predicted contours, deep features."""
    if job.needs_features and job.predicted:
        frame = read_predicted_features(job.predicted, splits, fold)
        patients = with_features(patients.table, frame, str(job.predicted[fold]))
    if job.deep is not None:
        patients = with_deep_features(patients, job.deep, fold, splits)
    return patients


def _fit_fold(
    job: ModelJob, data: tuple[Patients, Splits, PerturbedFeatures | None], fold: int, out: Path
) -> None:
    patients, splits, perturbed = data
    patients = _of_fold(job, patients, splits, fold)
    sets = {name: patients.select(ids) for name, ids in splits.sets(fold).items()}
    context = Context(job.seed + fold, job.threads, sets["validation"], perturbed, job.learner)
    train = sets["train"]
    if not train.event.any():
        raise ModelError("no training patient had the event", action="use fewer folds")

    def refit(part: Patients) -> FittedModel:
        return fit_estimator(job.model, part, context)

    model = refit(train)
    probabilities = out_of_sample(refit, model, train, sets["validation"], context.seed)
    frame = _predict(job, model, probabilities, sets)
    write_predictions(out / "predictions.parquet", frame)
    report = _report(job, fold, model, probabilities, sets)
    (out / "model.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for line in report["warnings"]:
        log.warning("model %s, fold %d: %s", job.name, fold, line)


def out_of_sample(
    refit: Callable[[Patients], FittedModel],
    model: FittedModel,
    train: Patients,
    validation: Patients,
    seed: int,
) -> Probabilities:
    """Baseline hazard from patients the model was not fitted on.

    The validation patients, if they have five events and are followed as long as the
    training patients (to three quarters); else those pooled with cross-fitted predictions
    of the training patients: each quarter predicted by the same recipe fitted on the rest.
    Test patients are never looked at.

    Args:
        refit: Fits the whole recipe on given patients.
        model: The model fitted on `train`.
        train: Training patients.
        validation: Validation patients, maybe none.
        seed: Of the quarters.
    """
    told: list[str] = []
    score, group, source = model.score(validation), validation, "validation"
    enough = int(validation.event.sum()) >= MIN_EVENTS and validation.time.max() >= 0.75 * train.time.max()
    if not enough:
        crossed = cross_fit(refit, train, seed)
        if crossed is None:
            crossed = model.score(train)
            told.append("too few events to cross-fit; the baseline hazard is of in-sample predictions")
            source = "validation and train (in-sample)"
        else:
            source = "validation and train (cross-fitted)"
        time, event = np.r_[validation.time, train.time], np.r_[validation.event, train.event]
        score = np.r_[score, crossed]
    else:
        time, event = group.time, group.event
    slope = 1.0 if model.log_hazard else calibration_slope(score, time, event)
    if slope == 0:
        told.append("the score does not predict out of sample; survival probabilities are the same for all")
    return Probabilities(breslow(time, event.astype(float), slope * score), slope, source, told)


def cross_fit(refit: Callable[[Patients], FittedModel], train: Patients, seed: int) -> Array | None:
    """(n,) predictions of training patients by models fitted without them.

    None where fewer than four events leave a part with too few to fit on.
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
    from pipeline.survival.cox import fit_cox

    spread = float(score.std())
    if spread == 0 or not event.any():
        return 0.0
    fit = fit_cox((score - score.mean())[:, None] / spread, time, event, ridge=1.0)
    return max(0.0, float(fit.coefficients[0]) / spread)


def _predict(
    job: ModelJob, model: FittedModel, probabilities: Probabilities, sets: dict[Any, Patients]
) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for name, patients in sets.items():
        risk = model.score(patients)
        survival = probabilities.baseline.survival(probabilities.slope * risk, np.array(job.horizons_days))
        columns = {"patient_id": patients.table.index.astype(str), "set": name, "risk": risk}
        for i, days in enumerate(job.horizons_days):
            columns[survival_column(days)] = survival[:, i]
        frames.append(pd.DataFrame(columns))
    return pd.concat([f for f in frames if len(f)], ignore_index=True)


def unharmonised(model: FittedModel, sets: dict[Any, Patients]) -> list[str]:
    """A warning where patients are predicted whose centre harmonisation has not learned."""
    learned = set(model.report.get("harmonisation", {}).get("centres", []))
    if not learned:
        return []
    found = {
        str(name): sorted(set(p.table["centre"].astype(str)) - learned)
        for name, p in sets.items()
        if name in ("test", "external") and len(p)
    }
    return [
        f"harmonisation has not learned centres of {name} patients, whose features stay as they are: "
        + ", ".join(centres)
        for name, centres in found.items()
        if centres
    ]


def _report(
    job: ModelJob, fold: int, model: FittedModel, probabilities: Probabilities, sets: dict[Any, Patients]
) -> dict[str, Any]:
    baseline = probabilities.baseline
    told = [*model.warnings, *probabilities.told]
    late = [f"{days:g}" for days in job.horizons_days if days > baseline.last]
    if late:
        told.append(f"no survival probability at {', '.join(late)} days: follow-up ends at {baseline.last:g}")
    told.extend(unharmonised(model, sets))
    c_index = {
        name: concordance_index(p.time, p.event.astype(float), model.score(p))
        for name, p in sets.items()
        if name in ("train", "test")
    }
    return {
        "model": job.name,
        "kind": job.model.kind,
        "fold": fold,
        "patients": {name: len(p) for name, p in sets.items()},
        "events": {name: int(p.event.sum()) for name, p in sets.items()},
        "c_index": {name: value if np.isfinite(value) else None for name, value in c_index.items()},
        "log_hazard": model.log_hazard,
        **model.report,
        "baseline": {
            "source": probabilities.source,
            "slope": probabilities.slope,
            "centre": baseline.centre,
            "last_days": baseline.last,
            "times_days": baseline.times.tolist(),
            "cumulative_hazard": baseline.hazard.tolist(),
        },
        "caveats": [*model.caveats, *contour_caveats(job.predicted)],
        "warnings": told,
    }
