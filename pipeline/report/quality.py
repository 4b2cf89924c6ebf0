"""The page of every crop: pictures with contours and what is unusual, outliers first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report import slices
from pipeline.report.formatting import format_number
from pipeline.report.mask_classes import Labels
from pipeline.report.outliers import MEASURES, rank_outliers
from pipeline.report.page import ReportContent
from pipeline.report.page_table import Table
from pipeline.report.patient_flags import PatientFlags, patient_flags, worst_first
from pipeline.report.patient_pictures import PatientPicture, draw_picture
from pipeline.report.patient_volumes import write_volumes
from pipeline.report.qc_tables import read_json
from pipeline.report.sections import StudyResults
from pipeline.report.style import FigureCanvas
from pipeline.report.suv_histograms import SuvHistograms, draw_suv_histograms
from pipeline.report.viewed_volumes import viewed_volumes
from pipeline.store.crops import Crop, read_crop
from pipeline.tables.parquet import read_frame
from pipeline.volumes.sides import side_letters

if TYPE_CHECKING:
    import pandas as pd

PATIENTS = "patients"
"""Folder of the patients' pages and pictures."""
ALIGNMENT = {"overlap": "overlap_after", "similarity": "similarity_after", "rotation_deg": "rotation_deg"}
"""Measure → entry of the registration's `quality.json`."""


def quality(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Every patient's picture (and volumes for the viewer), and the table of what is unusual about their crops."""
    job = study.job
    stored = slices.stored_patients(study)
    if not stored:
        return
    model = slices.segmenting_network(job)
    dice = _dice(study, model)
    folder, rows = canvas.folder.parent / PATIENTS, []
    folder.mkdir(parents=True, exist_ok=True)
    histograms = SuvHistograms()
    for patient_id in stored:
        mask = slices.predicted_mask(job.folds(model), patient_id, study.splits) if model else None
        path = job.results / "crops" / f"{patient_id}.zarr"
        crop = read_crop(path)
        content.pictures[patient_id] = _picture(study, crop, mask, folder)
        _add_histogram(histograms, crop, read_json(job.results / "suv" / patient_id / "suv.json"))
        alignment = read_json(job.results / "registration" / patient_id / "quality.json")
        rows.append(
            {"patient_id": patient_id, **crop_measures(crop)}
            | {name: alignment.get(key) for name, key in ALIGNMENT.items()}
            | {"dice": dice.get(patient_id)}
        )
    table = _table(rows)
    content.patient_pages = {patient_id: f"{PATIENTS}/{patient_id}.html" for patient_id in stored}
    content.flags = worst_first(_flags(study, table))
    table = table.loc[list(content.flags)].assign(flags=[_worded(flags) for flags in content.flags.values()])
    content.add_table("crops", Table("Crops, outliers first", table.reset_index(), _on_page(table)))
    content.add_figure("suv_by_scanner", draw_suv_histograms(histograms, canvas))


def _add_histogram(histograms: SuvHistograms, crop: Crop, suv: dict[str, Any]) -> None:
    """Add a patient's PET by scanner; nothing of a patient without a PET in SUV."""
    if "pet" in crop.attributes.channels and suv:
        pet = crop.image[crop.attributes.channels.index("pet")]
        histograms.add(str(suv.get("scanner") or ""), pet[crop.inside > 0])


def _flags(study: StudyResults, table: pd.DataFrame) -> dict[str, PatientFlags]:
    """What has to be known of each patient of the table of crops."""
    import pandas as pd

    problems = pd.read_csv(study.job.results / "problems.csv", keep_default_na=False, dtype=str)
    flags = {}
    for patient_id, unusual in table["flags"].items():
        rows = problems[problems["patient_id"] == patient_id].to_dict("records")
        suv = read_json(study.job.results / "suv" / str(patient_id) / "suv.json")
        flags[str(patient_id)] = patient_flags(rows, suv, filter(None, str(unusual).split("; ")))
    return flags


def _worded(flags: PatientFlags) -> str:
    """The reasons in one text."""
    return "; ".join(f"{flag.severity}, {flag.stage}: {flag.text}" for flag in flags.reasons)


def _picture(study: StudyResults, crop: Crop, mask: Labels | None, folder: Path) -> PatientPicture:
    """Write a patient's PNG and, where the study has a viewer, the script of the volumes."""
    settings, patient_id = study.job.settings, crop.attributes.patient_id
    example = slices.example_of(crop, mask, patient_id)
    scanned = settings.cohort.source in ("dicom", "nifti")
    sides = side_letters(crop.attributes.direction) if scanned else (("", ""),) * 3
    if (volumes := viewed_volumes(study.job, crop, example)) is not None:
        write_volumes(volumes, folder / f"{patient_id}.js")
    return draw_picture(example, sides, folder / f"{patient_id}.png")


def crop_measures(crop: Crop) -> dict[str, Any]:
    """Measures of a crop without its margin, named as in :data:`pipeline.report.outliers.MEASURES`."""
    inner = slices.without_margin(crop.image.shape[1:], crop.attributes.margin)
    inside = crop.inside[inner] > 0
    measures: dict[str, Any] = {
        "lesion_ml": crop.attributes.lesion_ml,
        "lesion_coverage": crop.attributes.lesion_coverage,
        "imaged": round(float(inside.mean()), 4),
    }
    images = dict(zip(crop.attributes.channels, crop.image, strict=True))
    if "pet" in images and crop.mask is not None and crop.mask[inner].any():
        measures["suvmax"] = round(float(images["pet"][inner][crop.mask[inner] > 0].max()), 3)
    if "ct" in images and inside.any():
        measures["ct_median_hu"] = round(float(np.median(images["ct"][inner][inside])), 1)
    return measures


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows).set_index("patient_id")
    measured = [name for name in MEASURES if name in frame and frame[name].notna().any()]
    return rank_outliers(frame[measured].astype(float))


def _on_page(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    shown: dict[str, Any] = {"Patient": list(table.index), "Reason": list(table["flags"])}
    for name, measure in MEASURES.items():
        if name in table:
            shown[measure.title] = [format_number(value, measure.digits) for value in table[name]]
    return pd.DataFrame(shown)


def _dice(study: StudyResults, model: str | None) -> dict[str, float]:
    """Dice of each patient's out-of-sample mask, where a network predicted one."""

    if model is None:
        return {}
    path = study.job.results / "ensemble" / f"{model}.parquet"
    predictions = read_frame(path).set_index("patient_id")
    if "dice" not in predictions:
        return {}
    return {str(patient_id): float(dice) for patient_id, dice in predictions["dice"].dropna().items()}
