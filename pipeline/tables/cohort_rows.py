"""The cohort table as text: its rows with their line numbers, and checks of all rows together."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import TableError
from pipeline.tables.numbers import MISSING, is_number

DOUBTFUL = frozenset({"none", "missing", "unknown", ".", "-", "?"})
"""Words that people write for it, and that may also be meant as a level."""
NO_LEVEL = (MISSING | DOUBTFUL) - {"none"}
"""Words that are no level that patients are grouped by; `none` may be one (no metastasis)."""
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def levels_of(texts: Iterable[str]) -> list[str]:
    """The levels of a column, field by field: empty where the level is not known, blank or written as a word for that.

    A dash is a level where the column has a plus, too (HPV `+` and `-`).
    """
    stripped = [text.strip() for text in texts]
    words = NO_LEVEL - {"-"} if any(text.startswith("+") for text in stripped) else NO_LEVEL
    return ["" if text.lower() in words else text for text in stripped]


@dataclass(frozen=True)
class Row:
    """A row of the cohort table.

    Attributes:
        line: Line of the file that it ends on.
        values: Column → text.
    """

    line: int
    values: dict[str, str]


@dataclass(frozen=True)
class TableText:
    """The cohort table as text.

    Attributes:
        header: Names of the columns.
        rows: Its rows without blank ones.
    """

    header: list[str]
    rows: list[Row]


def read_rows(path: Path) -> TableText:
    """Read the cohort table.

    Raises:
        TableError: The file is missing, no UTF-8 CSV with commas, has a column twice, or a
            row with another number of fields than the header.
    """
    if not path.is_file():
        raise TableError(
            "the cohort table does not exist",
            where=str(path),
            expected="a CSV with a row per patient",
            action="set cohort.table, or draft one: suvival draft DICOM_FOLDER TABLE.csv",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            "the cohort table is not a text in UTF-8",
            where=f"{path}, byte {error.start + 1}",
            expected="CSV in UTF-8",
            action="save it as 'CSV UTF-8 (comma delimited)'; a workbook (.xlsx) is not a CSV",
        ) from None
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))  # a long field is its row's problem
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        return _rows(lines, path)
    except csv.Error as error:
        raise TableError(
            "the cohort table is no CSV",
            where=f"{path}, line {lines.line_num}",
            got=str(error),
            action="check quotes and control characters in this line",
        ) from None


def _rows(lines: Any, path: Path) -> TableText:
    header = [name.strip() for name in next(lines, [])]
    _check_header(header, path)
    rows = []
    for fields in lines:
        if not any(map(str.strip, fields)):
            continue
        if len(fields) != len(header):
            raise TableError(
                "a row has another number of fields than the header",
                where=f"{path}, line {lines.line_num}",
                expected=str(len(header)),
                got=str(len(fields)),
                action="check commas and quotes in this line; a decimal comma belongs in quotes or is a point",
            )
        values = [value.strip() for value in fields]
        rows.append(Row(lines.line_num, dict(zip(header, values, strict=True))))
    return TableText(header, rows)


def _check_header(header: Sequence[str], path: Path) -> None:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise TableError(
                f"the columns of the cohort table are separated by {name}",
                where=f"{path}, line 1",
                expected="commas",
                action="save it as 'CSV UTF-8 (comma delimited)', numbers with a decimal point",
            )
    require_once(header, path, "remove or rename one of them")


def require_once(names: Sequence[str], path: Path, action: str) -> None:
    """Refuse a column name that occurs twice: it would not be clear which of the columns is read."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(
            "the cohort table has a column twice: " + ", ".join(map(repr, twice)),
            where=str(path),
            got=", ".join(names),
            action=action,
        )


def check_unique_patients(rows: Sequence[Row], path: Path) -> None:
    """Refuse two rows of one patient."""
    seen: set[str] = set()
    for row in rows:
        patient_id = row.values["patient_id"]
        # Case-insensitive file systems would let two patients share a folder.
        key = patient_id.lower()
        if key in seen:
            raise TableError(
                f"two rows have the same patient_id: {patient_id!r}",
                where=str(path),
                expected="one row per patient (upper and lower case count as the same)",
                action="remove one, or give it an id of its own",
            )
        seen.add(key)


