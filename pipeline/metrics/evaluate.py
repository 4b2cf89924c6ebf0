"""The job `evaluate`: every model's metrics, comparisons, risk groups and calibration."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.comparisons import compare
from pipeline.metrics.detection import read_folds
from pipeline.metrics.labels import labels_of
from pipeline.metrics.risk_groups import assign_groups, curve_rows, cuts_by_fold, logrank_of, observed_rows
from pipeline.metrics.scores import Predictions, RiskPredictions, score
from pipeline.metrics.time_dependent import SurvivalOutcome, calibration_bins
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.tables.outcomes import has_outcomes, read_outcomes
from pipeline.tables.parquet import read_frame
from pipeline.tables.predictions import DISTANCES, survival_column
from pipeline.tables.splits import Splits, read_splits
from pipeline.tables.status import stage_folder

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
COLUMNS = {
    "metrics": ("model", "set", "metric", "value", "ci_low", "ci_high", "patients", "events", "note"),
    "comparisons": (
        "model_a",
        "model_b",
        "set",
        "metric",
        "difference",
        "ci_low",
        "ci_high",
        "p_value",
        "p_holm",
        "patients",
        "events",
    ),
    "risk_groups": ("patient_id", "model", "set", "group", "risk", "time_days", "event"),
    "km": ("model", "set", "group", "time", "survival", "ci_low", "ci_high", "at_risk"),
    "observed": ("set", "time", "survival", "ci_low", "ci_high", "at_risk"),
    "calibration": (
        "model",
        "set",
        "horizon",
        "bin",
        "predicted",
        "observed",
        "ci_low",
        "ci_high",
        "patients",
    ),
}
"""Header of each CSV file that :func:`evaluate` writes."""
Rows = dict[str, list[dict[str, object]]]


@dataclass(frozen=True)
class Sources:
    """What models are evaluated on.

    Attributes:
        cohort: `cohort.parquet`.
        splits: `splits.json`.
        detectors: Detecting network → the folders of its folds, in fold order.
    """

    cohort: Path
    splits: Path
    detectors: Mapping[str, Sequence[str | Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatedModel:
    """What there is of a model.

    Attributes:
        name: Name of the model.
        table: The ensemble's table, indexed by patient_id.
        info: The ensemble's JSON.
        boxes: Fold → `detections.parquet`; empty unless it is a detecting network.
    """

    name: str
    table: pd.DataFrame
    info: Mapping[str, Any]
    boxes: Mapping[int, pd.DataFrame]


def evaluate(
    ensembles: Mapping[str, Path], sources: Sources, settings: EvaluationSettings, seed: int, out: Path
) -> None:
    """Evaluate all models on the development and external patients.

    Models without risk have rows in metrics.csv only, of masks, labels and boxes; where the
    cohort has no outcomes, numbers of events are empty there.

    Args:
        ensembles: Name → parquet of :func:`pipeline.ensemble.ensemble.ensemble`; its JSON
            lies beside it.
        sources: Outcomes, splits and boxes.
        settings: Horizons, bootstraps, groups and comparison.
        seed: Seed of the bootstraps; all models see the same resamples.
        out: Folder for metrics.csv, comparisons.csv (difference = model_a − model_b in C-index;
            or model_a's log hazard ratio per SD given model_b's risk),
            risk_groups.csv (group 1 = lowest risk), km.csv, observed.csv (Kaplan–Meier of
            all patients of a set) and calibration.csv.

    Raises:
        ModelError: A model lacks a patient of the splits, or `compare_with` is not one of them.
    """
    if not ensembles:
        raise ModelError("there is no model to evaluate", action="name at least one under models")
    models = [_read_model(name, path, sources) for name, path in ensembles.items()]
    outcomes, splits = read_outcomes(sources.cohort), read_splits(sources.splits)
    _require_outcomes(models, outcomes)
    rows: Rows = {name: [] for name in COLUMNS}
    for which in ("development", "external"):
        fold_of = _fold_of_patients(splits, which)
        if not fold_of:
            continue
        predictions = [_predictions_of(model, which, fold_of, outcomes, settings) for model in models]
        counts = resample_counts(len(fold_of), settings.bootstraps, seed, predictions[0].fold)
        for model, of_model in zip(models, predictions, strict=True):
            _add_model(rows, model, of_model, counts, settings)
        with_risk = [each for each in predictions if isinstance(each, RiskPredictions)]
        if with_risk:
            members = {model.name: len(model.info["members"]) for model in models}
            rows["comparisons"].extend(compare(members, with_risk, counts, settings))
        if has_outcomes(outcomes):
            outcome = _survival_outcome(outcomes.loc[list(fold_of)])
            rows["observed"].extend(observed_rows(which, outcome, settings.confidence))
    with stage_folder("evaluate", out) as folder:
        for name, columns in COLUMNS.items():
            _write(folder / f"{name}.csv", columns, rows[name])


def _read_model(name: str, path: Path, sources: Sources) -> EvaluatedModel:

    info = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    boxes = read_folds(sources.detectors.get(name, ()))
    return EvaluatedModel(name, read_frame(path).set_index("patient_id"), info, boxes)


def _require_outcomes(models: Sequence[EvaluatedModel], outcomes: pd.DataFrame) -> None:
    with_risk = [model.name for model in models if "risk" in model.table]
    if with_risk and not has_outcomes(outcomes):
        raise ModelError(
            f"model {with_risk[0]} predicts survival, and the cohort has no outcomes to evaluate it by",
            where="cohort.parquet",
            action="give the cohort table times and events, or remove the model",
        )


def _fold_of_patients(splits: Splits, which: str) -> dict[str, int]:
    """Patient → fold that has it as a test patient (external: −1), sorted by id."""
    if which == "external":
        return dict.fromkeys(sorted(splits.external), -1)
    return dict(sorted((p, number) for number, fold in enumerate(splits.folds) for p in fold.test))


def _predictions_of(
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
        distances={c: table[c].to_numpy(float) for c in DISTANCES if c in table and table[c].notna().any()},
        labels=tuple(labels_of(table, outcomes)),
        boxes=model.boxes,
    )
    if "risk" not in table:
        return predictions
    survival = {
        days: table[survival_column(days)].to_numpy(float)
        for days in sorted(settings.horizons_days)
        if survival_column(days) in table
    }
    risk = table["risk"].to_numpy(float)
    return RiskPredictions.of(predictions, _survival_outcome(outcomes), risk, survival)


def _caveats_of(model: EvaluatedModel) -> list[str]:
    """What a reader has to know of every number of a model."""
    caveats = list(model.info.get("caveats", []))
    if any(scale["from"] == "test" for member in model.info["members"].values() for scale in member):
        caveats.append("marked: Z-scores from test patients")
    return caveats


def _survival_outcome(outcomes: pd.DataFrame) -> SurvivalOutcome:
    return SurvivalOutcome.of(outcomes["time_days"].to_numpy(float), outcomes["event"].to_numpy(float))


def _add_model(
    rows: Rows,
    model: EvaluatedModel,
    predictions: Predictions,
    counts: Array,
    settings: EvaluationSettings,
) -> None:
    """Append a model's rows of every table but the comparisons."""
    common: dict[str, object] = {"model": predictions.model, "set": predictions.set}
    for row in score(predictions, counts, settings.confidence):
        rows["metrics"].append(
            {
                **common,
                "metric": row.metric,
                "value": row.interval.value,
                "ci_low": row.interval.low,
                "ci_high": row.interval.high,
                "patients": row.patients,
                "events": "" if row.events is None else row.events,
                "note": "; ".join(filter(None, (row.note, predictions.caveats))),
            }
        )
    if isinstance(predictions, RiskPredictions):
        _add_risk_groups(rows, model, predictions, settings)
        _add_calibration(rows, predictions, settings.confidence)


