"""Folds of some patients as the plan deals them, and what learns from whom."""

from __future__ import annotations

from pipeline.pictures.drawing import BoxShape, Drawing
from pipeline.planning.folds import divide
from pipeline.settings.plan import PlanSettings
from pipeline.tables.cohort import Patient
from pipeline.tables.splits import Fold

PATIENTS, EXTERNAL, SEED = 18, 4, 1
COLOURS = {"train": "#cfe8d5", "validation": "#ffe9a8", "test": "#bcd7f5", "external": "#e6dcf5"}
LEARNS = {
    "train": "weights, coefficients, scaling and choice of features, cut-points of risk groups",
    "validation": "the training's best iteration, the slope of survival probabilities",
    "test": "nothing is learned: each development patient is predicted by the fold that held it out",
    "external": "nothing is learned: predicted by all folds, whose risks are averaged",
}
"""Set → what is learned from it (docs/stages/plan.md, ensemble.md)."""
CELL, LEFT, TOP = 34, 70, 58


def members() -> list[Patient]:
    """Development patients of the picture; every second one has the event."""
    return [
        Patient(
            patient_id=f"P{number:02d}", set="development", centre="A", image_path="", roi="",
            time_days=100.0 + number, event=number % 2,
        )
        for number in range(1, PATIENTS + 1)
    ]  # fmt: skip


def folds() -> tuple[Fold, ...]:
    """The folds of these patients, by the rules of every study."""
    return divide(members(), PlanSettings(folds=3, validation_fraction=0.25), SEED)


def draw_folds() -> str:
    """The picture as SVG: a row a fold, a column a patient; ● has the event."""
    wide = LEFT + (PATIENTS + EXTERNAL + 1) * CELL + 30
    drawing = Drawing(
        wide, 330, "Folds of 18 development and 4 external patients, and what is learned from whom"
    )
    drawing.text(LEFT, 22, "development patients (● with the event)", 13, bold=True)
    drawing.text(LEFT + (PATIENTS + 1) * CELL, 22, "external patients", 13, bold=True)
    for index, patient in enumerate(members()):
        middle = LEFT + index * CELL + CELL / 2
        drawing.text(middle, 40, patient.patient_id, 10, anchor="middle")
        drawing.text(middle, 53, "●" if patient.event else "○", 10, anchor="middle")
    for number, fold in enumerate(folds()):
        _draw_fold(drawing, number, fold)
    for row, (name, learned) in enumerate(LEARNS.items()):
        y = TOP + 3 * (CELL + 6) + 28 + row * 26
        drawing.box(BoxShape(LEFT, y - 14, 18, 18), COLOURS[name])
        drawing.text(LEFT + 28, y, name, 13, bold=True)
        drawing.text(LEFT + 110, y, learned, 13)
    y = TOP + 3 * (CELL + 6) + 28 + len(LEARNS) * 26
    lines = (
        "Z-scores and baseline hazards come from a fold's train and validation patients together,",
        "template and position of the crop from all development patients, blind to outcome.",
    )
    drawing.lines(LEFT, y, lines, 13)
    return drawing.svg()


def _draw_fold(drawing: Drawing, number: int, fold: Fold) -> None:
    """One row: the set of each patient."""
    y = TOP + number * (CELL + 6)
    drawing.text(12, y + CELL / 2 + 4, f"fold {number}", 13, bold=True)
    for index, patient in enumerate(members()):
        sets = {"train": fold.train, "validation": fold.validation, "test": fold.test}
        (name,) = [one for one, ids in sets.items() if patient.patient_id in ids]
        drawing.box(BoxShape(LEFT + index * CELL, y, CELL - 3, CELL), COLOURS[name])
        drawing.text(LEFT + index * CELL + CELL / 2 - 1, y + CELL / 2 + 4, name[:2], 11, anchor="middle")
    for index in range(EXTERNAL):
        drawing.box(BoxShape(LEFT + (PATIENTS + 1 + index) * CELL, y, CELL - 3, CELL), COLOURS["external"])
