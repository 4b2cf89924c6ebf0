"""Figures of survival: concordance, Kaplan–Meier, calibration; nothing is fitted here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.style import COLOURS, FAINT, INK, Canvas, pretty

if TYPE_CHECKING:
    import pandas as pd


def draw_concordance(metrics: pd.DataFrame, canvas: Canvas) -> str:
    """C-index of every model with its interval, a panel per set, best on top."""
    rows = metrics[metrics["metric"] == "c_index"]
    sets = [s for s in ("external", "development") if s in set(rows["set"])]
    models = len(rows["model"].unique())
    figure, axes = canvas.new(4.4 * len(sets) + 1.2, 0.36 * models + 1.5, 1, len(sets), sharex=True)
    for axis, name in zip(axes[0], sets, strict=True):
        part = rows[rows["set"] == name].sort_values("value").reset_index(drop=True)
        axis.axvline(0.5, color=FAINT, lw=1, ls=(0, (3, 3)))
        for y, row in part.iterrows():
            truth = str(row["model"]).startswith("true")
            colour = INK if truth else COLOURS[0]
            axis.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, lw=2, solid_capstyle="butt")
            axis.plot(row["value"], y, "D" if truth else "o", color=colour, ms=6)
            axis.text(1.02, y, f"{row['value']:.3f} ({row['ci_low']:.2f}–{row['ci_high']:.2f})",
                      va="center", fontsize=8, transform=axis.get_yaxis_transform())  # fmt: skip
        axis.set_yticks(range(len(part)), [pretty(str(m)) for m in part["model"]])
        patients, events = int(part["patients"].max()), int(part["events"].max())
        axis.set_title(f"{name.capitalize()}: {patients} patients, {events} events")
        axis.set_xlabel("C-index (0.5 = chance, 1 = perfect order)")
        axis.set_xlim(min(0.4, float(part["ci_low"].min()) - 0.02), 1.0)
    figure.tight_layout(w_pad=9)
    return canvas.save(figure, "concordance")


def draw_kaplan_meier(curves: pd.DataFrame, metrics: pd.DataFrame, model: str, canvas: Canvas) -> str:
    """Kaplan–Meier curves of a model's risk groups with numbers at risk, a panel per set."""
    mine = curves[curves["model"] == model]
    sets = [s for s in ("external", "development") if s in set(mine["set"])]
    figure, axes = canvas.new(
        4.8 * len(sets), 4.2, 2, len(sets), sharex="col", gridspec_kw={"height_ratios": [5, 1]}
    )
    for column, name in enumerate(sets):
        part = mine[mine["set"] == name]
        _survival_panel(axes[0, column], part)
        p_value = _value(metrics, model, name, "logrank_p")
        told = "" if p_value is None else f", log-rank p {_p(p_value)}"
        axes[0, column].set_title(f"{name.capitalize()}{told}")
        _at_risk(axes[1, column], part)
    figure.tight_layout()
    return canvas.save(figure, f"kaplan_meier_{model}")


def _survival_panel(axis: Any, part: pd.DataFrame) -> None:
    for colour, (group, curve) in zip(_group_colours(part), part.groupby("group", sort=True), strict=False):
        time = curve["time"] / 365.25
        axis.step(
            time, curve["survival"], where="post", color=colour, lw=1.8, label=_group_name(int(group), part)
        )
        axis.fill_between(
            time, curve["ci_low"], curve["ci_high"], step="post", color=colour, alpha=0.13, lw=0
        )
    axis.set(ylim=(0, 1.02), ylabel="Event-free probability")
    axis.set_xlim(left=0)
    axis.legend(loc="lower left")


def _group_colours(part: pd.DataFrame) -> tuple[str, ...]:
    return COLOURS if part["group"].nunique() > 2 else (COLOURS[0], COLOURS[1])


def _group_name(group: int, part: pd.DataFrame) -> str:
    """Group 1 has the lowest risk."""
    count = int(part["group"].max())
    if count == 2:
        return ("low risk", "high risk")[group - 1]
    return f"risk group {group} of {count}"


def _at_risk(axis: Any, part: pd.DataFrame) -> None:
    groups = sorted(part["group"].unique())
    end = float(part["time"].max()) / 365.25
    ticks = np.arange(0, np.floor(end) + 1, max(1, int(end // 6)))
    for row, (colour, group) in enumerate(zip(_group_colours(part), groups, strict=False)):
        curve = part[part["group"] == group].sort_values("time")
        for tick in ticks:
            later = curve[curve["time"] >= tick * 365.25 - 1e-9]
            axis.text(tick, -row, str(int(later["at_risk"].iloc[0]) if len(later) else 0),
                      ha="center", va="center", fontsize=8, color=colour)  # fmt: skip
    axis.set(ylim=(-len(groups) + 0.4, 0.7), yticks=[-i for i in range(len(groups))], xlabel="Years")
    axis.set_yticklabels([_group_name(int(g), part) for g in groups], fontsize=8)
    axis.set_xticks(ticks)
    axis.set_title("At risk", fontsize=8, weight="normal", color=FAINT)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    axis.tick_params(length=0)


def draw_calibration(calibration: pd.DataFrame, model: str, canvas: Canvas) -> str | None:
    """Predicted against observed survival at each horizon; None where there is nothing to draw."""
    mine = calibration[calibration["model"] == model]
    sets = [s for s in ("external", "development") if s in set(mine["set"])]
    if not sets:
        return None
    figure, axes = canvas.new(3.8 * len(sets), 3.6, 1, len(sets))
    for axis, name in zip(axes[0], sets, strict=True):
        part = mine[mine["set"] == name]
        axis.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (3, 3)))
        for colour, (horizon, points) in zip(COLOURS, part.groupby("horizon", sort=True), strict=False):
            points = points.sort_values("predicted")
            low = (points["observed"] - points["ci_low"]).clip(lower=0)
            high = (points["ci_high"] - points["observed"]).clip(lower=0)
            axis.errorbar(points["predicted"], points["observed"], yerr=[low, high], color=colour, marker="o",
                          ms=4, lw=1.2, elinewidth=0.8, label=f"{float(horizon) / 365.25:.3g} years")  # fmt: skip
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Predicted survival", ylabel="Observed (Kaplan–Meier)")
        axis.set_title(name.capitalize())
        axis.legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    return canvas.save(figure, f"calibration_{model}")


def _value(metrics: pd.DataFrame, model: str, which: str, metric: str) -> float | None:
    found = metrics[(metrics["model"] == model) & (metrics["set"] == which) & (metrics["metric"] == metric)][
        "value"
    ]
    return float(found.iloc[0]) if len(found) and np.isfinite(found.iloc[0]) else None


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