def _add_risk_groups(
    rows: Rows, model: EvaluatedModel, predictions: RiskPredictions, settings: EvaluationSettings
) -> None:
    """Append risk groups, their curves and test."""
    outcome = predictions.outcome
    common: dict[str, object] = {"model": predictions.model, "set": predictions.set}
    group = assign_groups(predictions, cuts_by_fold(model.info, settings.risk_groups))
    test = logrank_of(predictions, group)
    shared: dict[str, object] = {
        **common,
        "patients": len(predictions.risk),
        "events": int(outcome.event.sum()),
        "note": "; ".join(filter(None, (test.note, predictions.caveats))),
    }
    for metric, value in (("logrank_chi2", test.chi_square), ("logrank_p", test.p_value)):
        rows["metrics"].append({**shared, "metric": metric, "value": value})
    rows["km"].extend(curve_rows(predictions, group, settings.confidence))
    rows["risk_groups"].extend(
        {
            **common,
            "patient_id": patient,
            "group": int(group[i]),
            "risk": predictions.risk[i],
            "time_days": outcome.time[i],
            "event": int(outcome.event[i]),
        }
        for i, patient in enumerate(predictions.patients)
    )


def _add_calibration(rows: Rows, predictions: RiskPredictions, confidence: float) -> None:
    """Append predicted and observed survival at each horizon that follow-up reaches."""
    common: dict[str, object] = {"model": predictions.model, "set": predictions.set}
    outcome = predictions.outcome
    for days, survival in predictions.survival.items():
        known = np.isfinite(survival)
        if known.sum() < 2 or outcome.no_value_reason(days):
            continue
        of_known = SurvivalOutcome(outcome.time[known], outcome.event[known], outcome.censoring[known])
        for row in calibration_bins(of_known, survival[known], days, confidence):
            rows["calibration"].append({**common, "horizon": days, **row})


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV; a number that is not finite is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_text(row.get(column, "")) for column in columns])


def _text(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{float(value):.10g}" if np.isfinite(value) else ""
    return str(value)
