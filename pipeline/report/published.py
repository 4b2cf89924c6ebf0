"""Published numbers beside those of this study, and predicted beside observed survival of a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.metrics.concordance import concordance_index
from pipeline.report.formatting import TimeAxis, display_name, format_number
from pipeline.report.job import ReportJob
from pipeline.report.page import PredictedCurves, ReportContent, Table
from pipeline.report.sections import StudyResults
from pipeline.report.style import COLOURS, WIDTH, FigureCanvas
from pipeline.settings.evaluation import PublishedFigure
from pipeline.tables.predictions import read_predictions, survival_column

if TYPE_CHECKING:
    import pandas as pd

METRICS = {"c_index": "C-index", "dice": "Dice"}
SETS = {"train": "training", "test": "test", "external": "external"}
NOTE = (
    "Ours: each run's network alone, the mean over runs. Dice: mean ± SD over patients. "
    "Training: the patients that the network was fitted on."
)


def published(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """The table of published numbers beside ours, and the figure of survival of whole sets."""
    import pandas as pd

    job = study.job
    if job.settings.report.published:
        frame = compare_published(job, study.cohort)
        content.add_table("published", Table("Published and ours", frame, on_page(frame), note=NOTE))
    networks = [model for model in job.networks() if model in job.survival_models()]
    if job.settings.evaluation.curve_days and networks:
        observed = pd.read_csv(job.results / "metrics" / "observed.csv")
        which = "external" if "external" in set(observed["set"]) else "development"
        observed = observed[observed["set"] == which]
        curves = {model: predicted_survival(job, model, which) for model in networks}
        unit = job.settings.cohort.time_unit
        content.add_figure("predicted_survival", draw_survival(observed, curves, unit, canvas))
        runs = max(int(curve["runs"].max()) for curve in curves.values())
        content.predicted_curves = PredictedCurves(which, runs)


def compare_published(job: ReportJob, cohort: pd.DataFrame) -> pd.DataFrame:
    """A row per published number: `value` and `sd` as printed, `ours` and its spreads.

    `ours` is the mean over runs; `ours_sd` the mean over runs of the SD over patients (Dice
    only); `runs_sd` the SD over runs. A number that no run gives is missing.

    Args:
        job: The study.
        cohort: Outcomes of usable patients, indexed by patient_id.
    """
    import pandas as pd

    rows = []
    for figure in job.settings.report.published:
        scores = [_run_score(run, figure, cohort) for run in read_runs(job, figure.model)]
        values = np.array([score.value for score in scores], dtype=float)
        spreads = np.array([score.sd for score in scores], dtype=float)
        rows.append(
            {
                "model": figure.model,
                "metric": figure.metric,
                "set": figure.set,
                "published": figure.value,
                "published_sd": figure.sd,
                "ours": values.mean() if len(values) else np.nan,
                "ours_sd": spreads.mean() if len(spreads) else np.nan,
                "runs": len(values),
                "runs_sd": values.std(ddof=1) if len(values) > 1 else np.nan,
            }
        )
    return pd.DataFrame(rows)


def read_runs(job: ReportJob, model: str) -> list[pd.DataFrame]:
    """Each run's predictions of a model."""
    return [read_predictions(folder / "predictions.parquet") for folder in job.folds(model)]


class RunScore(NamedTuple):
    """A run's value on a set and its SD over patients; NaN where it has none."""

    value: float
    sd: float


def _run_score(run: pd.DataFrame, figure: PublishedFigure, cohort: pd.DataFrame) -> RunScore:
    part = run[run["set"] == figure.set]
    if figure.metric == "dice":
        if "dice" not in part:
            return RunScore(float("nan"), float("nan"))
        dice = part["dice"].dropna()
        return RunScore(float(dice.mean()), float(dice.std(ddof=1)))
    outcome = cohort.loc[part["patient_id"]]
    time, event = outcome["time_days"].to_numpy(float), outcome["event"].to_numpy(float)
    return RunScore(concordance_index(time, event, part["risk"].to_numpy(float)), float("nan"))


