"""The cohort table: a row per patient, validated before anything runs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline.errors import TableError
from pipeline.provenance import ROOT
from pipeline.settings.base import DAYS_PER_MONTH, Policy
from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort_groups import SPLIT_COLUMNS, check_groups, check_splits, subset_names
from pipeline.tables.cohort_rows import (
    Row,
    check_decimal_commas,
    check_event_coding,
    check_images,
    check_missing_words,
    check_unique_patients,
    read_rows,
    require_image_path,
    require_once,
)
from pipeline.tables.label_classes import coded_labels
from pipeline.tables.numbers import SlipError, cell_number, is_blank, is_number, likeness, require_time

PATIENT_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
REQUIRED = ("patient_id", "set", "image_path")
OPTIONAL = ("centre", "roi", "time_days", "event", *SPLIT_COLUMNS)
PREFIXES = ("clinical_", "label_", "truth_")
SUFFIXES = ("_time_days", "_event")
SETS = ("development", "external")


@dataclass(frozen=True)
class Patient:
    """A row of the cohort table.

    Attributes:
        patient_id: Letters, digits, `-` and `_`; names files.
        set: `development` or `external`.
        centre: Centre that treated the patient.
        image_path: Folder (or file) of the images.
        roi: Pattern of ROI names or path of a mask; empty: the study's patterns.
        time_days: Time to event or censoring, > 0, of the primary endpoint (days, or
            dimensionless where the study says so); None in a study without outcomes.
        event: 1 = the event occurred, 0 = censored; None in a study without outcomes.
        extra: The `clinical_*`, `label_*`, `truth_*` and further endpoints' columns, as text.
        split: Set or fold that the table gives the patient; empty: it is drawn.
        group: Rows with the same name (slices of a volume, say) stay on one side of every split.
        subsets: Subsets of the cohort that the row belongs to; a model may be trained on one of them.
    """

    patient_id: str
    set: Literal["development", "external"]
    centre: str
    image_path: str
    roi: str
    time_days: float | None
    event: int | None
    extra: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    group: str = ""
    subsets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cohort:
    """Patients of the cohort table.

    Attributes:
        patients: Usable patients in the table's order.
        problems: Patient id → what is wrong with the row of a patient who cannot be used.
    """

    patients: tuple[Patient, ...]
    problems: Mapping[str, str]

    def ids(self, which: str | None = None) -> list[str]:
        """Patient ids of a set, or of all."""
        return [p.patient_id for p in self.patients if which in (None, p.set)]

    @property
    def has_outcomes(self) -> bool:
        """Whether the table has times and events: of all patients, or of none."""
        return self.patients[0].event is not None

    def __getitem__(self, patient_id: str) -> Patient:
        for patient in self.patients:
            if patient.patient_id == patient_id:
                return patient
        raise KeyError(patient_id)


def read_cohort(settings: CohortSettings, policy: Policy = "stop") -> Cohort:
    """Read and validate the cohort table.

    Args:
        settings: Path of the table, names of its columns, and the endpoint.
        policy: What to do with a row that has an invalid value: `stop`, or `exclude` that patient.

    Raises:
        TableError: The table is missing, lacks a column, has an unknown one, or (policy
            `stop`) has an invalid value.
        SlipError: A time or an event is filled in and is no number (whatever the policy: a blank one
            may leave a patient out, a slip of the pen may not).
    """
    path = Path(settings.table)
    if not path.is_file() and (ROOT / path).is_file():
        path = ROOT / path  # with -s or --directory the run starts elsewhere
    text = read_rows(path)
    if not text.rows:
        raise TableError("the cohort table has no rows", where=str(path), action="add a row per patient")
    names = _rename(text.header, settings, path)
    rows = [
        Row(row.line, _fill(dict(zip(names, row.values.values(), strict=True)), settings))
        for row in text.rows
    ]
    _check_columns(list(rows[0].values), settings, path)
    rows = coded_labels(rows, settings.labels, path)
    _check_whole(rows, settings, path)
    patients: list[Patient] = []
    problems: dict[str, str] = {}
    slips: list[str] = []
    for row in rows:
        patient_id = row.values["patient_id"]
        try:
            patients.append(_parse(row.values, settings, f"{path}, line {row.line}"))
        except TableError as error:
            if not PATIENT_ID.match(patient_id) or policy == "stop":
                raise
            if isinstance(error, SlipError):
                slips.append(str(error).rstrip("."))
            problems[patient_id] = str(error)
    if slips:
        raise SlipError("\n".join(slips))
    if not patients:
        raise TableError(
            f"no row of the cohort table can be used; the first: {next(iter(problems.values()))}"
        )
    return Cohort(tuple(patients), problems)


def _check_whole(rows: list[Row], settings: CohortSettings, path: Path) -> None:
    """Check all rows together."""
    check_unique_patients(rows, path)
    event_column = endpoint_columns(settings).event
    # A study without outcomes has no such column.
    check_event_coding(
        [row.values[event_column] for row in rows if event_column in row.values], event_column, path
    )
    covariates = [name for name in rows[0].values if name.startswith(PREFIXES)]
    check_missing_words(rows, covariates, path)
    check_decimal_commas(rows, covariates, path)
    check_images(rows, Path(settings.image_root), path)
    check_splits(rows, path)
    check_groups(rows, path)


def _rename(header: list[str], settings: CohortSettings, path: Path) -> list[str]:
    """Header with the names of this software in place of the table's own."""
    renamed: dict[str, str] = {}
    for name, name_in_table in settings.columns.items():
        if header and name_in_table not in header:
            raise TableError(
                f"cohort.columns names a column that the table lacks: {name_in_table!r}",
                where=str(path),
                expected=", ".join(header),
                action=_suggest(name_in_table, header),
            )
        renamed[name_in_table] = name
    names = [renamed.get(name, name) for name in header]
    require_once(
        names, path, "cohort.columns gives a column a name that another one has: rename that one in the table"
    )
    return names


