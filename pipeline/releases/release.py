"""A public release as its reader found it: patients, their files, outcomes and covariates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import TableError
from pipeline.releases.sheets import ReleaseSheet
from pipeline.settings.base import DAYS_PER_MONTH
from pipeline.tables.cohort import PATIENT_ID

MOST_MONTHS = 240.0
"""Longest follow-up in months that a release may have: where all times in days are shorter, they are months."""
TIME, EVENT = "time_days", "event"


@dataclass(frozen=True)
class ReleasedPatient:
    """One patient of a release.

    Attributes:
        patient_id: The release's own pseudonym.
        images: The patient's own folder (or file); or the patient's files, where their folder holds
            those of others, too: these get a folder of links.
        roi: Mask file of the contour, or empty.
        columns: Further columns of the cohort table: `centre`, outcomes, `clinical_*` and the like.
        box: Corners x1, x2, y1, y2, z1, z2 (LPS mm) of the crop's box; None where the release has none.
        note: What to look at before the patient is used.
    """

    patient_id: str
    images: Path | tuple[Path, ...]
    roi: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    box: tuple[float, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class Release:
    """What a cohort table and a study file are drafted from.

    Attributes:
        patients: Patients who can be used, in the order of the table.
        left_out: Patient id → why the patient is not in the table.
        base: Study file of the checkout that the drafted one is made from, below `config/studies`.
        changes: Keys of that study that this release changes; None removes a key.
        unused_columns: Columns of the sheets that nothing was taken from.
    """

    patients: tuple[ReleasedPatient, ...]
    left_out: Mapping[str, str]
    base: str
    changes: Mapping[str, Any]
    unused_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatientRecord:
    """What all sheets of a release say of one patient.

    Attributes:
        values: Text by column; missing values are empty.
        sources: The sheet that each value stands in.
    """

    values: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, patient_id: str, column: str, value: str, source: str) -> None:
        """Take a value in; two sheets must not contradict one another.

        Raises:
            TableError: They do.
        """
        known = self.values.get(column, "")
        if known and value and known != value and not _same_number(known, value):
            raise TableError(
                f"two sheets say different things of patient {patient_id!r}",
                where=f"column {column!r} of {self.sources[column]} and {source}",
                got=f"{known!r} and {value!r}",
                action="correct one of them, or move a sheet that is not meant out of DATA",
            )
        if value or column not in self.values:
            self.values[column], self.sources[column] = value, source


def _same_number(first: str, second: str) -> bool:
    try:
        return float(first) == float(second)
    except ValueError:
        return False


def gather_records(sheets: Iterable[ReleaseSheet], key: str) -> dict[str, PatientRecord]:
    """Patient id → what the sheets with the column `key` say, sheets that lack it left aside.

    Raises:
        TableError: A sheet has two rows of a patient (upper and lower case are the same), an id that is
            not safe in file names, or contradicts another sheet.
    """
    records: dict[str, PatientRecord] = {}
    for sheet in sheets:
        if key not in sheet.header:
            continue
        seen: set[str] = set()
        for row in sheet.rows:
            patient_id = row[key]
            require_patient_id(patient_id, sheet.label)
            if patient_id.lower() in seen:
                raise TableError(
                    f"a sheet has two rows of patient {patient_id!r}",
                    where=sheet.label,
                    expected="one row per patient (upper and lower case count as the same)",
                    action="remove one of them",
                )
            seen.add(patient_id.lower())
            record = records.setdefault(patient_id, PatientRecord())
            for column, value in row.items():
                record.add(patient_id, column, value, sheet.label)
    return records


def require_patient_id(patient_id: str, where: str) -> None:
    """Refuse an id that names no folder; a name of a person has a space or a comma in it."""
    if not PATIENT_ID.match(patient_id):
        raise TableError(
            "a patient's id has characters that are not safe in file names",
            where=where,
            expected="1 to 64 letters, digits, '-' and '_', beginning with a letter or digit",
            got=repr(patient_id),
            action="a release names its patients by pseudonyms: check that this is the right sheet",
        )


def outcome_problem(time: str, event: str, what: str) -> str:
    """Why a patient's outcome cannot be used; empty if it can.

    Args:
        time: Time to the event or last follow-up, as text.
        event: 1 = the event occurred, 0 = censored, as text.
        what: Columns that they come from, for the message.
    """
    if not time and not event:
        return f"no outcome ({what} blank)"
    if not time or not event:
        return f"half an outcome: {what} are {time or 'blank'!s} and {event or 'blank'!s}"
    try:
        number = float(time)
    except ValueError:
        return f"the time is no number: {time!r}"
    if not (math.isfinite(number) and number > 0):
        return f"the time is not above 0: {time}"
    return ""


def check_events(records: Mapping[str, str], column: str) -> None:
    """Refuse events that are coded otherwise than 0 and 1, of all patients together.

    Args:
        records: Patient id → event as text; blank where it is not known.
        column: Column that they come from.

    Raises:
        TableError: Naming the codes; 1 and 2, yes and no, or text are never mapped by a guess.
    """
    codes = sorted({value for value in records.values() if value})
    if not codes or set(codes) <= {"0", "1", "0.0", "1.0"}:
        return
    raise TableError(
        f"column {column!r} is not coded 0 and 1",
        where="the sheet with the outcomes",
        expected="1 = the event occurred, 0 = censored",
        got=", ".join(codes[:6]),
        action="recode this column of the sheet",
    )


def in_days(times: Mapping[str, str], unit: str, column: str) -> dict[str, str]:
    """Times as text in days.

    Args:
        times: Patient id → time as text; what is no number is left as it is.
        unit: `days` or `months`, as the user declared; empty: days, if that can be.
        column: Column that they come from.

    Raises:
        TableError: No unit is declared, and times in days would all be shorter than 240.
    """
    numbers = [value for value in map(_number, times.values()) if value is not None]
    if not unit and numbers and max(numbers) <= MOST_MONTHS:
        raise TableError(
            f"the times of column {column!r} may be months: no patient was followed for more than "
            f"{MOST_MONTHS:g} days",
            where="the sheet with the outcomes",
            expected="days",
            got=f"{min(numbers):g} to {max(numbers):g}",
            action="say what they are: TIME_UNIT=months or TIME_UNIT=days",
        )
    if unit != "months":
        return dict(times)
    converted = {}
    for patient_id, text in times.items():
        number = _number(text)
        converted[patient_id] = text if number is None else repr(number * DAYS_PER_MONTH)
    return converted


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def require_patients(patients: Sequence[ReleasedPatient], left_out: Mapping[str, str], data: Path) -> None:
    """Refuse a release of which nobody can be used.

    Raises:
        TableError: With the first reason.
    """
    if patients:
        return
    first = next(iter(left_out.items()), None)
    raise TableError(
        "no patient of the release can be used",
        where=str(data),
        got=f"{len(left_out)} patients; {first[0]}: {first[1]}" if first else "no patients",
        action="check DATA and LAYOUT: DATA is the folder that the release was unpacked into",
    )
