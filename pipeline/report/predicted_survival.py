"""Predicted beside observed survival of whole sets of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.formatting import TimeAxis, display_name
from pipeline.report.job import ReportJob
from pipeline.report.page import PredictedCurves, ReportContent
from pipeline.report.sections import StudyResults
from pipeline.report.style import COLOURS, WIDTH, FigureCanvas
from pipeline.tables.predictions import read_predictions, survival_column

if TYPE_CHECKING:
    import pandas as pd


def all_patients(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """The figure of survival of whole sets, where the study names times for it."""
    import pandas as pd

    job = study.job
    networks = [model for model in job.networks() if model in job.survival_models()]
    if not job.settings.evaluation.curve_days or not networks:
        return
    observed = pd.read_csv(job.results / "metrics" / "observed.csv")
    which = "external" if "external" in set(observed["set"]) else "development"
    observed = observed[observed["set"] == which]
    curves = {model: predicted_survival(job, model, which) for model in networks}
    unit = job.settings.cohort.time_unit
    content.add_figure("predicted_survival", draw_survival(observed, curves, unit, canvas))
    runs = max(int(curve["runs"].max()) for curve in curves.values())
    content.predicted_curves = PredictedCurves(which, runs)


def read_runs(job: ReportJob, model: str) -> list[pd.DataFrame]:
    """Each run's predictions of a model."""
    return [read_predictions(folder / "predictions.parquet") for folder in job.folds(model)]


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
