"""The report's tables, made from what the stages wrote."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.report.flow import Sets
from pipeline.report.forests import sets_in
from pipeline.report.formatting import cell, horizon_name, interval, p_value, pretty
from pipeline.report.job import ReportJob
from pipeline.report.survival_figures import group_name, survival_at
from pipeline.tables.outcomes import has_outcomes

if TYPE_CHECKING:
    import pandas as pd

FEW_EVENTS = 20
MOST_LEVELS = 6
NUMBERS = re.compile(r"\d+(\.\d+)?")


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
        row["Centres"] = str(part["centre"].nunique())
        for column in (str(c) for c in cohort.columns if str(c).startswith("clinical_")):
            levels = cohort[column].nunique() <= MOST_LEVELS
            counted = levels or cohort[column].dtype.kind != "f"
            title = pretty(column.removeprefix("clinical_")).capitalize()
            row[title + (": patients" if counted else ": median (range)")] = summary(part[column], levels)
        rows.append(row)
    return pd.DataFrame(rows).set_index("Set").T.reset_index(names="")


def summary(values: pd.Series, levels: bool) -> str:
    """Numbers: median (range), or counts where the cohort has few levels; text: counts.

    Blanks are told.
    """
    missing = int(values.isna().sum())
    there = values.dropna()
    tail = f"; missing: {missing}" if missing else ""
    if there.empty:
        return "all missing"
    if there.dtype.kind == "f" and not levels:
        return f"{there.median():.3g} ({there.min():.3g}–{there.max():.3g}){tail}"
    counts = Counter(cell(v) for v in there)
    return ", ".join(f"{level}: {count}" for level, count in sorted(counts.items())) + tail


def performance(metrics: pd.DataFrame, horizons: Iterable[float], unit: str) -> dict[str, pd.DataFrame]:
    """Tables `discrimination`, `calibration`, `masks`, `boxes` and `labels`, those with rows.

    A row per set and model, intervals in brackets.
    """
    horizons = sorted(horizons)
    concordance = {"C-index": "c_index", "C-index, pooled": "c_index_pooled", "Uno’s C": "c_index_uno"}
    aucs = {f"AUC, {horizon_name(d, unit)}": f"auc_{d:g}d" for d in horizons}
    probabilities: dict[str, str] = {}
    for days in horizons:
        name = horizon_name(days, unit)
        probabilities[f"Brier, {name}"] = f"brier_{days:g}d"
        probabilities[f"Skill, {name}"] = f"brier_skill_{days:g}d"
        probabilities[f"Observed/expected, {name}"] = f"observed_expected_{days:g}d"
    probabilities["Integrated Brier"] = "ibs"
    return {
        "discrimination": _wide(metrics, {**concordance, **aucs}, events=True),
        "masks": _wide(metrics, {"Dice": "dice", "HD95, mm": "hd95_mm", "ASSD, mm": "assd_mm"}),
        "boxes": _wide(metrics, {"Average precision, overlap 0.5": "average_precision_iou50"}),
        "labels": _wide(metrics, _label_columns(metrics)),
        "calibration": _wide(metrics, probabilities, events=True),
    }


def _label_columns(metrics: pd.DataFrame) -> dict[str, str]:
    """Title → metric of every class outcome: accuracy, AUC and F1."""
    titles = {"accuracy": "accuracy", "auc": "AUC", "f1": "F1"}
    found = {}
    for metric in metrics["metric"].unique():
        name, _, score = str(metric).rpartition("_")
        if name.startswith("label_") and score in titles:
            found[f"{pretty(name.removeprefix('label_')).capitalize()}, {titles[score]}"] = str(metric)
    return found


def _wide(metrics: pd.DataFrame, columns: dict[str, str], *, events: bool = False) -> pd.DataFrame:
    """A row per set and model: its scores, then how many patients (and events) the first of them rests on."""
    import pandas as pd

    known = metrics[metrics["value"].notna()]
    found = {
        (r["set"], r["model"], r["metric"]): interval(r["value"], r["ci_low"], r["ci_high"])
        for r in known.to_dict("records")
    }
    people = {
        (r["set"], r["model"], r["metric"]): f"{r['patients']:.0f}"
        + (f" ({r['events']:.0f})" if events else "")
        for r in known.to_dict("records")
    }
    used = {title: metric for title, metric in columns.items() if metric in set(known["metric"])}
    rows = []
    for name in sets_in(metrics):
        for model in metrics.loc[metrics["set"] == name, "model"].unique():
            values = {title: found.get((name, model, metric), "–") for title, metric in used.items()}
            scored = [metric for metric in used.values() if (name, model, metric) in found]
            if scored:
                counted = {"Patients (events)" if events else "Patients": people[name, model, scored[0]]}
                rows.append({"Set": name.capitalize(), "Model": pretty(model), **values, **counted})
    return pd.DataFrame(rows)


def comparisons_on_page(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Differences in C-index with interval and p-values, as printed."""
    return _printed(comparisons, "c_index", ("Compared with", "Difference in C-index"))


