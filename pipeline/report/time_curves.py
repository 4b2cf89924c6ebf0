"""Figure of the AUC over follow-up; nothing is estimated here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.report.forests import sets_in
from pipeline.report.formatting import TimeAxis, display_name
from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, FAINT, WIDTH, FigureCanvas

if TYPE_CHECKING:
    import pandas as pd


def draw_auc_over_time(curves: pd.DataFrame, job: ReportJob, canvas: FigureCanvas) -> str | None:
    """Cumulative/dynamic AUC of the headline model, with its band, and of the simplest one; a panel per set.

    Args:
        curves: `time_curves.csv`.
        job: The study.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where the headline model has no curve.
    """
    curves = curves[curves["metric"] == "auc"]
    sets = sets_in(curves[curves["model"] == job.headline])
    if not sets:
        return None
    axis_of_time = TimeAxis.of(job.settings.cohort.time_unit, float(curves["time"].max()))
    width = WIDTH if len(sets) > 1 else 0.6 * WIDTH
    figure, axes = canvas.new(width, 3.2, 1, len(sets), sharey="row")
    for axis, name in zip(axes[0], sets, strict=True):
        for model, colour in ((job.headline, COLOURS[0]), (job.baseline, COLOURS[1])):
            part = curves[(curves["set"] == name) & (curves["model"] == model)].sort_values("time")
            if part.empty:
                continue
            time = part["time"] / axis_of_time.days
            axis.plot(time, part["value"], color=colour, lw=1.8, label=display_name(model))
            if model == job.headline:
                axis.fill_between(time, part["ci_low"], part["ci_high"], color=colour, alpha=0.14, lw=0)
        axis.axhline(0.5, color=FAINT, lw=1, ls=(0, (3, 3)))
        axis.set(ylim=(0, 1.02), xlabel=axis_of_time.label)
        axis.set_xlim(left=0)
        axis.set_title(name.capitalize())
        axis.legend(loc="lower left", fontsize=8)
    axes[0, 0].set_ylabel("AUC up to that time")
    figure.tight_layout()
    return canvas.save(figure, f"auc_over_time_{job.headline}")
