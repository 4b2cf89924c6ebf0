"""Tables of the cohort and of its scores, made from what the stages wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.metrics.kaplan_meier import median_follow_up
from pipeline.metrics.pairs import FAMILY as LISTED_PAIRS
from pipeline.report.forests import sets_in
from pipeline.report.formatting import (
    MISSING,
    display_name,
    format_cell,
    format_interval,
    format_p_value,
    is_known,
)
from pipeline.report.job import ReportJob
from pipeline.report.mask_classes import MASK_COLUMNS, class_columns
from pipeline.report.survival_figures import group_name, survival_at
from pipeline.tables.outcomes import has_outcomes
from pipeline.tables.splits import Splits
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

NOT_ESTIMATED = ": not estimated"
"""Ends the note of a score that a set has too few events for."""
MOST_LEVELS = 6
"""Distinct values up to which a clinical column is counted rather than summarised."""


def cohort_table(cohort: pd.DataFrame, time_unit: str) -> pd.DataFrame:
    """Patients, events and follow-up where there are outcomes, clinical columns; a column per set."""
    import pandas as pd

    unit = "" if time_unit == "none" else ", days"
    rows = []
    for name, part in cohort.groupby("set", sort=True):
        row = {"Set": str(name).capitalize(), "Patients": str(len(part))}
        if has_outcomes(cohort):
            time = part["time_days"]
            row["Events"] = f"{int(part['event'].sum())} ({part['event'].mean():.0%})"
            title = f"Time to event or last follow-up{unit}: median (range)"
            row[title] = f"{time.median():.4g} ({time.min():.4g}–{time.max():.4g})"
            followed = median_follow_up(time.to_numpy(float), part["event"].to_numpy(float))
            row[f"Median follow-up{unit} (reverse Kaplan–Meier)"] = (
                f"{followed:.4g}" if is_known(followed) else MISSING
            )
        row["Centres"] = str(part["centre"].nunique())
        for column in (str(c) for c in cohort.columns if str(c).startswith("clinical_")):
            levels = cohort[column].nunique() <= MOST_LEVELS
            counted = levels or cohort[column].dtype.kind != "f"
            title = display_name(column.removeprefix("clinical_")).capitalize()
            row[title + (": patients" if counted else ": median (range)")] = summary(part[column], levels)
        rows.append(row)
    return pd.DataFrame(rows).set_index("Set").T.reset_index(names="")


def summary(values: pd.Series, levels: bool) -> str:
    """Numbers: median (range), or counts where the cohort has few levels; text: counts.

    The number of missing values is appended.
    """
    missing = int(values.isna().sum())
    present = values.dropna()
    tail = f"; missing: {missing}" if missing else ""
    if present.empty:
        return "all missing"
    if present.dtype.kind == "f" and not levels:
        return f"{present.median():.3g} ({present.min():.3g}–{present.max():.3g}){tail}"
    counts = Counter(format_cell(value) for value in present)
    return ", ".join(f"{level}: {count}" for level, count in sorted(counts.items())) + tail


@dataclass(frozen=True)
class PerformanceTables:
    """A row per set and model, intervals in brackets; a table of scores that no model has is empty.

    Attributes:
        discrimination: C-index and time-dependent AUC.
        calibration: Brier scores, observed over expected events.
        agreement: Calibration intercept and slope, ICI, E50 and E90.
        masks: Dice and surface distances of segmenting networks.
        boxes: Average precision of detecting networks.
        labels: Accuracy, AUC and F1 of class outcomes.
    """

    discrimination: pd.DataFrame
    calibration: pd.DataFrame
    agreement: pd.DataFrame
    masks: pd.DataFrame
    boxes: pd.DataFrame
    labels: pd.DataFrame


def training_sizes(splits: Splits, cohort: pd.DataFrame) -> str:
    """Numbers of training patients, and in brackets their events, of the folds: `24–25 (11–12)`; empty without."""
    if not splits.folds:
        return ""
    numbers = [len(fold.train) for fold in splits.folds]
    text = _range(numbers)
    if has_outcomes(cohort):
        text += f" ({_range([int(cohort.loc[list(fold.train), 'event'].sum()) for fold in splits.folds])})"
    return text


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}–{high}"


def probability_basis(job: ReportJob) -> pd.DataFrame:
    """Of each model that predicts survival: what its probabilities rest on, over its folds."""
    import pandas as pd

    rows = []
    for model in job.survival_models():
        paths = [folder / "model.json" for folder in job.folds(model)]
        contents = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
        folds = [content["baseline"] for content in contents if "baseline" in content]
        if not folds:
            continue
        slopes = [fold["slope"] for fold in folds]
        patients, events = (_range([fold[key] for fold in folds]) for key in ("patients", "events"))
        rows.append(
            {
                "Model": display_name(model),
                "Patients (events)": f"{patients} ({events})",
                "Source": "; ".join(dict.fromkeys(fold["source"] for fold in folds)),
                "Slope": f"{min(slopes):.2f} to {max(slopes):.2f}",
            }
        )
    return pd.DataFrame(rows)


def performance(
    metrics: pd.DataFrame, horizons: Iterable[float], unit: str, trained_on: str
) -> PerformanceTables:
    """The tables of scores.

    Args:
        metrics: `metrics.csv`.
        horizons: Times of evaluation (days).
        unit: The study's unit of time.
        trained_on: Numbers of training patients and events, as :func:`training_sizes` gives them; where they are
            empty, no table says them.
    """
    horizons = sorted(horizons)
    concordance = {"C-index": "c_index", "C-index, pooled": "c_index_pooled", "Uno’s C": "c_index_uno"}
    concordance["C-index over centres"] = "c_index_centres"
    spread = {"Royston’s D": "royston_d", "R²D": "r2_d"}
    aucs = {f"AUC, {horizon_name(d, unit)}": f"auc_{d:g}d" for d in horizons}
    aucs["AUC, over follow-up"] = "auc_integrated"
    probabilities: dict[str, str] = {}
    for days in horizons:
        name = horizon_name(days, unit)
        probabilities[f"Brier, {name}"] = f"brier_{days:g}d"
        probabilities[f"Skill, {name}"] = f"brier_skill_{days:g}d"
        probabilities[f"Observed/expected, {name}"] = f"observed_expected_{days:g}d"
    probabilities["Integrated Brier"] = "ibs"
    measures = {"Intercept": "calibration_intercept", "Slope": "calibration_slope"}
    measures |= {"ICI": "ici", "E50": "e50", "E90": "e90"}
    agreement = {
        f"{title}, {horizon_name(days, unit)}": f"{metric}_{days:g}d"
        for days in horizons
        for title, metric in measures.items()
    }
    return PerformanceTables(
        discrimination=_wide(metrics, {**concordance, **spread, **aucs}, trained_on),
        calibration=_wide(metrics, probabilities, trained_on),
        agreement=_wide(metrics, agreement, trained_on),
        masks=_wide(metrics, {**MASK_COLUMNS, **class_columns(metrics)}),
        boxes=_wide(metrics, {"Average precision, overlap 0.5": "average_precision_iou50"}),
        labels=_wide(metrics, _label_columns(metrics)),
    )


def _label_columns(metrics: pd.DataFrame) -> dict[str, str]:
    """Title → metric of every class outcome: accuracy, AUC, F1, Brier score and slope of the calibration."""
    titles = {"accuracy": "accuracy", "auc": "AUC", "f1": "F1"}
    titles |= {"brier": "Brier", "calibration_slope": "slope"}
    names = [name for name in map(str, metrics["metric"].unique()) if name.startswith("label_")]
    return {
        f"{display_name(name[6:].removesuffix(f'_{score}')).capitalize()}, {title}": name
        for name in names for score, title in titles.items() if name.endswith(f"_{score}")
    }  # fmt: skip


def _wide(metrics: pd.DataFrame, columns: dict[str, str], trained_on: str | None = None) -> pd.DataFrame:
    """A row per set and model: its scores, then on how many patients (and events) the first is based.

    A score that rests on other patients than the first says its own number in square brackets; a
    score of too few events says so in place of a value.

    Args:
        metrics: `metrics.csv`.
        columns: Title → metric.
        trained_on: Numbers of training patients and events, or empty; None where scores are not of survival.
    """
    import pandas as pd

    events = trained_on is not None
    refused = metrics["note"].astype(str).str.contains(NOT_ESTIMATED, regex=False)
    shown = metrics[metrics["value"].notna() | (metrics["value"].isna() & refused)]
    values, patients, numbers = {}, {}, {}
    for row in shown.to_dict("records"):
        key = (row["set"], row["model"], row["metric"])
        values[key] = format_interval(row["value"], row["ci_low"], row["ci_high"])
        if not is_known(row["value"]):
            values[key] = next(part for part in str(row["note"]).split("; ") if NOT_ESTIMATED in part)
        numbers[key] = f"{row['patients']:.0f}"
        patients[key] = numbers[key] + (f" ({row['events']:.0f})" if events else "")
    used = {title: metric for title, metric in columns.items() if metric in set(shown["metric"])}
    rows = []
    for name in sets_in(metrics):
        for model in metrics.loc[metrics["set"] == name, "model"].unique():
            scored = [metric for metric in used.values() if (name, model, metric) in values]
            if not scored:
                continue
            first = numbers[name, model, scored[0]]
            cells = {}
            for title, metric in used.items():
                key = (name, model, metric)
                other = numbers.get(key, first) != first
                cells[title] = values.get(key, MISSING) + (f" [{numbers[key]}]" if other else "")
            counted = {"Patients (events)" if events else "Patients": patients[name, model, scored[0]]}
            if trained_on:
                counted["Trained on, per fold"] = trained_on
            rows.append({"Set": name.capitalize(), "Model": display_name(model), **cells, **counted})
    return pd.DataFrame(rows)


def comparisons_on_page(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Differences in C-index from the model compared with, with interval and p-values, as printed."""
    against_one = comparisons[comparisons["family"] != LISTED_PAIRS]
    return print_differences(against_one, "c_index", ("Compared with", "Difference in C-index"))


