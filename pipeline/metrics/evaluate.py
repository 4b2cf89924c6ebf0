"""The job `evaluate`: every model's metrics, comparisons, risk groups and calibration."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.bootstrap import MetricRow, holm, resample_counts
from pipeline.metrics.centres import CENTRE, pooled_rows
from pipeline.metrics.comparisons import compare
from pipeline.metrics.evaluated_models import (
    EvaluatedModel,
    Sources,
    evaluated_sets,
    on_same_patients,
    predictions_of,
    read_model,
    require_outcomes,
    survival_outcome,
)
from pipeline.metrics.hazard_ratio import hazard_ratio
from pipeline.metrics.network_importance import network_importance_rows
from pipeline.metrics.pairs import compare_pairs, uncompared_pairs
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.probability_tables import as_columns, probability_tables
from pipeline.metrics.proportional_hazards import proportional_hazards
from pipeline.metrics.recalibrated import COLUMNS as RECALIBRATED
from pipeline.metrics.recalibrated import recalibrated_rows
from pipeline.metrics.refitted import importance_rows, not_refitted_rows, refitted_rows
from pipeline.metrics.risk_groups import (
    assign_groups,
    cross_validated_logrank,
    curve_rows,
    cuts_by_fold,
    logrank_of,
    observed_rows,
)
from pipeline.metrics.roc_curves import roc_rows
from pipeline.metrics.scores import score
from pipeline.metrics.subgroups import subgroup_rows
from pipeline.metrics.time_curves import time_curves
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.tables.outcomes import groups_of, has_outcomes, read_outcomes
from pipeline.tables.splits import read_splits
from pipeline.tables.status import stage_folder

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
METRIC_COLUMNS = ("model", "set", "metric", "value", "ci_low", "ci_high", "patients", "events", "note")
COLUMNS = {
    "metrics": METRIC_COLUMNS,
    "subgroups": ("column", "level", *METRIC_COLUMNS),
    "comparisons": (
        "model_a",
        "model_b",
        "family",
        "set",
        "metric",
        "difference",
        "ci_low",
        "ci_high",
        "p_value",
        "p_holm",
        "patients",
        "events",
        "note",
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
    "calibration_curve": ("model", "set", "horizon", "predicted", "observed", "ci_low", "ci_high"),
    "recalibrated": RECALIBRATED,
    "importance": ("model", "column", "drop", "sd", "permutations"),
    "time_curves": ("model", "set", "metric", "time", "value", "ci_low", "ci_high", "patients"),
    "decision_curves": ("model", "set", "horizon", "threshold", "net_benefit", "treat_all"),
    "roc_curves": (
        "model",
        "set",
        "outcome",
        "horizon",
        "false_positive",
        "true_positive",
        "area",
        "patients",
    ),
}
"""Header of each CSV file that :func:`evaluate` writes."""
Rows = dict[str, list[dict[str, object]]]


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
        out: Folder for metrics.csv, subgroups.csv (the same metrics in each level of
            `evaluation.subgroups`), comparisons.csv (difference = model_a − model_b in the metric;
            or model_a's log hazard ratio per SD given model_b's risk; family: what the p-values are
            adjusted over),
            risk_groups.csv (group 1 = lowest risk), km.csv, observed.csv (Kaplan–Meier of
            all patients of a set), calibration.csv, calibration_curve.csv,
            recalibrated.csv (external patients only), decision_curves.csv,
            time_curves.csv (AUC and Brier score over follow-up), roc_curves.csv
            and importance.csv (of columns and image channels).

    Raises:
        ModelError: A model lacks a patient of the splits, or `compare_with` is not one of them.
    """
    if not ensembles:
        raise ModelError("there is no model to evaluate", action="name at least one under models")
    everything = [read_model(name, path, sources) for name, path in ensembles.items()]
    outcomes, splits = read_outcomes(sources.cohort), read_splits(sources.splits)
    require_outcomes(everything, outcomes)
    rows: Rows = {name: [] for name in COLUMNS}
    for part in evaluated_sets(everything, splits):
        which, models, fold_of = part.which, part.models, part.fold_of
        predictions = on_same_patients(
            [predictions_of(model, which, fold_of, outcomes, settings) for model in models]
        )
        group = groups_of(outcomes)[list(fold_of)].to_list() if "group" in outcomes else None
        counts = resample_counts(len(fold_of), settings.bootstraps, seed, predictions[0].fold, group)
        scores = {each.model: list(score(each, counts, settings.confidence)) for each in predictions}
        for model, of_model in zip(models, predictions, strict=True):
            _add_model(rows, model, of_model, scores[model.name], counts, settings)
            if model.validation is None and of_model.fold is not None:
                refused = not_refitted_rows(
                    of_model, repeats=bool(splits.repeats), optimism=settings.optimism_bootstraps > 0
                )
                rows["metrics"].extend(_metric_row(of_model, row) for row in refused)
            _add_subgroups(rows, of_model, outcomes, counts, settings)
        rows["comparisons"].extend(compare_pairs(scores, which, settings.comparisons, settings.confidence))
        with_risk = [each for each in predictions if isinstance(each, RiskPredictions)]
        if with_risk:
            _add_adjusted_logrank(rows, which)
            members = {model.name: len(model.info["members"]) for model in models}
            rows["comparisons"].extend(compare(members, with_risk, counts, settings))
        if has_outcomes(outcomes) and not part.subset:
            outcome = survival_outcome(outcomes.loc[list(fold_of)])
            rows["observed"].extend(observed_rows(which, outcome, counts, settings.confidence))
    parts = {model.name: model.subset for model in everything}
    rows["comparisons"].extend(uncompared_pairs(rows["comparisons"], settings.comparisons, parts))
    with stage_folder("evaluate", out) as folder:
        for name, columns in COLUMNS.items():
            _write(folder / f"{name}.csv", columns, rows[name])