def added_value_on_page(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Nested Cox models on held-out risks: hazard ratio per SD of the added risk, as printed."""
    import numpy as np

    numbers = ["difference", "ci_low", "ci_high"]
    ratios = comparisons.assign(**{c: np.exp(comparisons[c].astype(float)) for c in numbers})
    return _printed(ratios, "added_log_hazard_ratio", ("Given", "Hazard ratio per SD"))


def _printed(comparisons: pd.DataFrame, metric: str, titles: tuple[str, str]) -> pd.DataFrame:
    import pandas as pd

    chosen = comparisons[comparisons["metric"] == metric]
    rows = [
        {
            "Set": str(row["set"]).capitalize(),
            "Model": pretty(str(row["model_a"])),
            titles[0]: pretty(str(row["model_b"])),
            titles[1]: interval(row["difference"], row["ci_low"], row["ci_high"]),
            "p": p_value(row["p_value"]),
            "p, Holm": p_value(row.get("p_holm")),
        }
        for name in sets_in(chosen)
        for row in chosen[chosen["set"] == name].to_dict("records")
    ]
    return pd.DataFrame(rows)


def risk_groups(folder: Path, job: ReportJob) -> pd.DataFrame:
    """Of the headline model's risk groups: patients, events, survival at each horizon.

    Survival is read off `km.csv`; nothing is estimated here.
    """
    import pandas as pd

    members = pd.read_csv(folder / "risk_groups.csv")
    curves = pd.read_csv(folder / "km.csv")
    unit, rows = job.cohort.time_unit, []
    mine = members[members["model"] == job.headline]
    for name in sets_in(mine):
        for group, part in mine[mine["set"] == name].groupby("group", sort=True):
            curve = curves[
                (curves["model"] == job.headline) & (curves["set"] == name) & (curves["group"] == group)
            ]
            row: dict[str, Any] = {
                "Set": name.capitalize(),
                "Group": group_name(int(group), job.evaluation.risk_groups),
                "Patients": len(part),
                "Events": int(part["event"].sum()),
            }
            for days in sorted(job.evaluation.horizons_days):
                survival, low, high = survival_at(curve, days)
                # Where nobody or everybody had the event there is no log-log interval.
                low, high = (low, high) if low < high else (float("nan"), float("nan"))
                row[f"Survival, {horizon_name(days, unit)}"] = interval(survival, low, high, 2)
            rows.append(row)
    return pd.DataFrame(rows)


def radiomics_overview(path: Path) -> pd.DataFrame:
    """Features by image, filter and class, with how many values are missing.

    Args:
        path: `features.parquet`: patient_id and `{image}_{filter}_{class}_{feature}`, or
            `{image}_index_{feature}`.
    """
    import pandas as pd

    features = pd.read_parquet(path).set_index("patient_id")
    counted: dict[tuple[str, str, str], list[int]] = {}
    for name in features.columns:
        parts = str(name).split("_")
        image, kind = parts[0], parts[1] if len(parts) > 1 else ""
        key = (image.upper(), "–", "index")
        if kind != "index":
            key = (image.upper(), kind.split("-")[0], parts[2] if len(parts) > 2 else "–")
        entry = counted.setdefault(key, [0, 0])
        entry[0] += 1
        entry[1] += int(features[name].isna().sum())
    rows = [
        {"Image": image, "Filter": kind, "Class": name, "Features": n, "Missing values": missing}
        for (image, kind, name), (n, missing) in sorted(counted.items())
    ]
    total: dict[str, Any] = {"Image": "All", "Filter": "", "Class": f"{len(features)} patients"}
    total |= {"Features": features.shape[1], "Missing values": int(features.isna().sum().sum())}
    return pd.DataFrame([total, *rows])


def chosen_variables(job: ReportJob) -> pd.DataFrame:
    """Variables of the linear models: in how many folds each was chosen, mean coefficient.

    Coefficients are log-hazard ratios (per SD of features and numbers), positive = worse.
    """
    import pandas as pd

    rows = []
    for model in job.models:
        folds: list[dict[str, float]] = []
        for folder in job.folds(model):
            told = folder / "model.json"
            found = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
            if isinstance(found.get("coefficients"), dict):
                folds.append(found["coefficients"])
        counts = Counter(name for fold in folds for name in fold)
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            values = [fold[name] for fold in folds if name in fold]
            rows.append(
                {
                    "Model": pretty(model),
                    "Variable": name,
                    "Folds": f"{count} of {len(folds)}",
                    "Mean log-hazard ratio": sum(values) / count,
                    "Lowest": min(values),
                    "Highest": max(values),
                }
            )
    return pd.DataFrame(rows)


def survival_marks(job: ReportJob, metrics: pd.DataFrame) -> list[str]:
    """What must be shown beside every survival table: the plan's marks and evaluate's own."""
    plan = job.results / "plan.json"
    told = json.loads(plan.read_text(encoding="utf-8")).get("caveats", []) if plan.is_file() else []
    models: dict[str, list[str]] = {}
    for row in metrics[metrics["metric"] == "c_index"].to_dict("records"):
        for note in str(row.get("note") or "").split("; "):
            if note.startswith("marked: ") and pretty(row["model"]) not in models.setdefault(note, []):
                models[note].append(pretty(row["model"]))
    found = [f"{note.removeprefix('marked: ')} ({', '.join(names)})" for note, names in models.items()]
    return [str(mark) for mark in told] + found


def few_events(sets: Sets) -> str:
    """The warning of survival figures where a set has fewer events than 20, else empty.

    Args:
        sets: Set → (patients, events), events None without outcomes.
    """
    few = [
        f"{name} {events}" for name, (_, events) in sets.items() if events is not None and events < FEW_EVENTS
    ]
    if not few:
        return ""
    return (
        f"Few events ({', '.join(few)}; fewer than {FEW_EVENTS}): the values are unsure, read the intervals."
    )


def model_remarks(job: ReportJob) -> list[str]:
    """What the fits had to tell (`warnings` of `model.json`), once per model, with in how many folds.

    Sentences that differ in their numbers only count as one; those of the first fold are shown.
    """
    remarks = []
    for model in job.models:
        folders, found = job.folds(model), dict[str, list[str]]()
        for path in (folder / "model.json" for folder in folders):
            told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            for line in told.get("warnings", []):
                found.setdefault(NUMBERS.sub("#", line), []).append(line)
        for lines in found.values():
            first = "" if len(set(lines)) == 1 else ", the first of them"
            remarks.append(f"{pretty(model)}, {len(lines)} of {len(folders)} folds{first}: {lines[0]}")
    return remarks


def ensemble_remarks(results: Path, names: Sequence[str]) -> list[str]:
    """What the ensembles had to tell, each sentence once."""
    told: dict[str, None] = {}
    for name in names:
        path = results / "ensemble" / f"{name}.json"
        if path.is_file():
            told.update(dict.fromkeys(json.loads(path.read_text(encoding="utf-8")).get("warnings", [])))
    return list(told)
