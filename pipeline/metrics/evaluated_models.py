"""What models are evaluated on: their predictions for a set of patients, beside the outcomes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.detection import read_folds
from pipeline.metrics.labels import labels_of
from pipeline.metrics.mask_classes import class_overlaps
from pipeline.metrics.network_importance import read_permuted
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.time_dependent import SurvivalOutcome
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.tables.outcomes import groups_of, has_outcomes
from pipeline.tables.parquet import read_frame
from pipeline.tables.predictions import DISTANCES, LESIONS, PIXELS, survival_column
from pipeline.tables.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sources:
    """What models are evaluated on.

    Attributes:
        cohort: `cohort.parquet`.
        splits: `splits.json`.
        detectors: Detecting network → the folders of its folds, in fold order.
        permutations: Classical model → its `permutations.json`.
        subsets: Network → the part of the cohort that it is judged on, of those that have one.
        validations: Classical model → its `validation.json`.
        permuted: Network whose inputs are permuted → the folders of its folds, in fold order.
    """

    cohort: Path
    splits: Path
    detectors: Mapping[str, Sequence[str | Path]] = field(default_factory=dict)
    permutations: Mapping[str, str | Path] = field(default_factory=dict)
    subsets: Mapping[str, str] = field(default_factory=dict)
    validations: Mapping[str, str | Path] = field(default_factory=dict)
    permuted: Mapping[str, Sequence[str | Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatedModel:
    """What there is of a model.

    Attributes:
        name: Name of the model.
        table: The ensemble's table, indexed by patient_id.
        info: The ensemble's JSON.
        boxes: Fold → `detections.parquet`; empty unless it is a detecting network.
        permutations: Test of its cross-validated risk groups; None where it is no classical model.
        subset: Part of the cohort that it is judged on; empty: the whole.
        validation: Its repeats, optimism and importance of columns; None where it is no classical model.
        permuted: Risks of its test patients under permuted inputs; None but of networks that were asked for them.
    """

    name: str
    table: pd.DataFrame
    info: Mapping[str, Any]
    boxes: Mapping[int, pd.DataFrame]
    permutations: Mapping[str, Any] | None = None
    subset: str = ""
    validation: Mapping[str, Any] | None = None
    permuted: pd.DataFrame | None = None


def read_model(name: str, path: Path, sources: Sources) -> EvaluatedModel:
    """Read what the stage `ensemble` wrote of a model; its JSON lies beside its table."""
    info = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    boxes = read_folds(sources.detectors.get(name, ()))
    permutations, validation = (
        json.loads(Path(files[name]).read_text(encoding="utf-8")) if name in files else None
        for files in (sources.permutations, sources.validations)
    )
    table, subset = read_frame(path).set_index("patient_id"), sources.subsets.get(name, "")
    permuted = read_permuted(sources.permuted.get(name, ()))
    return EvaluatedModel(name, table, info, boxes, permutations, subset, validation, permuted)


def require_outcomes(models: Sequence[EvaluatedModel], outcomes: pd.DataFrame) -> None:
    """Refuse models that predict survival where the cohort has no outcomes."""
    with_risk = [model.name for model in models if "risk" in model.table]
    if with_risk and not has_outcomes(outcomes):
        raise ModelError(
            f"model {with_risk[0]} predicts survival, and the cohort has no outcomes to evaluate it by",
            where="cohort.parquet",
            action="give the cohort table times and events, or remove the model",
        )


def fold_of_patients(splits: Splits, which: str) -> dict[str, int]:
    """Patient → fold that has it as a test patient (external: −1), sorted by id."""
    if which == "external":
        return dict.fromkeys(sorted(splits.external), -1)
    return dict(sorted((p, number) for number, fold in enumerate(splits.folds) for p in fold.test))


@dataclass(frozen=True)
class EvaluatedSet:
    """Models that are judged on the same patients.

    Attributes:
        which: `development` or `external`.
        subset: Part of the cohort; empty: the whole.
        models: The models.
        fold_of: Patient → fold that has it as a test patient (external: −1).
    """

    which: str
    subset: str
    models: tuple[EvaluatedModel, ...]
    fold_of: Mapping[str, int]


def evaluated_sets(models: Sequence[EvaluatedModel], splits: Splits) -> Iterator[EvaluatedSet]:
    """Development, then external patients, of the whole cohort first, then of each part that models have."""
    for which in ("development", "external"):
        for subset in sorted({model.subset for model in models}):
            members = tuple(model for model in models if model.subset == subset)
            fold_of = fold_of_patients(splits.of_subset(subset), which)
            if fold_of:
                yield EvaluatedSet(which, subset, members, fold_of)


def predictions_of(
    model: EvaluatedModel,
    which: str,
    fold_of: Mapping[str, int],
    outcomes: pd.DataFrame,
    settings: EvaluationSettings,
) -> Predictions:
    """A model's predictions for a set, beside the truth, in the order of `fold_of`."""
    table = model.table[model.table["set"] == which]
    ids = list(fold_of)
    wrong = sorted(set(ids) ^ set(table.index)) + [p for p in ids if p not in outcomes.index]
    if wrong:
        raise ModelError(
            "a model's predictions and the study's splits name different patients",
            where=f"model {model.name}, {which} patients",
            got=", ".join(wrong[:5]),
            action="rerun the model on the present splits.json and cohort.parquet",
        )
    table, outcomes = table.loc[ids], outcomes.loc[ids]
    has_dice = "dice" in table and table["dice"].notna().any()
    predictions = Predictions(
        model=model.name,
        set=which,
        patients=tuple(ids),
        fold=np.array(list(fold_of.values())) if which == "development" else None,
        event=outcomes["event"].to_numpy(float) if has_outcomes(outcomes) else None,
        dice=table["dice"].to_numpy(float) if has_dice else None,
        caveats="; ".join(_caveats_of(model)),
        overlaps=class_overlaps(table),
        distances=_known_columns(table, DISTANCES),
        lesions=_known_columns(table, LESIONS),
        pixels=_known_columns(table, PIXELS),
        labels=tuple(labels_of(table, outcomes)),
        boxes=model.boxes,
    )
    if "risk" not in table:
        return predictions
    survival, further = (
        {
            days: table[survival_column(days)].to_numpy(float)
            for days in times
            if survival_column(days) in table
        }
        for times in (
            sorted(settings.horizons_days),
            sorted(set(settings.curve_days) - set(settings.horizons_days)),
        )
    )
    risk = table["risk"].to_numpy(float)
    with_risk = RiskPredictions.of(predictions, survival_outcome(outcomes), risk, survival)
    return replace(with_risk, further_survival=further)


