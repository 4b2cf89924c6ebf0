"""Figures of predicted probabilities: calibration at each horizon, decision curves; nothing is fitted here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.forests import sets_in
from pipeline.report.formatting import display_name
from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, FAINT, INK, WIDTH, FigureCanvas
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

MODELS_SHOWN = 5
"""Models in one panel of decision curves; more lines can't be told apart."""


def draw_calibration(
    bins: pd.DataFrame, curves: pd.DataFrame, job: ReportJob, canvas: FigureCanvas
) -> str | None:
    """The headline model's predicted against observed event probability: a row per set, a panel per horizon.

    Points are groups of patients with similar predictions (Kaplan–Meier), the line is the smoothed
    curve with its bootstrap band; it ends where predictions end.

    Args:
        bins: `calibration.csv`, survival probabilities.
        curves: `calibration_curve.csv`, event probabilities.
        job: The study.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where nothing was observed.
    """
    bins = bins[(bins["model"] == job.headline) & bins["observed"].notna()]
    curves = curves[curves["model"] == job.headline]
    sets, horizons = sets_in(bins), sorted(bins["horizon"].unique())
    if not sets:
        return None
    side = min(3.3, WIDTH / len(horizons))
    figure, axes = canvas.new(side * len(horizons) + 0.3, side * len(sets) + 0.3, len(sets), len(horizons))
    for row, name in zip(axes, sets, strict=True):
        for axis, horizon in zip(row, horizons, strict=True):
            title = f"{name.capitalize()}, {horizon_name(horizon, job.settings.cohort.time_unit)}"
            points, curve = (t[(t["set"] == name) & (t["horizon"] == horizon)] for t in (bins, curves))
            _calibration_panel(axis, points, curve, title)
    for row in axes:
        row[0].set_ylabel("Observed event probability")
    figure.tight_layout()
    return canvas.save(figure, f"calibration_{job.headline}")


def _calibration_panel(axis: Any, points: pd.DataFrame, curve: pd.DataFrame, title: str) -> None:
    axis.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (3, 3)))
    if len(curve):
        curve = curve.sort_values("predicted")
        axis.plot(curve["predicted"], curve["observed"], color=COLOURS[0], lw=1.6)
        axis.fill_between(
            curve["predicted"], curve["ci_low"], curve["ci_high"], color=COLOURS[0], alpha=0.14, lw=0
        )
    if len(points):
        # Survival's upper bound is the event's lower one.
        observed = 1 - points["observed"]
        bars = np.array([points["ci_high"] - points["observed"], points["observed"] - points["ci_low"]])
        axis.errorbar(
            1 - points["predicted"], observed, yerr=np.clip(np.nan_to_num(bars), 0, None), color=INK, marker="o",
            ms=4, lw=0, elinewidth=0.8,
        )  # fmt: skip
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="Predicted event probability", aspect="equal")
    axis.set_title(title)


def draw_decision_curves(decisions: pd.DataFrame, job: ReportJob, canvas: FigureCanvas) -> str | None:
    """Net benefit of the models at the last horizon, beside treating all and treating nobody.

    The headline comes first, then the models of the study in their order, five at most; a panel per set.

    Args:
        decisions: `decision_curves.csv`.
        job: The study.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where there is no curve.
    """
    decisions = decisions[decisions["net_benefit"].notna()]
    sets = sets_in(decisions)
    if not sets:
        return None
    truths = job.simulated_truths()
    models = [m for m in dict.fromkeys([job.headline, *decisions["model"]]) if m not in truths]
    width = min(WIDTH, 4.9 * len(sets))
    figure, axes = canvas.new(width, 3.7, 1, len(sets))
    for axis, name in zip(axes[0], sets, strict=True):
        part = decisions[decisions["set"] == name]
        horizon = part["horizon"].max()
        part = part[part["horizon"] == horizon].sort_values("threshold")
        _decision_panel(axis, part, [m for m in models if m in set(part["model"])][:MODELS_SHOWN])
        axis.set_title(f"{name.capitalize()}, {horizon_name(horizon, job.settings.cohort.time_unit)}")
    axes[0][0].set_ylabel("Net benefit per patient")
    figure.tight_layout()
    return canvas.save(figure, f"decision_curves_{job.headline}")


def _decision_panel(axis: Any, part: pd.DataFrame, models: list[str]) -> None:
    everybody = part.drop_duplicates("threshold")
    axis.axhline(0, color=FAINT, lw=1, label="treat nobody")
    axis.plot(
        everybody["threshold"], everybody["treat_all"], color=FAINT, lw=1.2, ls=(0, (3, 2)), label="treat all"
    )
    for colour, model in zip(COLOURS, models, strict=False):
        curve = part[part["model"] == model]
        axis.plot(curve["threshold"], curve["net_benefit"], color=colour, lw=1.5, label=display_name(model))
    top = max(0.05, float(everybody["treat_all"].max()), float(part["net_benefit"].max()))
    axis.set(xlim=(0, 1), ylim=(-0.35 * top, 1.08 * top), xlabel="Threshold probability of treating")
    axis.legend(loc="upper right", fontsize=8)
