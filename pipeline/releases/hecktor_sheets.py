"""Files of a HECKTOR release joined with its sheets: who can be used, who is left out, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import TableError
from pipeline.releases.release import (
    EVENT,
    TIME,
    PatientRecord,
    Release,
    ReleasedPatient,
    check_events,
    gather_records,
    in_days,
    outcome_problem,
    require_patients,
)
from pipeline.releases.sheets import sheets_below

KEY = "PatientID"
BOX = ("x1", "x2", "y1", "y2", "z1", "z2")
OUTCOMES = (("Progression free survival", "Progression"), ("RFS", "Relapse"))
"""Columns of time and event: of 2021, and of all later years."""
COVARIATES = {
    "centerid": "centre",
    "gender": "clinical_gender",
    "gender (1=m,0=f)": "clinical_gender",
    "age": "clinical_age",
    "weight": "clinical_weight",
    "estimated weight (kg) for suv": "clinical_weight",
    "tobacco": "clinical_tobacco",
    "tobacco consumption": "clinical_tobacco",
    "alcohol": "clinical_alcohol",
    "alcohol consumption": "clinical_alcohol",
    "performance status": "clinical_performance",
    "hpv status": "clinical_hpv",
    "hpv status (0=-, 1=+)": "clinical_hpv",
    "surgery": "clinical_surgery",
    "chemotherapy": "clinical_chemotherapy",
    "treatment": "clinical_treatment",
    "tnm edition": "clinical_tnm_edition",
    "tnm group": "clinical_tnm_group",
    "t-stage": "clinical_t_stage",
    "n-stage": "clinical_n_stage",
    "m-stage": "clinical_m_stage",
}
"""Column of a sheet, in lower case → column of the cohort table; values are taken as they are coded."""
IMAGES = ("ct", "pet")
BASE = "papers/hecktor"
PAPER = f"config/studies/{BASE}.yaml"
"""Study file whose printed tables a drafted study shows beside its own numbers."""


@dataclass(frozen=True)
class FoundFiles:
    """A patient's files in a release.

    Attributes:
        ct, pet, contour: The files; None where there is none.
        own_folder: Folder with this patient's files and nobody else's; None where they lie among others'.
    """

    ct: Path | None
    pet: Path | None
    contour: Path | None
    own_folder: Path | None = None

    def missing(self) -> str:
        """Names of the images that are missing, for the message."""
        return " and ".join(name.upper() for name in IMAGES if getattr(self, name) is None)


@dataclass(frozen=True)
class HecktorYear:
    """What a year's release is like.

    Attributes:
        title: Title of the study.
        endpoint_name: Name of its outcome.
        ct, pet: Patterns of the images' names.
        boxes: Whether it comes with a box per patient that the crop is cut at.
        crop: Keys of the study's crop that it changes.
        classes: Lesions that its masks tell apart, by their value; none where there is only the tumour.
        paper: Whether it is the year whose patients the paper's own are among.
    """

    title: str
    endpoint_name: str
    ct: str
    pet: str
    boxes: bool = False
    crop: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    paper: bool = False

    def changes(self) -> dict[str, Any]:
        """Keys of the study that the release decides; None removes one."""
        cohort = {
            "source": "nifti",
            "nifti_ct": self.ct,
            "nifti_pet": self.pet,
            "nifti_pet_quantity": "suvbw",
            "endpoint_name": self.endpoint_name,
            "time_unit": "days",
            "fill": None,
        }
        return {
            "study": {"title": self.title},
            "cohort": cohort,
            "crop": dict(self.crop),
            "contours": {"roi": ["GTV*"], "classes": dict(self.classes) or None},
            "paper": PAPER if self.paper else None,
        }


def join_release(data: Path, found: Mapping[str, FoundFiles], year: HecktorYear, time_unit: str) -> Release:
    """Join files and sheets; who lacks an image, an outcome or a box is left out with the reason.

    Args:
        data: Folder of the release, in which the sheets lie.
        found: Files of each patient who has an image.
        year: What this year's release is like.
        time_unit: `days` or `months`, as the user declared; empty: days, if that can be.

    Raises:
        TableError: Nobody can be used, events are coded otherwise, or sheets contradict one another.
    """
    sheets = sheets_below(data)
    records = gather_records(sheets, KEY)
    header = {column for sheet in sheets if KEY in sheet.header for column in sheet.header}
    time_column, event_column = _outcome_columns(header, data)
    # Checked over the patients who have images: sheets of test patients may hold other codes.
    known = {patient_id: record for patient_id, record in records.items() if patient_id in found}
    events = {patient_id: record.values.get(event_column, "") for patient_id, record in known.items()}
    check_events(events, event_column)
    times = {patient_id: record.values.get(time_column, "") for patient_id, record in known.items()}
    days = in_days(times, time_unit, time_column)
    patients: list[ReleasedPatient] = []
    left_out: dict[str, str] = {}
    for patient_id in sorted({*found, *records}):
        problem = _problem(found.get(patient_id), records.get(patient_id), year)
        if not problem:
            problem = outcome_problem(
                days[patient_id], events[patient_id], f"{time_column} and {event_column}"
            )
        if problem:
            left_out[patient_id] = problem
            continue
        outcome = {TIME: days[patient_id], EVENT: str(int(float(events[patient_id])))}
        patient = _patient(patient_id, found[patient_id], records[patient_id], outcome)
        patients.append(
            replace(patient, box=_box(patient_id, records[patient_id])) if year.boxes else patient
        )
    require_patients(patients, left_out, data)
    taken = {KEY, time_column, event_column, *BOX}
    unused = sorted(column for column in header - taken if column.lower() not in COVARIATES)
    return Release(tuple(patients), left_out, BASE, year.changes(), tuple(unused))


def _outcome_columns(header: set[str], data: Path) -> tuple[str, str]:
    """Names of the columns of time and event.

    Raises:
        TableError: No sheet has both.
    """
    named = {column.lower(): column for column in header}
    for time, event in OUTCOMES:
        if time.lower() in named and event.lower() in named:
            return named[time.lower()], named[event.lower()]
    raise TableError(
        "no sheet of the release has the outcomes",
        where=str(data),
        expected=f"a CSV with {KEY}, and "
        + " or ".join(f"{event!r} with {time!r}" for time, event in OUTCOMES),
        got=", ".join(sorted(header)[:12]) or f"no sheet with the column {KEY}",
        action="put the release's sheets into DATA",
    )


def _problem(found: FoundFiles | None, record: PatientRecord | None, year: HecktorYear) -> str:
    """Why a patient of a release cannot be used, the outcome aside; empty if the patient can."""
    if found is None:
        return "no images"
    if missing := found.missing():
        return f"no {missing}"
    if record is None:
        return f"no row in a sheet with the column {KEY}"
    if year.boxes and not all(record.values.get(name) for name in BOX):
        return "no box"
    return ""


def _patient(
    patient_id: str, found: FoundFiles, record: PatientRecord, outcome: Mapping[str, str]
) -> ReleasedPatient:
    columns = {
        COVARIATES[column.lower()]: value
        for column, value in record.values.items()
        if column.lower() in COVARIATES
    }
    files = tuple(path for path in (found.ct, found.pet, found.contour) if path is not None)
    return ReleasedPatient(
        patient_id=patient_id,
        images=files if found.own_folder is None else found.own_folder,
        roi="" if found.contour is None else found.contour.name,
        columns={**columns, **outcome},
        note="no contour" if found.contour is None else "",
    )


def _box(patient_id: str, record: PatientRecord) -> tuple[float, ...]:
    """The corners of a patient's box (LPS mm)."""
    corners = []
    for name in BOX:
        try:
            corners.append(float(record.values[name]))
        except ValueError:
            raise TableError(
                "a corner of a box is no number",
                where=f"{record.sources[name]}, patient {patient_id}, column {name}",
                got=repr(record.values[name]),
            ) from None
    return tuple(corners)
