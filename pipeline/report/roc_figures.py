"""Figures of ROC curves, of the event by a horizon and of class outcomes; nothing is estimated here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.forests import sets_in
from pipeline.report.formatting import display_name
from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, FAINT, WIDTH, FigureCanvas
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

MODELS_SHOWN = 5
"""Models in one panel; more lines can't be told apart."""
SIDE = 3.2
"""Side of a panel in inches, where the page is wide enough."""
EVENT = "event"


def draw_event_roc(curves: pd.DataFrame, job: ReportJob, canvas: FigureCanvas) -> str | None:
    """ROC curves of the headline model and of the simplest one: a row per set, a panel per horizon.

    Args:
        curves: `roc_curves.csv`.
        job: The study.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where the headline model has no curve.
    """
    curves = curves[curves["outcome"] == EVENT]
    sets = sets_in(curves[curves["model"] == job.headline])
    if not sets:
        return None
    horizons, unit = sorted(curves["horizon"].unique()), job.settings.cohort.time_unit
    figure, axes = _panels(canvas, len(sets), len(horizons))
    for row, name in zip(axes, sets, strict=True):
        for axis, horizon in zip(row, horizons, strict=True):
            part = curves[(curves["set"] == name) & (curves["horizon"] == horizon)]
            _panel(axis, part, list(dict.fromkeys(filter(None, (job.headline, job.baseline)))))
            axis.set_title(f"{name.capitalize()}, {horizon_name(horizon, unit)}")
    return _saved(figure, axes, canvas, f"roc_{job.headline}")


def draw_class_roc(curves: pd.DataFrame, canvas: FigureCanvas) -> str | None:
    """ROC curves of class outcomes: a row per set, a panel per outcome (class against the rest).

    Models come in the study's order, five at most.

    Args:
        curves: `roc_curves.csv`.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where no class is predicted.
    """
    curves = curves[curves["outcome"] != EVENT]
    sets, outcomes = sets_in(curves), list(curves["outcome"].unique())
    if not sets:
        return None
    models = list(curves["model"].unique())
    figure, axes = _panels(canvas, len(sets), len(outcomes))
    for row, name in zip(axes, sets, strict=True):
        for axis, outcome in zip(row, outcomes, strict=True):
            part = curves[(curves["set"] == name) & (curves["outcome"] == outcome)]
            _panel(axis, part, [model for model in models if model in set(part["model"])][:MODELS_SHOWN])
            axis.set_title(f"{name.capitalize()}, {display_name(outcome.removeprefix('label_'))}")
    return _saved(figure, axes, canvas, "roc_classes")


def _panels(canvas: FigureCanvas, rows: int, columns: int) -> Any:
    side = min(SIDE, WIDTH / columns)
    return canvas.new(side * columns + 0.3, side * rows + 0.3, rows, columns)


def _panel(axis: Any, part: pd.DataFrame, models: Sequence[str]) -> None:
    axis.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (3, 3)))
    for colour, model in zip(COLOURS, models, strict=False):
        # In the file's order: a step has two heights above one share of false positives.
        curve = part[part["model"] == model]
        if len(curve):
            label = f"{display_name(model)}, AUC {curve['area'].iloc[0]:.2f}"
            axis.plot(curve["false_positive"], curve["true_positive"], color=colour, lw=1.5, label=label)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="False positive share", aspect="equal")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right", fontsize=7)


def _saved(figure: Any, axes: Any, canvas: FigureCanvas, name: str) -> str:
    for row in axes:
        row[0].set_ylabel("True positive share")
    figure.tight_layout()
    return canvas.save(figure, name)
