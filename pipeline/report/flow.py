"""The cohort's flow chart: who came in, who was left out and why, who was analysed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.report.style import COLOURS, FAINT, INK, WIDTH, FigureCanvas
from pipeline.tables.outcomes import has_outcomes
from pipeline.tables.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

Sets = dict[str, tuple[int, int | None]]
STAGES = ("cohort", "index", "convert", "suv", "contours", "register", "crop", "ingest", "radiomics")


@dataclass(frozen=True)
class Flow:
    """Numbers of the flow chart.

    Attributes:
        listed: Patients in the cohort table.
        excluded: Stage → patients that it refused, in the stages' order.
        warned: Patients used with a warning.
        sets: Set → (patients, events); events are None in a study without outcomes.
        training: What becomes of development patients, e.g. `3-fold cross-validation`.
        runs: How external patients are predicted, e.g. `predicted by all folds`.
    """

    listed: int
    excluded: dict[str, int]
    warned: int
    sets: Sets
    training: str
    runs: str


def flow_of(cohort: pd.DataFrame, problems: pd.DataFrame, splits: Splits) -> Flow:
    """Count the flow from the usable patients, the table of problems and the folds.

    A patient refused by several stages counts once, for the first.
    """
    bad = problems[problems["state"] == "excluded"].drop_duplicates("patient_id")
    counted = Counter(str(stage) for stage in bad["stage"])
    order = sorted(counted, key=lambda s: (STAGES.index(s) if s in STAGES else len(STAGES), s))
    warned = set(problems.loc[problems["state"] == "warned", "patient_id"]) & set(cohort.index)
    excluded = {stage: counted[stage] for stage in order}
    training, runs = _fate(splits)
    return Flow(len(cohort) + len(bad), excluded, len(warned), sets_of(cohort), training, runs)


def sets_of(cohort: pd.DataFrame) -> Sets:
    """Set → (patients, events), events None without outcomes."""
    groups = cohort.groupby("set", sort=True)
    if not has_outcomes(cohort):
        return {str(name): (len(group), None) for name, group in groups}
    return {str(name): (len(group), int(group["event"].sum())) for name, group in groups}


def _fate(splits: Splits) -> tuple[str, str]:
    """What is done with development and with external patients."""
    count = len(splits.folds)
    if any(fold.test for fold in splits.folds):
        return f"{count}-fold cross-validation", "predicted by all folds"
    fold = splits.folds[0]
    told = f"{len(fold.train)} training, {len(fold.validation)} validation"
    return told, "predicted by the model" if count == 1 else f"predicted by {count} runs"


def draw_flow(flow: Flow, canvas: FigureCanvas) -> str:
    """Draw the flow chart; returns the figure's file name."""
    reasons = [f"{stage}: {count}" for stage, count in flow.excluded.items()] or ["none"]
    low = 0.75 + 0.19 * len(reasons)
    figure, axes = canvas.new(WIDTH, low + 1.9)
    figure.subplots_adjust(0, 0, 1, 1)
    axis = axes[0, 0]
    axis.set(xlim=(0, WIDTH), ylim=(0, low + 1.9))
    axis.axis("off")
    top, wide = low + 0.55, 2.6
    _box(axis, (0.05, top, wide, 1.2), ("Cohort table", f"{flow.listed} patients"), COLOURS[0])
    left_out = f"Left out: {sum(flow.excluded.values())}"
    _box(axis, (0.05, 0.05, wide, low), (left_out, "\n".join(reasons)), COLOURS[1])
    used = sum(count for count, _ in flow.sets.values())
    told = f"{used} patients\n{flow.warned} of them with a warning"
    _box(axis, (3.5, top, wide, 1.2), ("Analysed", told), COLOURS[2])
    _arrow(axis, (0.05 + wide, top + 0.6), (3.5, top + 0.6))
    _arrow(axis, (0.05 + wide / 2, top), (0.05 + wide / 2, 0.05 + low))
    for name, (count, events) in flow.sets.items():
        more = flow.training if name == "development" else flow.runs
        bottom, height = (top, 1.2) if name == "development" else (0.05, max(low, 0.94))
        told = f"{count} patients{'' if events is None else f', {events} events'}\n{more}"
        _box(axis, (6.95, bottom, wide, height), (name.capitalize(), told), INK)
        _arrow(axis, (3.5 + wide, top + 0.6), (6.95, bottom + height / 2))
    return canvas.save(figure, "flow")


def _box(axis: Any, place: tuple[float, float, float, float], text: tuple[str, str], colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = place
    box = FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", facecolor="white",
        edgecolor=colour, linewidth=1.4,
    )  # fmt: skip
    axis.add_patch(box)
    middle = x + width / 2
    axis.text(middle, y + height - 0.12, text[0], ha="center", va="top", weight="bold", color=colour)
    axis.text(middle, y + (height - 0.28) / 2, text[1], ha="center", va="center", linespacing=1.4)


def _arrow(axis: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": FAINT, "lw": 1.2})
