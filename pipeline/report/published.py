"""A paper's numbers beside ours, and predicted beside observed survival of a whole set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.metrics.concordance import concordance_index
from pipeline.report.formatting import Clock, fixed, pretty
from pipeline.report.job import ReportJob
from pipeline.report.page import ReportContent, Table
from pipeline.report.sections import Source
from pipeline.report.style import COLOURS, WIDTH, FigureCanvas
from pipeline.settings.evaluation import PublishedFigure
from pipeline.tables.predictions import read_predictions, survival_column

if TYPE_CHECKING:
    import pandas as pd

METRICS = {"c_index": "C-index", "dice": "Dice"}
SETS = {"train": "training", "test": "test", "external": "external"}
NOTE = (
    "Ours: each run's network alone, the mean over runs. Dice: mean ± SD over patients. "
    "Training: the very patients the network was fitted on."
)


def published(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """The table of a paper's numbers beside ours, and the figure of survival of whole sets."""
    import pandas as pd

    job = source.job
    content.lists["published"] = [job.report.published_source]
    if job.report.published:
        frame = compare(job, source.cohort)
        content.tell("published", Table("Published and ours", frame, on_page(frame), note=NOTE))
    networks = [model for model in job.networks() if model in job.ranked()]
    if job.evaluation.curve_days and networks:
        observed = pd.read_csv(job.results / "metrics" / "observed.csv")
        which = "external" if "external" in set(observed["set"]) else "development"
        curves = {m: predicted_survival(job, m, which) for m in networks}
        truth = observed[observed["set"] == which]
        content.draw("predicted_survival", draw_survival(truth, curves, job.cohort.time_unit, canvas))
        content.lists["survival_runs"] = [max(int(c["runs"].max()) for c in curves.values()), which]


def compare(job: ReportJob, cohort: pd.DataFrame) -> pd.DataFrame:
    """A row per published number: `value` and `sd` as printed, `ours` and its spreads.

    `ours` is the mean over runs; `ours_sd` the mean over runs of the SD over patients (Dice
    only); `runs_sd` the SD over runs. A figure that no run gives is missing.
    """
    import pandas as pd

    rows = []
    for figure in job.report.published:
        found = [_measured(run, figure, cohort) for run in runs(job, figure.model)]
        values, spreads = (np.array([f[i] for f in found], dtype=float) for i in (0, 1))
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


def runs(job: ReportJob, model: str) -> list[pd.DataFrame]:
    """Each run's predictions of a model."""
    return [read_predictions(folder / "predictions.parquet") for folder in job.folds(model)]


def _measured(run: pd.DataFrame, figure: PublishedFigure, cohort: pd.DataFrame) -> tuple[float, float]:
    """A run's value on a set, and its SD over patients (NaN where it has none)."""
    part = run[run["set"] == figure.set]
    if figure.metric == "dice":
        if "dice" not in part:
            return float("nan"), float("nan")
        known = part["dice"].dropna()
        return float(known.mean()), float(known.std(ddof=1))
    outcome = cohort.loc[part["patient_id"]]
    time, event = outcome["time_days"].to_numpy(float), outcome["event"].to_numpy(float)
    return concordance_index(time, event, part["risk"].to_numpy(float)), float("nan")


def on_page(frame: pd.DataFrame) -> pd.DataFrame:
    """The comparison as printed."""
    import pandas as pd

    shown = {
        "Model": [pretty(m) for m in frame["model"]],
        "Metric": [METRICS[m] for m in frame["metric"]],
        "Set": [SETS[s] for s in frame["set"]],
        "Published": _with_sd(frame["published"], frame["published_sd"]),
        "Ours": _with_sd(frame["ours"], frame["ours_sd"]),
        "Ours − published": [fixed(d, 3) for d in frame["ours"] - frame["published"]],
    }
    if frame["runs"].max() > 1:
        shown["SD over runs"] = [fixed(s, 3) for s in frame["runs_sd"]]
    return pd.DataFrame(shown)


def _with_sd(values: Sequence[float], spreads: Sequence[float | None]) -> list[str]:
    return [
        fixed(value, 3) + (f" ± {fixed(sd, 3)}" if sd is not None and sd == sd else "")
        for value, sd in zip(values, spreads, strict=True)
    ]


def predicted_survival(job: ReportJob, model: str, which: str) -> pd.DataFrame:
    """Mean predicted survival of a set at the study's times: time, mean, sd (over runs), runs.

    A run's curve is the mean of its patients' predicted survival. Of development patients a
    run predicts those it held out. A time that a run's baseline hazard does not reach is missing.
    """
    import pandas as pd

    name = "external" if which == "external" else "test"
    days = job.evaluation.predicted_days
    curves = []
    for run in runs(job, model):
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
        canvas: Where to.
    """
    known = {model: curve for model, curve in curves.items() if curve["mean"].notna().sum() > 1}
    if not known:
        return None
    columns = min(len(known), 3)
    rows = -(-len(known) // columns)
    figure, axes = canvas.new(max(4.5, WIDTH * columns / 3), 3.1 * rows, rows, columns, sharey=True)
    clock = Clock.of(unit, float(observed["time"].max()))
    for axis in axes.flat[len(known) :]:
        axis.set_visible(False)
    for axis, (model, curve) in zip(axes.flat, known.items(), strict=False):
        _curves(axis, observed, curve, clock)
        axis.set_title(pretty(model))
    axes.flat[0].legend(loc="lower left", fontsize=8)
    for row in axes:
        row[0].set_ylabel("Event-free probability")
    figure.tight_layout()
    return canvas.save(figure, "predicted_survival")


def _curves(axis: Any, observed: pd.DataFrame, curve: pd.DataFrame, clock: Clock) -> None:
    observed = observed.sort_values("time")
    axis.step(
        observed["time"] / clock.days, observed["survival"], where="post", color="black", lw=1.5,
        label="observed (Kaplan–Meier)",
    )  # fmt: skip
    time, green = curve["time"] / clock.days, COLOURS[2]
    axis.plot(time, curve["mean"], color=green, lw=1.5, label="predicted, mean")
    if (curve["runs"] > 1).any():
        low, high = curve["mean"] - curve["sd"], curve["mean"] + curve["sd"]
        axis.fill_between(time, low, high, color=green, alpha=0.25, lw=0, label="± SD over runs")
    # Where all events come late the start has nothing to show.
    first = float(observed.loc[observed["survival"] < 1, "time"].min()) / clock.days
    last = float(max(observed["time"].max(), curve["time"].max())) / clock.days
    left = max(0.0, first - 0.25 * (last - first)) if first < last else 0.0
    axis.set(ylim=(0, 1.02), xlim=(left, last), xlabel=clock.label)
