"""The cohort's flow chart: who came in, who was left out and why, who was analysed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.report.style import COLOURS, FAINT, INK, Canvas

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Flow:
    """Numbers of the flow chart.

    Attributes:
        listed: Patients in the cohort table.
        excluded: Stage → patients that it refused.
        warned: Patients used with a warning.
        sets: Set → (patients, events).
        folds: Folds of the cross-validation.
    """

    listed: int
    excluded: dict[str, int]
    warned: int
    sets: dict[str, tuple[int, int]]
    folds: int


def flow_of(cohort: pd.DataFrame, problems: pd.DataFrame, folds: int) -> Flow:
    """Count the flow from the usable patients and the table of problems."""
    bad = problems[problems["state"] == "excluded"].drop_duplicates("patient_id")
    excluded = Counter(str(stage) for stage in bad["stage"])
    warned = set(problems.loc[problems["state"] == "warned", "patient_id"]) - set(bad["patient_id"])
    sets = {
        str(name): (len(group), int(group["event"].sum())) for name, group in cohort.groupby("set", sort=True)
    }
    return Flow(len(cohort) + len(bad), dict(excluded), len(warned), sets, folds)


def draw_flow(flow: Flow, canvas: Canvas) -> str:
    """Draw the flow chart; returns the figure's file name."""
    figure, axes = canvas.new(8.0, 3.4)
    axis = axes[0, 0]
    axis.set(xlim=(0, 100), ylim=(0, 100))
    axis.axis("off")
    _box(axis, (2, 62, 27, 30), f"Cohort table\n\n{flow.listed} patients", COLOURS[0])
    reasons = "\n".join(f"{stage}: {count}" for stage, count in sorted(flow.excluded.items())) or "none"
    _box(axis, (2, 8, 27, 34), f"Left out: {sum(flow.excluded.values())}\n\n{reasons}", COLOURS[1])
    used = sum(count for count, _ in flow.sets.values())
    _box(axis, (37, 62, 27, 30), f"Analysed\n\n{used} patients\n{flow.warned} with a warning", COLOURS[2])
    _arrow(axis, (29, 77), (37, 77))
    _arrow(axis, (15, 62), (15, 42))
    heights = {"development": 62, "external": 8}
    for name, (count, events) in flow.sets.items():
        bottom = heights.get(name, 8)
        more = (
            f"\n{flow.folds}-fold cross-validation" if name == "development" else "\npredicted by all folds"
        )
        _box(
            axis,
            (72, bottom, 27, 34 if bottom < 60 else 30),
            f"{name.capitalize()}\n\n{count} patients, {events} events{more}",
            INK,
        )
        _arrow(axis, (64, 77), (72, bottom + 15))
    return canvas.save(figure, "flow")


def _box(axis: Any, place: tuple[float, float, float, float], text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = place

    axis.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=2",
            facecolor="white",
            edgecolor=colour,
            linewidth=1.4,
        )
    )
    head, _, rest = text.partition("\n\n")
    axis.text(x + width / 2, y + height - 4, head, ha="center", va="top", weight="bold", color=colour)
    axis.text(x + width / 2, y + (height - 8) / 2, rest, ha="center", va="center", linespacing=1.4)


def _arrow(axis: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": FAINT, "lw": 1.2})
