"""The section of example slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.report import slices
from pipeline.report.job import ReportJob
from pipeline.report.page import ReportContent
from pipeline.report.sections import Source
from pipeline.report.style import FigureCanvas

if TYPE_CHECKING:
    import pandas as pd


def images(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """Slices with contours from the lowest to the highest Dice."""
    job = source.job
    stored = [p for p in slices.stored_patients(job.results) if p in source.cohort.index]
    if not stored:
        return
    table = source.cohort.loc[stored, ["set"]].copy()
    model = segmenter(job)
    if model:
        import pandas as pd

        found = pd.read_parquet(job.results / "ensemble" / f"{model}.parquet").set_index("patient_id")
        if "dice" in found:
            table["dice"] = found["dice"].reindex(table.index)
    examples = []
    for patient_id in slices.choose_examples(table, job.report.examples):
        mask = slices.predicted_mask(job.folds(model), patient_id, source.splits) if model else None
        examples.append(slices.load_example(job, patient_id, mask, caption(patient_id, table)))
    content.draw("examples", slices.draw_examples(examples, canvas))


def segmenter(job: ReportJob) -> str | None:
    """The first network that left masks."""
    for model in job.networks():
        if any((folder / "masks.zarr").exists() for folder in job.folds(model)):
            return model
    return None


def caption(patient_id: str, table: pd.DataFrame) -> str:
    """A patient's id and, where known, Dice, in two lines."""
    dice = table["dice"].get(patient_id) if "dice" in table else None
    return f"{patient_id}\nDice {dice:.2f}" if dice is not None and dice == dice else patient_id
