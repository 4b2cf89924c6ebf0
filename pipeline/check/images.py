"""What images tell of a study before its first job: each patient's series, contours' names and grids.

DICOM headers are read as the rule `index` reads them, into a folder that goes again; no pixel is read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.check.nifti_headers import Found, nifti_problems
from pipeline.console import progress
from pipeline.crops.placement import read_boxes
from pipeline.dicom.contours.threshold_segmentation import is_seed_sphere, parse_sphere
from pipeline.dicom.header.rtstruct import matches, read_roi_names
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.series.index_file import files_of, of_role, read_index
from pipeline.errors import ContourError, PatientError, PipelineError, SettingsError, printable
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from pipeline.workflow.guards import absent_patients
from pipeline.workflow.paths import StudyPaths

MOST_NAMED = 5
"""Patients or names that a line shows at most."""


def image_problems(paths: StudyPaths) -> Iterator[PipelineError]:
    """What is wrong with the patients' images, patient by patient, then with all together."""
    absent = set(absent_patients(paths))
    present = [patient for patient in paths.study.cohort.ids() if patient not in absent]
    yield from _missing_masks(paths, present)
    yield from _missing_boxes(paths, present)
    if paths.study.settings.cohort.source == "dicom":
        yield from _dicom_problems(paths, present)
    elif paths.study.settings.cohort.source == "nifti":
        found = Found()
        yield from nifti_problems(paths, present, found)
        yield from _roi_problems(paths, found.names)


def _missing_masks(paths: StudyPaths, patients: Sequence[str]) -> Iterator[PipelineError]:
    """Mask files that the table names and that are not there."""
    for patient in patients:
        folder = Path(paths.image_folder(patient))
        for text in paths.mask_paths(patient):
            if not (folder / text).is_file() and not Path(text).is_file():
                yield ContourError(
                    "a mask file is missing",
                    where=f"patient {patient}, column 'roi'",
                    expected=f"a file in {folder}, or a path from the working directory",
                    got=text,
                    action="correct the cell, or leave it blank",
                )


def _missing_boxes(paths: StudyPaths, patients: Sequence[str]) -> Iterator[PipelineError]:
    """Patients without a row in the table of boxes, in one line."""
    crop = paths.study.settings.crop
    if not (paths.study.from_scanner and crop.position == "box" and Path(crop.boxes).is_file()):
        return
    try:
        have = [row["patient_id"] for row in read_boxes(Path(crop.boxes))]
    except SettingsError as error:
        yield error
        return
    wrong = [patient for patient in patients if have.count(patient) != 1]
    if wrong:
        more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        yield SettingsError(
            f"the table of boxes must have one row per patient, and has none or several of {len(wrong)}",
            where=f"crop.boxes: {crop.boxes}; patient {', '.join(wrong[:MOST_NAMED])}{more}",
            action="add their rows (patient_id, x1, x2, y1, y2, z1, z2 in LPS mm), or remove the repeated ones",
        )


def _dicom_problems(paths: StudyPaths, patients: Sequence[str]) -> Iterator[PipelineError]:
    names: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for patient in progress(patients, title="headers"):
            out = Path(folder, "index", patient)
            source = PatientFiles(patient, Path(paths.image_folder(patient)), paths.study.cohort[patient].roi)
            index_patient(source, paths.study.settings.index, out, "exclude")
            status = read_status(out)
            if status.state == "excluded":
                yield PatientError(f"patient {patient} would be left out: {status.problem}")
                continue
            index = read_index(out)
            drawn = [file for row in of_role(index, "rtstruct") for file in files_of(index, row)]
            if not of_role(index, "seg"):  # names of segments are read with the pixels
                names[patient] = {name for file in drawn for name in read_roi_names(file)}
    yield from _roi_problems(paths, names)


def _roi_problems(paths: StudyPaths, names: Mapping[str, set[str]]) -> Iterator[PipelineError]:
    """Patients of whom no ROI fits the patterns; one line where they fit nobody."""
    contours = paths.study.settings.contours
    if contours.auto_segment != "none" or not contours.required:
        return
    lacking = {patient: have for patient, have in names.items() if not _fits(paths, patient, have)}
    if not lacking:
        return
    seen = sorted({printable(name, 60) for have in lacking.values() for name in have if name})
    shown = ", ".join(map(repr, seen[:MOST_NAMED])) + (
        f" and {len(seen) - MOST_NAMED} more" if len(seen) > MOST_NAMED else ""
    )
    who = list(lacking)
    more = f" and {len(who) - MOST_NAMED} more" if len(who) > MOST_NAMED else ""
    yield ContourError(
        "no ROI of any patient has a name that fits the patterns"
        if len(lacking) == len(names)
        else f"no ROI has a name that fits the patterns, of {len(who)} of {len(names)} patients",
        where=f"contours.roi: {', '.join(_patterns(paths, who[0]))}; patient {', '.join(who[:MOST_NAMED])}{more}",
        got=shown or "no contours (no RTSTRUCT or DICOM SEG of the chosen series, no mask file)",
        action="correct contours.roi or the table's column roi, or set contours.required: false",
    )


def _fits(paths: StudyPaths, patient: str, names: set[str]) -> bool:
    cell = paths.study.cohort[patient].roi
    if is_seed_sphere(cell.strip()):
        parse_sphere(cell.strip())
        return True
    return bool(paths.mask_paths(patient)) or any(matches(name, _patterns(paths, patient)) for name in names)


def _patterns(paths: StudyPaths, patient: str) -> list[str]:
    """Patterns of ROI names of a patient: the table's, else those of the study's classes or its `roi`."""
    contours, cell = paths.study.settings.contours, paths.study.cohort[patient].roi
    if cell:
        return [entry.strip() for entry in cell.split(";")]
    of_classes = [p for entry in contours.classes.values() if not isinstance(entry, int)
                  for p in ([entry] if isinstance(entry, str) else entry)]  # fmt: skip
    return of_classes or list(contours.roi)