def _fill(row: dict[str, str], settings: CohortSettings) -> dict[str, str]:
    for name, value in settings.fill.items():
        row.setdefault(name, value.replace("{patient_id}", row.get("patient_id", "")))
    return row


class OutcomeColumns(NamedTuple):
    """Names of an endpoint's columns."""

    time: str
    event: str


class Outcome(NamedTuple):
    """Time, in days, and event of a row."""

    time: float
    event: int


def endpoint_columns(settings: CohortSettings) -> OutcomeColumns:
    """Names of the primary endpoint's columns."""
    if not settings.endpoint:
        return OutcomeColumns("time_days", "event")
    return OutcomeColumns(f"{settings.endpoint}_time_days", f"{settings.endpoint}_event")


def _check_columns(header: list[str], settings: CohortSettings, path: Path) -> None:
    wanted = [*REQUIRED, *(endpoint_columns(settings) if _names_outcomes(header, settings) else ())]
    known = list(dict.fromkeys([*REQUIRED, *OPTIONAL, *endpoint_columns(settings)]))
    missing = [name for name in wanted if name not in header]
    unknown = [
        name
        for name in header
        if name not in known and not name.startswith(PREFIXES) and not name.endswith(SUFFIXES)
    ]
    # A table made for another purpose, mapped by `columns`, may have columns that are not used.
    if unknown and (missing or not settings.columns):
        raise TableError(
            "the cohort table has a column with an unknown name: " + ", ".join(map(repr, unknown)),
            where=str(path),
            expected=f"{', '.join(known)}, or names beginning {', '.join(PREFIXES)}",
            action=_suggest(unknown[0], known) or "rename it, or map your table's names with cohort.columns",
        )
    if missing:
        action = "add it, map it with cohort.columns, or give it by cohort.fill"
        if not set(missing) & set(REQUIRED):
            action += "; a study without outcomes has neither time nor event"
        raise TableError(
            "the cohort table lacks a column: " + ", ".join(missing),
            where=str(path),
            got=", ".join(header),
            action=action,
        )


def _names_outcomes(header: list[str], settings: CohortSettings) -> bool:
    """Whether settings or table name an outcome, so that both of its columns are required."""
    named = {*endpoint_columns(settings)} & set(header)
    return bool(settings.endpoint or named or any(name.endswith(SUFFIXES) for name in header))


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _parse(row: dict[str, str], settings: CohortSettings, where: str) -> Patient:
    patient_id = row["patient_id"]
    if not PATIENT_ID.match(patient_id):
        raise TableError(
            "a patient_id has characters that are not safe in file names",
            where=where,
            expected="1 to 64 letters, digits, '-' and '_', beginning with a letter or digit",
            got=repr(patient_id),
            action="rename the patient in the table",
        )
    if row["set"] not in SETS:
        raise TableError(
            "column 'set' has an unknown value",
            where=where,
            expected=" or ".join(SETS),
            got=repr(row["set"]),
            action="correct this row",
        )
    require_image_path(row["image_path"], where)
    columns = endpoint_columns(settings)
    days = DAYS_PER_MONTH if settings.time_unit == "months" else 1.0
    outcome = _parse_outcome(row, columns, days, where) if columns.event in row else None
    used = {*REQUIRED, *OPTIONAL, *columns}
    return Patient(
        patient_id=patient_id,
        set="development" if row["set"] == "development" else "external",
        centre=row.get("centre", "") or "unknown",
        image_path=row["image_path"],
        roi=row.get("roi", ""),
        time_days=None if outcome is None else outcome.time,
        event=None if outcome is None else outcome.event,
        split=row.get("split", ""),
        group=row.get("group", ""),
        subsets=subset_names(row.get("subsets", "")),
        extra={k: _in_days(k, v, days) for k, v in row.items() if k not in used},
    )


def _parse_outcome(row: dict[str, str], columns: OutcomeColumns, days: float, where: str) -> Outcome:
    time = days * cell_number(row[columns.time], columns.time, where)
    require_time(time, columns.time, where)
    event = row[columns.event]
    if event not in ("0", "1", "0.0", "1.0"):
        kind = TableError if is_blank(event) or is_number(event) else SlipError
        raise kind(
            f"column {columns.event!r} must be 0 or 1",
            where=where,
            expected="1 = the event occurred, 0 = censored",
            got=repr(event) + likeness(event),
            action="correct this row",
        )
    return Outcome(time, int(float(row[columns.event])))


def _in_days(name: str, text: str, days: float) -> str:
    """The time of a further endpoint in days, as its column's name says; other text as it is."""
    if days == 1.0 or not name.endswith("_time_days"):
        return text
    return repr(float(text) * days) if is_number(text) else text
