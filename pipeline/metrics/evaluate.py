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
from pipeline.tables.predictions import DISTANCES, survival_column
from pipeline.tables.splits import Splits, read_splits

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
    """What there is to score models on.

    Attributes:
        cohort: `cohort.parquet`.
        splits: `splits.json`.
        detectors: Detecting network → the folders of its folds, in fold order.
    """

    cohort: Path
    splits: Path
    detectors: Mapping[str, Sequence[str | Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """An ensemble's table and information; of a detecting network the boxes of each fold."""

    name: str
    table: pd.DataFrame
    info: Mapping[str, Any]
    boxes: Mapping[int, pd.DataFrame]


def evaluate(
    ensembles: Mapping[str, Path], sources: Sources, settings: EvaluationSettings, seed: int, out: Path
) -> None:
    """Score all models on the development and external patients.

    Models without risk have rows in metrics.csv only, of masks, labels and boxes; where the
    cohort has no outcomes, numbers of events are empty there.

    Args:
        ensembles: Name → parquet of :func:`pipeline.ensemble.ensemble.ensemble`; its JSON
            lies beside it.
        sources: Outcomes, splits and boxes.
        settings: Horizons, bootstraps, groups and comparison.
        seed: Of the bootstraps; all models see the same resamples.
        out: Folder for metrics.csv, comparisons.csv (difference = model_a − model_b in C-index;
            or model_a's log hazard ratio per SD given model_b's risk),
            risk_groups.csv (group 1 = lowest risk), km.csv, observed.csv (Kaplan–Meier of
            all patients of a set) and calibration.csv.

    Raises:
        ModelError: A model lacks a patient of the splits, or `compare_with` names none.
    """
    if not ensembles:
        raise ModelError("there is no model to evaluate", action="name at least one under models")
    models = [_read_model(name, path, sources) for name, path in ensembles.items()]
    outcomes, folds = read_outcomes(sources.cohort), read_splits(sources.splits)
    _require_truth(models, outcomes)
    rows: Rows = {name: [] for name in COLUMNS}
    for which in ("development", "external"):
        expected = _expected(folds, which)
        if not expected:
            continue
        scored = [_scored(model, which, expected, outcomes, settings) for model in models]
        counts = resample_counts(len(expected), settings.bootstraps, seed, scored[0].fold)
        for model, one in zip(models, scored, strict=True):
            _add_model(rows, model, one, counts, settings)
        ranked = [one for one in scored if isinstance(one, RiskPredictions)]
        if ranked:
            members = {model.name: len(model.info["members"]) for model in models}
            rows["comparisons"].extend(compare(members, ranked, counts, settings))
        if has_outcomes(outcomes):
            data = _followup(outcomes.loc[list(expected)])
            rows["observed"].extend(observed_rows(which, data, settings.confidence))
    out.mkdir(parents=True, exist_ok=True)
    for name, columns in COLUMNS.items():
        _write(out / f"{name}.csv", columns, rows[name])


def _read_model(name: str, path: Path, sources: Sources) -> Model:
    import pandas as pd

    info = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    boxes = read_folds(sources.detectors.get(name, ()))
    return Model(name, pd.read_parquet(path).set_index("patient_id"), info, boxes)


def _expected(splits: Splits, which: str) -> dict[str, int]:
    """Patient → fold that held it out (external: −1), sorted by id."""
    if which == "external":
        return dict.fromkeys(sorted(splits.external), -1)
    return dict(sorted((p, k) for k, fold in enumerate(splits.folds) for p in fold.test))


def _scored(
    model: Model,
    which: str,
    expected: Mapping[str, int],
    outcomes: pd.DataFrame,
    settings: EvaluationSettings,
) -> Predictions:
    table = model.table[model.table["set"] == which]
    ids = list(expected)
    wrong = sorted(set(ids) ^ set(table.index)) + [p for p in ids if p not in outcomes.index]
    if wrong:
        raise ModelError(
            "a model's predictions and the study's splits name different patients",
            where=f"model {model.name}, {which} patients",
            got=", ".join(wrong[:5]),
            action="rerun the model on the present splits.json and cohort.parquet",
        )
    table, mine = table.loc[ids], outcomes.loc[ids]
    survival = {
        days: table[survival_column(days)].to_numpy(float)
        for days in sorted(settings.horizons_days)
        if survival_column(days) in table
    }
    has_dice = "dice" in table and table["dice"].notna().any()
    caveats = list(model.info.get("caveats", []))
    if any(f["from"] == "test" for member in model.info["members"].values() for f in member):
        caveats.append("marked: Z-scores from test patients")
    common = (
        model.name,
        which,
        tuple(ids),
        np.array(list(expected.values())) if which == "development" else None,
        mine["event"].to_numpy(float) if has_outcomes(outcomes) else None,
        table["dice"].to_numpy(float) if has_dice else None,
        "; ".join(caveats),
        {c: table[c].to_numpy(float) for c in DISTANCES if c in table and table[c].notna().any()},
        tuple(labels_of(table, mine)),
        model.boxes,
    )
    if "risk" not in table:
        return Predictions(*common)
    return RiskPredictions(
        *common, data=_followup(mine), risk=table["risk"].to_numpy(float), survival=survival
    )


def _followup(outcomes: pd.DataFrame) -> SurvivalOutcome:
    return SurvivalOutcome.of(outcomes["time_days"].to_numpy(float), outcomes["event"].to_numpy(float))


def _require_truth(models: Sequence[Model], outcomes: pd.DataFrame) -> None:
    ranked = [model.name for model in models if "risk" in model.table]
    if ranked and not has_outcomes(outcomes):
        raise ModelError(
            f"model {ranked[0]} predicts survival, and the cohort has no outcomes to judge it by",
            where="cohort.parquet",
            action="give the cohort table times and events, or remove the model",
        )


def _add_model(
    rows: Rows, model: Model, one: Predictions, counts: Array, settings: EvaluationSettings
) -> None:
    """Append a model's rows of every table but the comparisons."""
    common: dict[str, object] = {"model": one.model, "set": one.set}
    for row in score(one, counts, settings.confidence):
        rows["metrics"].append(
            {
                **common,
                "metric": row.metric,
                "value": row.interval.value,
                "ci_low": row.interval.low,
                "ci_high": row.interval.high,
                "patients": row.patients,
                "events": "" if row.events is None else row.events,
                "note": "; ".join(filter(None, (row.note, one.remark))),
            }
        )
    if isinstance(one, RiskPredictions):
        _add_risk(rows, model, one, settings)


def _add_risk(rows: Rows, model: Model, one: RiskPredictions, settings: EvaluationSettings) -> None:
    """Append risk groups, their curves and test, and calibration."""
    common: dict[str, object] = {"model": one.model, "set": one.set}
    group = assign_groups(one, cuts_by_fold(model.info, settings.risk_groups))
    chi_square, p_value, note = logrank_of(one, group)
    sizes: dict[str, object] = {"patients": len(one.risk), "events": int(one.data.event.sum())}
    sizes["note"] = "; ".join(filter(None, (note, one.remark)))
    for metric, value in (("logrank_chi2", chi_square), ("logrank_p", p_value)):
        rows["metrics"].append({**common, "metric": metric, "value": value, **sizes})
    rows["km"].extend(curve_rows(one, group, settings.confidence))
    rows["risk_groups"].extend(
        {
            **common,
            "patient_id": patient,
            "group": int(group[i]),
            "risk": one.risk[i],
            "time_days": one.data.time[i],
            "event": int(one.data.event[i]),
        }
        for i, patient in enumerate(one.patients)
    )
    for days, survival in one.survival.items():
        known = np.isfinite(survival)
        if known.sum() < 2 or one.data.why_not(days):
            continue
        data = SurvivalOutcome(one.data.time[known], one.data.event[known], one.data.censoring[known])
        for line in calibration_bins(data, survival[known], days, settings.confidence):
            rows["calibration"].append({**common, "horizon": days, **line})


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV; what is not a number is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_text(row.get(column, "")) for column in columns])


def _text(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{float(value):.10g}" if np.isfinite(value) else ""
    return str(value)
