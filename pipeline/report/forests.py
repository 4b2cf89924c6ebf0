"""Figures of estimates with intervals: C-index of every model, differences between models."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.metrics.pairs import FAMILY as LISTED_PAIRS
from pipeline.report.formatting import (
    display_name,
    format_interval,
    format_p_relation,
    format_p_value,
    is_known,
)
from pipeline.report.style import COLOURS, FAINT, INK, WIDTH, FigureCanvas

if TYPE_CHECKING:
    import pandas as pd

SETS = ("external", "development")


def sets_in(table: pd.DataFrame) -> list[str]:
    """The sets that a table has rows of, external first."""
    return [name for name in SETS if name in set(table["set"])]


def draw_concordance(metrics: pd.DataFrame, truths: Collection[str], canvas: FigureCanvas) -> str | None:
    """C-index of every model with its interval, a panel per set, best of the first set on top.

    Args:
        metrics: `metrics.csv`.
        truths: Models that read a simulated truth; drawn as diamonds.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where no C-index is known.
    """
    rows = metrics[(metrics["metric"] == "c_index") & metrics["value"].notna()]
    sets = sets_in(rows)
    if not sets:
        return None
    first = rows[rows["set"] == sets[0]].sort_values(["value", "model"], ascending=[True, False])
    order = [m for m in rows["model"].unique() if m not in set(first["model"])] + list(first["model"])
    figure, axes = _panels(canvas, len(order), len(sets))
    low = min([0.45, *rows["ci_low"].dropna(), *rows["value"]]) - 0.02
    for axis, name in zip(axes, sets, strict=True):
        part = rows[rows["set"] == name]
        axis.axvline(0.5, color=FAINT, lw=1, ls=(0, (3, 3)), zorder=0)
        for row in part.to_dict("records"):
            truth = row["model"] in truths
            estimate = Estimate(row["value"], row["ci_low"], row["ci_high"])
            text = format_interval(row["value"], row["ci_low"], row["ci_high"])
            _draw_estimate(axis, order.index(row["model"]), estimate, text, INK if truth else COLOURS[0])
        patients, events = int(part["patients"].max()), int(part["events"].max())
        axis.set_title(f"{name.capitalize()}: {patients} patients, {events} events")
        axis.set(xlabel="C-index (0.5 = chance, 1 = perfect)", xlim=(max(0.0, low), 1.0))
    _label(axes, order)
    figure.tight_layout(w_pad=2)
    return canvas.save(figure, "concordance")


def draw_differences(comparisons: pd.DataFrame, truths: Collection[str], canvas: FigureCanvas) -> str | None:
    """Each model's C-index less that of the model compared with, with interval and p-values.

    Args:
        comparisons: `comparisons.csv`.
        truths: Models that read a simulated truth; drawn as diamonds.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where no difference is known.
    """
    against_one = comparisons["family"] != LISTED_PAIRS
    rows = comparisons[comparisons["difference"].notna() & (comparisons["metric"] == "c_index") & against_one]
    # Against a second model (added value) there is a table; points of two would lie on one line.
    rows = rows[rows["model_b"].isin(rows["model_b"].head(1))]
    sets = sets_in(rows)
    if not sets:
        return None
    first = rows[rows["set"] == sets[0]].sort_values(["difference", "model_a"], ascending=[True, False])
    order = [m for m in rows["model_a"].unique() if m not in set(first["model_a"])] + list(first["model_a"])
    figure, axes = _panels(canvas, len(order), len(sets))
    reach = max([0.1, *rows[["difference", "ci_low", "ci_high"]].abs().max().dropna()]) * 1.05
    for axis, name in zip(axes, sets, strict=True):
        axis.axvline(0, color=FAINT, lw=1, ls=(0, (3, 3)), zorder=0)
        for row in rows[rows["set"] == name].to_dict("records"):
            text = f"{row['difference']:+.3f}".replace("-", "−") + f", p {format_p_relation(row['p_value'])}"
            if "p_holm" in row and is_known(row["p_holm"]):
                text += f" (Holm {format_p_value(row['p_holm'])})"
            estimate = Estimate(row["difference"], row["ci_low"], row["ci_high"])
            colour = INK if row["model_a"] in truths else COLOURS[0]
            _draw_estimate(axis, order.index(row["model_a"]), estimate, text, colour)
        axis.set_title(name.capitalize())
        axis.locator_params(axis="x", nbins=5)
        axis.set(
            xlim=(-reach, reach), xlabel=f"C-index less that of {display_name(str(rows['model_b'].iloc[0]))}"
        )
    _label(axes, order)
    figure.tight_layout(w_pad=2)
    return canvas.save(figure, "differences")


def _panels(canvas: FigureCanvas, rows: int, columns: int) -> Any:
    width = WIDTH if columns > 1 else 0.66 * WIDTH
    figure, axes = canvas.new(width, 0.34 * rows + 1.25, 1, columns, sharey=True)
    return figure, axes[0]


class Estimate(NamedTuple):
    """A value with its interval, whose ends may be missing."""

    value: float
    low: float
    high: float


def _draw_estimate(axis: Any, y: int, estimate: Estimate, text: str, colour: str) -> None:
    """A point with its interval and, right of the panel, its text."""
    if is_known(estimate.low) and is_known(estimate.high):
        axis.plot([estimate.low, estimate.high], [y, y], color=colour, lw=2, solid_capstyle="butt")
    axis.plot(estimate.value, y, "D" if colour == INK else "o", color=colour, ms=6)
    axis.text(1.02, y, text, va="center", fontsize=8, transform=axis.get_yaxis_transform())


def _label(axes: Any, order: list[str]) -> None:
    axes[0].set_yticks(range(len(order)), [display_name(m) for m in order])
    axes[0].set_ylim(-0.6, len(order) - 0.4)
    for axis in axes:
        axis.tick_params(axis="y", length=0)