def check_event_coding(values: Sequence[str], column: str, path: Path) -> None:
    """Refuse events coded 1 and 2 (1 = censored in some packages, occurred in others)."""
    coded = {value.removesuffix(".0") for value in values if value}
    if "2" in coded and coded <= {"1", "2"}:
        # Row by row each 2 would be refused, and each 1, which may mean censored, taken as an event.
        raise TableError(
            f"column {column!r} is coded 1 and 2",
            where=str(path),
            expected="1 = the event occurred, 0 = censored",
            got="only 1 and 2, which may mean censored and occurred",
            action="recode the column",
        )


def check_missing_words(rows: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """Refuse words for missing values among numbers: read as text, each number would be a category."""
    for name in names:
        known = [row for row in rows if row.values[name] and row.values[name].lower() not in MISSING]
        words = [row for row in known if not is_number(row.values[name])]
        doubtful = all(row.values[name].lower() in DOUBTFUL for row in words)
        if words and len(words) < len(known) and doubtful:
            raise TableError(
                f"column {name!r} holds numbers and a word for missing values",
                where=f"{path}, line {words[0].line}",
                expected="a number, or nothing where it is missing",
                got=repr(words[0].values[name]) + (f" and {len(words) - 1} more" if len(words) > 1 else ""),
                action="empty these fields",
            )


def check_decimal_commas(rows: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """Refuse numbers such as `61,5`: read as text, each would be a category of its own."""
    for name in names:
        for row in rows:
            if DECIMAL_COMMA.fullmatch(row.values[name]):
                raise TableError(
                    f"column {name!r} holds a number with a decimal comma",
                    where=f"{path}, line {row.line}",
                    expected="a decimal point",
                    got=repr(row.values[name]),
                    action="write the numbers of this column with points",
                )


def check_images(rows: Sequence[Row], root: Path, path: Path) -> None:
    """Refuse two rows with one folder of images: a model would be trained and evaluated on one patient."""
    owners: dict[Path, Row] = {}
    for row in rows:
        if not row.values["image_path"]:
            continue
        if path_problem(row.values["image_path"]):
            continue
        try:
            folder = (root / row.values["image_path"]).resolve()
        except (OSError, RuntimeError):  # a closed folder, or links in a ring: its stage reports it
            folder = (root / row.values["image_path"]).absolute()
        if folder in owners:
            owner = owners[folder]
            raise TableError(
                f"patients {owner.values['patient_id']!r} and {row.values['patient_id']!r} have the same images",
                where=f"{path}, lines {owner.line} and {row.line}",
                expected="a folder of its own for each patient, and one row per patient",
                got=row.values["image_path"],
                action="correct image_path, or remove one of the rows",
            )
        owners[folder] = row


def require_image_path(image_path: str, where: str) -> None:
    """Refuse a row whose folder of images is not named, or cannot be called so."""
    if not image_path:
        # Blank would be the image root itself, with the images of other patients.
        raise TableError(
            "column 'image_path' is empty",
            where=where,
            expected="the patient's folder, below cohort.image_root",
            action="name it, or remove the patient",
        )
    if problem := path_problem(image_path):
        raise TableError(
            "column 'image_path' holds what no folder can be called",
            where=where,
            expected="printable characters without braces",
            got=f"{problem}: {image_path[:60]!r}",
            action="rename the folder, and correct this row",
        )


def path_problem(text: str) -> str:
    """Why a text cannot be the path of anything, or not in a workflow; empty if it can."""
    if any(not c.isprintable() for c in text):
        return "a character that cannot be printed"
    if any(len(os.fsencode(part)) > 255 for part in Path(text).parts) or len(os.fsencode(text)) > 4095:
        return f"{len(text)} characters, more than a file system takes"
    return "braces, which the workflow takes for a wildcard" if {"{", "}"} & set(text) else ""