def on_page(frame: pd.DataFrame) -> pd.DataFrame:
    """The comparison as printed."""
    import pandas as pd

    shown = {
        "Model": [display_name(m) for m in frame["model"]],
        "Metric": [METRICS[m] for m in frame["metric"]],
        "Set": [SETS[s] for s in frame["set"]],
        "Published": _with_sd(frame["published"], frame["published_sd"]),
        "Ours": _with_sd(frame["ours"], frame["ours_sd"]),
        "Ours − published": [format_number(d, 3) for d in frame["ours"] - frame["published"]],
    }
    if frame["runs"].max() > 1:
        shown["SD over runs"] = [format_number(s, 3) for s in frame["runs_sd"]]
    return pd.DataFrame(shown)


def _with_sd(values: Sequence[float], spreads: Sequence[float | None]) -> list[str]:
    return [
        format_number(value, 3) + (f" ± {format_number(sd, 3)}" if sd is not None and sd == sd else "")
        for value, sd in zip(values, spreads, strict=True)
    ]


def predicted_survival(job: ReportJob, model: str, which: str) -> pd.DataFrame:
    """Mean predicted survival of a set at the study's times: time, mean, sd (over runs), runs.

    A run's curve is the mean of its patients' predicted survival. Of development patients a
    run predicts those it held out. A time that a run's baseline hazard does not reach is missing.

    Args:
        job: The study.
        model: Name of the network.
        which: `external` or `development`.
    """
    import pandas as pd

    name = "external" if which == "external" else "test"
    days = job.settings.evaluation.predicted_days
    curves = []
    for run in read_runs(job, model):
        part = run[run["set"] == name]
        curves.append([part[survival_column(d)].mean(skipna=False) for d in days])
    values = np.array(curves, dtype=float)
    several = len(values) > 1
    return pd.DataFrame(
        {
            "time": [0.0, *days],
            "mean": [1.0, *values.mean(axis=0)],
            "sd": [0.0, *(values.std(axis=0, ddof=1) if several else np.full(len(days), np.nan))],
            "runs": len(values),
        }
    )


def draw_survival(
    observed: pd.DataFrame, curves: dict[str, pd.DataFrame], unit: str, canvas: FigureCanvas
) -> str | None:
    """Observed survival of a set (black) and each network's mean prediction, a panel per network.

    Args:
        observed: `observed.csv` of one set.
        curves: Network → its :func:`predicted_survival`.
        unit: The study's unit of time.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where no prediction has two known times.
    """
    curves = {model: curve for model, curve in curves.items() if curve["mean"].notna().sum() > 1}
    if not curves:
        return None
    columns = min(len(curves), 3)
    rows = -(-len(curves) // columns)
    figure, axes = canvas.new(max(4.5, WIDTH * columns / 3), 3.1 * rows, rows, columns, sharey=True)
    time_axis = TimeAxis.of(unit, float(observed["time"].max()))
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis, (model, curve) in zip(axes.flat, curves.items(), strict=False):
        _survival_panel(axis, observed, curve, time_axis)
        axis.set_title(display_name(model))
    axes.flat[0].legend(loc="lower left", fontsize=8)
    for row in axes:
        row[0].set_ylabel("Event-free probability")
    figure.tight_layout()
    return canvas.save(figure, "predicted_survival")


def _survival_panel(axis: Any, observed: pd.DataFrame, curve: pd.DataFrame, time_axis: TimeAxis) -> None:
    observed = observed.sort_values("time")
    axis.step(
        observed["time"] / time_axis.days, observed["survival"], where="post", color="black", lw=1.5,
        label="observed (Kaplan–Meier)",
    )  # fmt: skip
    time, green = curve["time"] / time_axis.days, COLOURS[2]
    axis.plot(time, curve["mean"], color=green, lw=1.5, label="predicted, mean")
    if (curve["runs"] > 1).any():
        low, high = curve["mean"] - curve["sd"], curve["mean"] + curve["sd"]
        axis.fill_between(time, low, high, color=green, alpha=0.25, lw=0, label="± SD over runs")
    # Where all events are late the axis begins shortly before the first.
    first = float(observed.loc[observed["survival"] < 1, "time"].min()) / time_axis.days
    last = float(max(observed["time"].max(), curve["time"].max())) / time_axis.days
    left = max(0.0, first - 0.25 * (last - first)) if first < last else 0.0
    axis.set(ylim=(0, 1.02), xlim=(left, last), xlabel=time_axis.label)
