"""Figures of survival curves; nothing is fitted here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.report.forests import Estimate, sets_in
from pipeline.report.formatting import TimeAxis, format_interval, format_p_relation, is_known
from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, FAINT, WIDTH, FigureCanvas

if TYPE_CHECKING:
    import pandas as pd

LEAST_AT_RISK = 0.1
"""Share of a group's patients below which its curve rests on too few to be read."""


def group_name(group: int, count: int) -> str:
    """Name of a risk group, 1 = lowest risk, of `count` groups."""
    return ("low risk", "high risk")[group - 1] if count == 2 else f"risk group {group} of {count}"


def value_of(metrics: pd.DataFrame, model: str, which: str, metric: str) -> float | None:
    """A metric's value, or None where it is missing or not finite."""
    estimate = estimate_of(metrics, model, which, metric)
    return estimate.value if is_known(estimate.value) else None


def estimate_of(metrics: pd.DataFrame, model: str, which: str, metric: str) -> Estimate:
    """A metric's value with its interval; NaN where it is missing."""
    rows = metrics[(metrics["model"] == model) & (metrics["set"] == which) & (metrics["metric"] == metric)]
    if rows.empty:
        return Estimate(float("nan"), float("nan"), float("nan"))
    return Estimate(*(float(rows[column].iloc[0]) for column in ("value", "ci_low", "ci_high")))


def draw_kaplan_meier(
    curves: pd.DataFrame, metrics: pd.DataFrame, job: ReportJob, canvas: FigureCanvas
) -> str | None:
    """Kaplan–Meier curves of the headline model's risk groups, numbers at risk below, a panel per set.

    All panels have one axis of time. A panel whose groups were not cross-validated has the hazard ratio of the
    highest against the lowest group. Where fewer than a tenth of a group are at risk, its curve is thin and grey.

    Args:
        curves: `km.csv`.
        metrics: `metrics.csv`, for log-rank p-values and hazard ratios.
        job: The study.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where the model has no curve.
    """
    model, count = job.headline, job.settings.evaluation.risk_groups
    curves = curves[curves["model"] == model]
    sets = sets_in(curves)
    if not sets:
        return None
    time_axis = TimeAxis.of(job.settings.cohort.time_unit, float(curves["time"].max()))
    width = WIDTH if len(sets) > 1 else 0.6 * WIDTH
    shape = {"height_ratios": [4.4, 0.35 + 0.3 * count]}
    figure, axes = canvas.new(width, 3.7 + 0.25 * count, 2, len(sets), sharex=True, gridspec_kw=shape)
    ticks = time_axis.ticks(float(curves["time"].max()))
    for column, name in enumerate(sets):
        part = curves[curves["set"] == name]
        _survival_panel(axes[0, column], part, count, time_axis)
        logrank = value_of(metrics, model, name, "logrank_p")
        test = "" if logrank is None else f", log-rank p {format_p_relation(logrank)}"
        axes[0, column].set_title(f"{name.capitalize()}{test}")
        _write_hazard_ratio(axes[0, column], estimate_of(metrics, model, name, "hazard_ratio"), count)
        _at_risk_panel(axes[1, column], part, count, time_axis, ticks)
    figure.tight_layout()
    return canvas.save(figure, f"kaplan_meier_{model}")


def _survival_panel(axis: Any, part: pd.DataFrame, count: int, time_axis: TimeAxis) -> None:
    for group, curve in part.groupby("group", sort=True):
        curve = curve.sort_values("time")
        time, colour = curve["time"] / time_axis.days, COLOURS[(int(group) - 1) % len(COLOURS)]
        label = group_name(int(group), count)
        axis.step(time, curve["survival"], where="post", color=FAINT, lw=0.8)
        sure = well_followed(curve)
        axis.step(time[:sure], curve["survival"][:sure], where="post", color=colour, lw=1.8, label=label)
        low, high = curve["ci_low"][:sure], curve["ci_high"][:sure]
        axis.fill_between(time[:sure], low, high, step="post", color=colour, alpha=0.13, lw=0)
    axis.set(ylim=(0, 1.02), ylabel="Event-free probability")
    axis.set_xlim(left=0)
    axis.legend(loc="best", fontsize=8)


def _write_hazard_ratio(axis: Any, ratio: Estimate, count: int) -> None:
    """The hazard ratio in the lower left corner, which curves that begin at 1 leave free; nothing without one."""
    if not is_known(ratio.value):
        return
    groups = "high to low risk" if count == 2 else "highest to lowest risk"
    text = f"Hazard ratio {format_interval(ratio.value, ratio.low, ratio.high, 2)}, {groups}"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}
    axis.text(0.02, 0.03, text, transform=axis.transAxes, fontsize=8, va="bottom", bbox=box)


def well_followed(curve: pd.DataFrame) -> int:
    """Rows of a group's curve, sorted by time, at which a tenth of its patients or more are at risk."""
    return int((curve["at_risk"] >= LEAST_AT_RISK * float(curve["at_risk"].max())).sum())


def at_risk(curve: pd.DataFrame, time: float) -> int:
    """Patients of one group under observation just before a time (same unit as the curve's).

    `km.csv` has a row for every distinct time of the group, so these are the patients at
    risk at the first row that is not earlier.
    """
    later = curve[curve["time"] >= time - 1e-9].sort_values("time")
    return int(later["at_risk"].iloc[0]) if len(later) else 0


def _at_risk_panel(
    axis: Any, part: pd.DataFrame, count: int, time_axis: TimeAxis, ticks: list[float]
) -> None:
    groups = sorted(int(g) for g in part["group"].unique())
    for row, group in enumerate(groups):
        curve, colour = part[part["group"] == group], COLOURS[(group - 1) % len(COLOURS)]
        for tick in ticks:
            number = str(at_risk(curve, tick * time_axis.days))
            axis.text(tick, -row, number, ha="center", va="center", fontsize=8, color=colour)
    axis.set(ylim=(-len(groups) + 0.4, 0.7), yticks=[-i for i in range(len(groups))], xlabel=time_axis.label)
    axis.set_yticklabels([group_name(g, count) for g in groups], fontsize=8)
    axis.set_xticks(ticks)
    axis.set_title("Number at risk", fontsize=8, weight="normal", color=FAINT)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    axis.tick_params(length=0)
    axis.tick_params(axis="y", pad=12)


def survival_at(curve: pd.DataFrame, time: float) -> Estimate:
    """Kaplan–Meier survival of one group at a time, with its interval.

    NaN after the curve's last row, unless survival is 0 there.
    """
    unknown = Estimate(float("nan"), float("nan"), float("nan"))
    before = curve[curve["time"] <= time + 1e-9].sort_values("time")
    if before.empty:
        return unknown
    row = before.iloc[-1]
    if time > float(curve["time"].max()) + 1e-9 and float(row["survival"]) > 0:
        return unknown
    return Estimate(float(row["survival"]), float(row["ci_low"]), float(row["ci_high"]))