def _known_columns(table: pd.DataFrame, names: Sequence[str]) -> dict[str, Array]:
    """Those of some columns that a table has with a value of any patient."""
    return {c: table[c].to_numpy(float) for c in names if c in table and table[c].notna().any()}


def _caveats_of(model: EvaluatedModel) -> list[str]:
    """What a reader has to know of every number of a model."""
    caveats = list(model.info.get("caveats", []))
    if any(scale["from"] == "test" for member in model.info["members"].values() for scale in member):
        caveats.append("marked: Z-scores from test patients")
    return caveats


def survival_outcome(outcomes: pd.DataFrame) -> SurvivalOutcome:
    """Times, events and groups of patients, with their censoring distribution."""
    time, event = outcomes["time_days"].to_numpy(float), outcomes["event"].to_numpy(float)
    return SurvivalOutcome.of(time, event, groups_of(outcomes).to_numpy(dtype=object))


def on_same_patients(predictions: Sequence[Predictions]) -> list[Predictions]:
    """Predictions with survival probabilities at each time of the same patients in all models.

    A fold whose follow-up ends early gives no probability of its patients at a later time. They are
    left out of that time's scores for every model, so that a table compares models and not patients.
    A model without any probability at a time has no part in this.
    """
    common: dict[float, NDArray[np.bool_]] = {}
    with_risk = [each for each in predictions if isinstance(each, RiskPredictions)]
    for each in with_risk:
        for days, survival in each.all_survival().items():
            known = np.isfinite(survival)
            if known.any():
                common[days] = common.get(days, np.ones(len(known), dtype=bool)) & known
    return [_restricted(each, common) if isinstance(each, RiskPredictions) else each for each in predictions]


def _restricted(predictions: RiskPredictions, common: Mapping[float, NDArray[np.bool_]]) -> RiskPredictions:
    """Predictions without the probabilities of patients who are not common to all models."""
    survival, further = (
        {
            days: np.where(common[days], values, np.nan) if days in common else values
            for days, values in times.items()
        }
        for times in (predictions.survival, predictions.further_survival)
    )
    return replace(predictions, survival=survival, further_survival=further)