def added_value_on_page(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Nested Cox models on held-out risks: hazard ratio per SD of the added risk, as printed."""
    import numpy as np

    numbers = ["difference", "ci_low", "ci_high"]
    ratios = comparisons.assign(**{c: np.exp(comparisons[c].astype(float)) for c in numbers})
    return print_differences(ratios, "added_log_hazard_ratio", ("Given", "Hazard ratio per SD"))


def print_differences(comparisons: pd.DataFrame, metric: str, titles: tuple[str, str]) -> pd.DataFrame:
    """Rows of one metric; `titles` are those of the other model's and of the value's column."""
    import pandas as pd

    chosen = comparisons[comparisons["metric"] == metric]
    rows = [
        {
            "Set": str(row["set"]).capitalize(),
            "Model": display_name(str(row["model_a"])),
            titles[0]: display_name(str(row["model_b"])),
            titles[1]: format_interval(row["difference"], row["ci_low"], row["ci_high"]),
            "p": format_p_value(row["p_value"]),
            "p, Holm": format_p_value(row.get("p_holm")),
        }
        for name in sets_in(chosen)
        for row in chosen[chosen["set"] == name].to_dict("records")
    ]
    return pd.DataFrame(rows)


def risk_groups(folder: Path, job: ReportJob) -> pd.DataFrame:
    """Of the headline model's risk groups: patients, events, survival at each horizon.

    Survival is read off `km.csv`; nothing is estimated here.

    Args:
        folder: The study's folder `metrics/`.
        job: The study.
    """
    import pandas as pd

    patients = pd.read_csv(folder / "risk_groups.csv")
    curves = pd.read_csv(folder / "km.csv")
    patients, curves = (table[table["model"] == job.headline] for table in (patients, curves))
    rows = []
    for name in sets_in(patients):
        for group, part in patients[patients["set"] == name].groupby("group", sort=True):
            row: dict[str, Any] = {
                "Set": name.capitalize(),
                "Group": group_name(int(group), job.settings.evaluation.risk_groups),
                "Patients": len(part),
                "Events": int(part["event"].sum()),
            }
            curve = curves[(curves["set"] == name) & (curves["group"] == group)]
            rows.append(row | _survival_at_horizons(curve, job))
    return pd.DataFrame(rows)


def _survival_at_horizons(curve: pd.DataFrame, job: ReportJob) -> dict[str, str]:
    """Title of each horizon → survival of a risk group, with its interval."""
    cells = {}
    for days in sorted(job.settings.evaluation.horizons_days):
        survival, low, high = survival_at(curve, days)
        # Where nobody or everybody had the event there is no log-log interval.
        low, high = (low, high) if low < high else (float("nan"), float("nan"))
        title = f"Survival, {horizon_name(days, job.settings.cohort.time_unit)}"
        cells[title] = format_interval(survival, low, high, 2)
    return cells
