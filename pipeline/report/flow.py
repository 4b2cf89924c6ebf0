"""The cohort's flow chart and its problems: who was listed, who was excluded and why, who was analysed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.report.page_table import Table
from pipeline.report.style import COLOURS, FAINT, INK, WIDTH, FigureCanvas
from pipeline.tables.outcomes import has_outcomes
from pipeline.tables.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("cohort", "index", "convert", "suv", "contours", "register", "crop", "ingest", "radiomics")


class SetSize(NamedTuple):
    """Numbers of a set: patients, and of them those with an event (None in a study without outcomes)."""

    patients: int
    events: int | None


@dataclass(frozen=True)
class Flow:
    """Numbers of the flow chart.

    Attributes:
        listed: Patients in the cohort table.
        excluded: Stage → patients that it excluded, in the stages' order.
        warned: Patients used with a warning.
        sets: Numbers by set.
        training: What development patients are used for, e.g. `3-fold cross-validation`; empty where a bundle
            predicted external patients alone.
        external: How external patients are predicted, e.g. `predicted by all folds`.
    """

    listed: int
    excluded: dict[str, int]
    warned: int
    sets: dict[str, SetSize]
    training: str
    external: str


def flow_of(cohort: pd.DataFrame, problems: pd.DataFrame, splits: Splits) -> Flow:
    """Count the flow; a patient excluded by several stages counts once, for the first.

    Args:
        cohort: Outcomes of usable patients, indexed by patient_id.
        problems: `problems.csv`.
        splits: The folds.
    """
    excluded = problems[problems["state"] == "excluded"].drop_duplicates("patient_id")
    counted = Counter(str(stage) for stage in excluded["stage"])
    order = sorted(counted, key=lambda s: (STAGES.index(s) if s in STAGES else len(STAGES), s))
    warned = set(problems.loc[problems["state"] == "warned", "patient_id"]) & set(cohort.index)
    return Flow(
        listed=len(cohort) + len(excluded),
        excluded={stage: counted[stage] for stage in order},
        warned=len(warned),
        sets=set_sizes(cohort),
        training=_training(splits),
        external=_external(splits),
    )


def set_sizes(cohort: pd.DataFrame) -> dict[str, SetSize]:
    """Numbers of patients and events by set."""
    groups = cohort.groupby("set", sort=True)
    if not has_outcomes(cohort):
        return {str(name): SetSize(len(group), None) for name, group in groups}
    return {str(name): SetSize(len(group), int(group["event"].sum())) for name, group in groups}


def problem_tables(problems: pd.DataFrame) -> dict[str, Table]:
    """Patients who were left out, and apart from them those used with a warning, which the page folds.

    A patient who was left out stands with everything that was said of them in the first table.
    """
    left_out = problems["patient_id"].isin(problems.loc[problems["state"].eq("excluded"), "patient_id"])
    parts = {
        "problems": ("Patients who were left out", problems[left_out]),
        "warnings": ("Patients who were used with a warning", problems[~left_out]),
    }
    return {
        name: Table(title, part.sort_values("patient_id", kind="stable"))
        for name, (title, part) in parts.items()
    }


def _cross_validated(splits: Splits) -> bool:
    return any(fold.test for fold in splits.folds)


def _training(splits: Splits) -> str:
    if not splits.folds:
        return ""
    if _cross_validated(splits):
        return f"{len(splits.folds)}-fold cross-validation"
    fold = splits.folds[0]
    return f"{len(fold.train)} training, {len(fold.validation)} validation"


def _external(splits: Splits) -> str:
    if _cross_validated(splits):
        return "predicted by all folds"
    runs = len(splits.folds)
    if not runs:
        return "predicted by the bundle"
    return "predicted by the model" if runs == 1 else f"predicted by {runs} runs"


class Rectangle(NamedTuple):
    """Left and lower edge, width and height of a box (inches)."""

    x: float
    y: float
    width: float
    height: float


def draw_flow(flow: Flow, canvas: FigureCanvas) -> str:
    """Draw the flow chart; returns the figure's file name."""
    reasons = [f"{stage}: {count}" for stage, count in flow.excluded.items()] or ["none"]
    low = 0.75 + 0.19 * len(reasons)
    figure, axes = canvas.new(WIDTH, low + 1.9)
    figure.subplots_adjust(0, 0, 1, 1)
    axis = axes[0, 0]
    axis.set(xlim=(0, WIDTH), ylim=(0, low + 1.9))
    axis.axis("off")
    top, width = low + 0.55, 2.6
    _box(axis, Rectangle(0.05, top, width, 1.2), "Cohort table", f"{flow.listed} patients", COLOURS[0])
    excluded = f"Excluded: {sum(flow.excluded.values())}"
    _box(axis, Rectangle(0.05, 0.05, width, low), excluded, "\n".join(reasons), COLOURS[1])
    used = sum(size.patients for size in flow.sets.values())
    text = f"{used} patients\n{flow.warned} of them with a warning"
    _box(axis, Rectangle(3.5, top, width, 1.2), "Analysed", text, COLOURS[2])
    _arrow(axis, (0.05 + width, top + 0.6), (3.5, top + 0.6))
    _arrow(axis, (0.05 + width / 2, top), (0.05 + width / 2, 0.05 + low))
    for name, size in flow.sets.items():
        development = name == "development"
        bottom, height = (top, 1.2) if development else (0.05, max(low, 0.94))
        events = "" if size.events is None else f", {size.events} events"
        text = f"{size.patients} patients{events}\n{flow.training if development else flow.external}"
        _box(axis, Rectangle(6.95, bottom, width, height), name.capitalize(), text, INK)
        _arrow(axis, (3.5 + width, top + 0.6), (6.95, bottom + height / 2))
    return canvas.save(figure, "flow")


def _box(axis: Any, place: Rectangle, title: str, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch(
        (place.x, place.y), place.width, place.height, boxstyle="round,pad=0,rounding_size=0.08",
        facecolor="white", edgecolor=colour, linewidth=1.4,
    )  # fmt: skip
    axis.add_patch(box)
    middle, top = place.x + place.width / 2, place.y + place.height
    axis.text(middle, top - 0.12, title, ha="center", va="top", weight="bold", color=colour)
    centre = place.y + (place.height - 0.28) / 2
    axis.text(middle, centre, text, ha="center", va="center", linespacing=1.4)


def _arrow(axis: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": FAINT, "lw": 1.2})
