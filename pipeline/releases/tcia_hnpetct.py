"""The collection Head-Neck-PET-CT of TCIA (doi 10.7937/K9/TCIA.2017.8oje5q00): DICOM folders and two workbooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.errors import TableError
from pipeline.releases.release import (
    EVENT,
    TIME,
    PatientRecord,
    Release,
    ReleasedPatient,
    check_events,
    gather_records,
    outcome_problem,
    require_patients,
)
from pipeline.releases.sheets import ReleaseSheet, sheets_below

KEY, CONTOUR_KEY, CONTOUR = "patient #", "patient", "name gtv primary"
EXCLUDED = "excluded"
"""Name of the workbook's sheet of patients whom the collection's authors left out."""
PATIENT = re.compile(r"^HN-[A-Z]+-\d+$")
MOST_NOTE_CELLS = 3
"""A row below a sheet's table that is no patient, a note, has no more cells with text than this."""
LAST_SEEN = "time - diagnosis to last follow-up (days)"
EVENTS = {
    "locoregional": ("locoregional", "time - diagnosis to lr (days)"),
    "distant": ("distant", "time - diagnosis to dm (days)"),
    "death": ("death", "time - diagnosis to death (days)"),
}
"""Endpoint → columns of its event (0, 1) and of its time."""
COVARIATES = {
    "sex": "clinical_sex",
    "age": "clinical_age",
    "primary site": "clinical_primary_site",
    "t-stage": "clinical_t_stage",
    "n-stage": "clinical_n_stage",
    "m-stage": "clinical_m_stage",
    "tnm group stage": "clinical_tnm_group",
    "hpv status": "clinical_hpv",
    "therapy": "clinical_therapy",
    "surgery": "clinical_surgery",
}


def read_tcia_hnpetct(data: Path, time_unit: str) -> Release:
    """The collection as TCIA gives it: `HN-*/` folders of DICOM, the clinical workbook, that of contours' names.

    The primary endpoint is recurrence, locoregional or distant, whichever came first; deaths without
    one are censored. `locoregional`, `distant` and `death` are further endpoints. Times are days from
    the diagnosis, as the workbook has them; patients without an event are censored at the last follow-up.

    Args:
        data: Folder with the patients' folders and the workbooks, or with a subfolder of these.
        time_unit: Must be empty or `days`: the workbook's columns name their unit.

    Raises:
        TableError: Nobody can be used, events are coded otherwise, or the workbook contradicts itself.
    """
    if time_unit not in ("", "days"):
        raise TableError("the collection's times are days", where="TIME_UNIT", got=time_unit)
    sheets = [_with_plain_columns(sheet) for sheet in sheets_below(data)]
    clinical = [sheet for sheet in sheets if KEY in sheet.header and sheet.name.lower() != EXCLUDED]
    excluded = {row[KEY] for s in sheets if KEY in s.header and s not in clinical for row in s.rows}
    records = gather_records(clinical, KEY)
    _require_columns(clinical, data)
    for name, _ in EVENTS.values():
        check_events({patient_id: record.values[name] for patient_id, record in records.items()}, name)
    contours = _contour_names(sheets)
    folders = _folders(data)
    patients: list[ReleasedPatient] = []
    left_out: dict[str, str] = {}
    for patient_id in sorted({*folders, *records, *excluded}):
        columns, problem = _columns(patient_id, records, folders, excluded)
        if problem:
            left_out[patient_id] = problem
            continue
        roi = contours.get(patient_id, "")
        note = "" if roi else "no name of a contour: contours.roi decides"
        patients.append(ReleasedPatient(patient_id, folders[patient_id], roi, columns, note=note))
    require_patients(patients, left_out, data)
    changes = {
        "study": {"title": "Multi-task segmentation and prognosis, TCIA Head-Neck-PET-CT"},
        "cohort": {
            "source": "dicom",
            "nifti_pet_quantity": None,
            "endpoint_name": "Recurrence-free survival",
            "time_unit": "days",
            "fill": None,
        },
        "contours": {"roi": ["GTV*"]},
        "crop": {"position": "brain_anchored", "boxes": None},
        "paper": None,
        "report": None,
    }
    header = {column for sheet in clinical for column in sheet.header}
    taken = {KEY, LAST_SEEN, *COVARIATES, *(column for pair in EVENTS.values() for column in pair)}
    return Release(tuple(patients), left_out, "papers/hecktor", changes, tuple(sorted(header - taken)))