def _add_model(
    rows: Rows,
    model: EvaluatedModel,
    predictions: Predictions,
    scored: Sequence[MetricRow],
    counts: Array,
    settings: EvaluationSettings,
) -> None:
    """Append a model's rows of every table but the comparisons and subgroups."""
    rows["metrics"].extend(_metric_row(predictions, row) for row in scored)
    named = {"model": predictions.model, "set": predictions.set}
    rows["roc_curves"].extend({**named, **point} for point in roc_rows(predictions))
    if isinstance(predictions, RiskPredictions):
        # A member of a bundle has none: the bundle holds the cuts of the model that it predicts with.
        if model.info["folds"]:
            _add_risk_groups(rows, model, predictions, counts, settings)
        _add_probabilities(rows, predictions, counts, settings.confidence)
        _add_time_curves(rows, predictions, counts, settings.confidence)
        if predictions.fold is None:
            rows["recalibrated"].extend(recalibrated_rows(predictions))
        rows["metrics"].append(_metric_row(predictions, proportional_hazards(predictions)))
    if model.validation is not None and predictions.fold is not None:
        refitted = refitted_rows(predictions, model.validation)
        rows["metrics"].extend(_metric_row(predictions, row) for row in refitted)
        rows["importance"].extend(importance_rows(model.name, model.validation))
    if (
        model.permuted is not None
        and isinstance(predictions, RiskPredictions)
        and predictions.fold is not None
    ):
        rows["importance"].extend(network_importance_rows(predictions, model.permuted))


def _metric_row(predictions: Predictions, row: MetricRow) -> dict[str, object]:
    """A line of `metrics.csv`."""
    note = "; ".join(filter(None, (row.note, predictions.caveats)))
    return {"model": predictions.model, "set": predictions.set, **as_columns(row), "note": note}


def _add_subgroups(
    rows: Rows, predictions: Predictions, outcomes: pd.DataFrame, counts: Array, settings: EvaluationSettings
) -> None:
    """Append a model's metrics in each level of the columns that the study names, and pooled over centres."""
    of_levels = list(subgroup_rows(predictions, outcomes, settings.subgroups, counts, settings.confidence))
    for column, level, row in of_levels:
        rows["subgroups"].append({"column": column, "level": level, **_metric_row(predictions, row)})
    of_centres = [row for column, _, row in of_levels if column == CENTRE]
    pooled = pooled_rows(of_centres, settings.confidence)
    rows["metrics"].extend(_metric_row(predictions, row) for row in pooled)


def _add_risk_groups(
    rows: Rows,
    model: EvaluatedModel,
    predictions: RiskPredictions,
    counts: Array,
    settings: EvaluationSettings,
) -> None:
    """Append risk groups, their curves and test."""
    outcome = predictions.outcome
    common: dict[str, object] = {"model": predictions.model, "set": predictions.set}
    group = assign_groups(predictions, cuts_by_fold(model.info, settings.risk_groups))
    test = logrank_of(predictions, group)
    if predictions.fold is not None:
        test = cross_validated_logrank(test, model.permutations)
    shared: dict[str, object] = {
        **common,
        "patients": len(predictions.risk),
        "events": int(outcome.event.sum()),
        "note": "; ".join(filter(None, (test.note, predictions.caveats))),
    }
    for metric, value in (("logrank_chi2", test.chi_square), ("logrank_p", test.p_value)):
        rows["metrics"].append({**shared, "metric": metric, "value": value})
    ratio = hazard_ratio(predictions, group, counts, settings.confidence)
    rows["metrics"].append(_metric_row(predictions, ratio))
    if not outcome.few_events_reason():
        rows["km"].extend(curve_rows(predictions, group, counts, settings.confidence))
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


def _add_adjusted_logrank(rows: Rows, which: str) -> None:
    """Append the log-rank p-values of a set adjusted for its number of models (Holm)."""
    tests = [row for row in rows["metrics"] if row["set"] == which and row["metric"] == "logrank_p"]
    adjusted = holm(np.array([row["value"] for row in tests], dtype=float))
    rows["metrics"].extend(
        {**row, "metric": "logrank_p_holm", "value": float(value)}
        for row, value in zip(tests, adjusted, strict=True)
    )


def _add_probabilities(rows: Rows, predictions: RiskPredictions, counts: Array, confidence: float) -> None:
    """Append calibration and decision curves at each horizon that follow-up reaches."""
    common: dict[str, object] = {"model": predictions.model, "set": predictions.set}
    for tables in probability_tables(predictions, counts, confidence):
        for row in tables.metrics:
            note = "; ".join(filter(None, (row.note, predictions.caveats)))
            rows["metrics"].append({**common, **as_columns(row), "note": note})
        at_horizon = {**common, "horizon": tables.horizon}
        rows["calibration"].extend({**at_horizon, **row} for row in tables.bins)
        rows["calibration_curve"].extend({**at_horizon, **row} for row in tables.curve)
        rows["decision_curves"].extend({**at_horizon, **row} for row in tables.decisions)


def _add_time_curves(rows: Rows, predictions: RiskPredictions, counts: Array, confidence: float) -> None:
    """Append the AUC and the Brier score over follow-up, and the AUC's weighted mean."""
    curves = time_curves(predictions, counts, confidence)
    common: dict[str, object] = {"model": predictions.model, "set": predictions.set}
    for row in curves.metrics:
        rows["metrics"].append(_metric_row(predictions, row))
    rows["time_curves"].extend({**common, **point} for point in curves.points)


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