def _with_plain_columns(sheet: ReleaseSheet) -> ReleaseSheet:
    """A sheet with columns in lower case and plain hyphens, without the notes below its table.

    Raises:
        TableError: A row is no patient of the collection, and no note.
    """
    names = {column: _plain(column) for column in sheet.header}
    key = next((column for column, name in names.items() if name in (KEY, CONTOUR_KEY)), None)
    if key is None:
        return sheet
    rows = []
    for row in sheet.rows:
        if PATIENT.match(row[key]):
            rows.append({names[column]: value for column, value in row.items()})
        elif sum(bool(value) for value in row.values()) > MOST_NOTE_CELLS:
            raise TableError(
                "a row of a sheet is no patient of the collection",
                where=sheet.label,
                expected="an id such as HN-CHUM-001",
                got=repr(row[key]),
                action="correct the id",
            )
    return replace(sheet, header=tuple(names.values()), rows=tuple(rows))


def _plain(column: str) -> str:
    """`Time – diagnosis to DM(days)` as `time - diagnosis to dm (days)`."""
    text = re.sub(r"[\u2010-\u2015\u2212]", "-", column.lower())
    return re.sub(r"\s*\(days\)", " (days)", text).strip()


def _require_columns(clinical: list[ReleaseSheet], data: Path) -> None:
    wanted = [LAST_SEEN, *(column for pair in EVENTS.values() for column in pair)]
    for sheet in clinical:
        if missing := [column for column in wanted if column not in sheet.header]:
            raise TableError(
                "a clinical sheet lacks a column: " + ", ".join(missing),
                where=sheet.label,
                got=", ".join(sheet.header),
            )
    if not clinical:
        raise TableError(
            "the clinical workbook is missing",
            where=str(data),
            expected="INFOclinical_HN_Version2_30may2018.xlsx, or its sheets as CSV, with the column 'Patient #'",
            action="put it into DATA",
        )


def _contour_names(sheets: list[ReleaseSheet]) -> dict[str, str]:
    """Patient id → name of the primary tumour's ROI, from the workbook of contours' names, if it is there."""
    named = [sheet for sheet in sheets if {CONTOUR_KEY, CONTOUR} <= set(sheet.header)]
    records = gather_records(named, CONTOUR_KEY)
    return {patient_id: record.values[CONTOUR] for patient_id, record in records.items()}


def _folders(data: Path) -> dict[str, Path]:
    """Patient id → folder of the patient's DICOM files."""
    places = [data, *sorted(path for path in data.iterdir() if path.is_dir())]
    found: dict[str, Path] = {}
    for place in places:
        for path in sorted(place.iterdir()):
            if not (path.is_dir() and PATIENT.match(path.name)):
                continue
            if path.name in found:
                raise TableError(
                    f"patient {path.name!r} has two folders", where=f"{found[path.name]} and {path}"
                )
            found[path.name] = path
    return found


def _columns(
    patient_id: str, records: Mapping[str, PatientRecord], folders: Mapping[str, Path], excluded: set[str]
) -> tuple[dict[str, str], str]:
    """Columns of a patient, and why the patient cannot be used; empty if the patient can."""
    if patient_id in excluded:
        return {}, "excluded by the collection's authors"
    if patient_id not in folders:
        return {}, "no images"
    if patient_id not in records:
        return {}, "no row in a clinical sheet"
    values = records[patient_id].values
    columns = {"centre": patient_id.split("-")[1]}
    columns |= {name: values[column] for column, name in COVARIATES.items() if column in values}
    times: dict[str, str] = {}
    for endpoint, (event_column, time_column) in EVENTS.items():
        event = values[event_column]
        times[endpoint] = values[time_column if event in ("1", "1.0") else LAST_SEEN]
        if problem := outcome_problem(times[endpoint], event, f"{event_column} and its time"):
            return {}, problem
        columns[f"{endpoint}_{EVENT}"] = str(int(float(event)))
        columns[f"{endpoint}_{TIME}"] = times[endpoint]
    recurred = [name for name in ("locoregional", "distant") if columns[f"{name}_{EVENT}"] == "1"]
    # Both are censored at the last follow-up where neither occurred.
    first = min(recurred or ["locoregional"], key=lambda name: float(times[name]))
    return {**columns, TIME: times[first], EVENT: str(int(bool(recurred)))}, ""
