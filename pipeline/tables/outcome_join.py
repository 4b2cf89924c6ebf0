"""Outcomes and clinical values joined to a drafted cohort table by the patient's id in the images.

So that nobody has to write a script for it, or to sort two tables by hand: a row is taken for a patient
where its id is the DICOM Patient ID, character by character, and nothing else is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SettingsError, TableError
from pipeline.tables.cohort import OPTIONAL, PREFIXES, SUFFIXES
from pipeline.tables.cohort_rows import Row, TableText, read_rows

NAMES = ("set", *OPTIONAL)
"""Columns of a cohort table that another table may fill, beside those known by their beginning or ending."""


@dataclass(frozen=True)
class OutcomeSource:
    """A table with outcomes.

    Attributes:
        path: The CSV.
        id_column: Its column with the DICOM Patient ID.
        taken: Column of the drafted table → column of this one that it is taken from.
    """

    path: Path
    id_column: str
    taken: Mapping[str, str]


@dataclass(frozen=True)
class JoinedOutcomes:
    """What a table says of the patients of a draft.

    Attributes:
        columns: Columns of the drafted table that it fills.
        values: DICOM Patient ID → column → text.
        without_images: Ids of its rows that no image has.
        unused: Its columns that nothing was taken from.
    """

    columns: tuple[str, ...] = ()
    values: Mapping[str, Mapping[str, str]] | None = None
    without_images: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def of(self, key: str) -> Mapping[str, str]:
        """Values of a patient; empty where the table has no such row."""
        return (self.values or {}).get(key.strip(), {})


def named_columns(pairs: Sequence[str]) -> dict[str, str]:
    """Column of the drafted table → column of the other, from texts NAME=COLUMN.

    Raises:
        SettingsError: A text has no `=`, or a name that no cohort table has, or a name stands twice.
    """
    taken: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not column or not _is_name(name) or name in taken:
            raise SettingsError(
                "a column must be named once as NAME=COLUMN",
                where="--take",
                expected=f"NAME: one of {', '.join(NAMES)}, or beginning {', '.join(PREFIXES)}",
                got=pair[:80],
            )
        taken[name] = column
    return taken


def join_outcomes(source: OutcomeSource, keys: Sequence[str]) -> JoinedOutcomes:
    """Read a table with outcomes for the patients of a draft.

    Args:
        source: The table.
        keys: DICOM Patient IDs of the draft.

    Raises:
        TableError: The table cannot be read, lacks a column, has an id twice, or has none of the ids.
    """
    text = read_rows(source.path)
    columns = _columns(source, text)
    rows: dict[str, Row] = {}
    for row in text.rows:
        key = row.values[source.id_column]
        if key in rows:
            raise TableError(
                f"two rows have the same {source.id_column}: {key!r}",
                where=f"{source.path}, lines {rows[key].line} and {row.line}",
                expected="one row per patient",
                action="remove one of them",
            )
        rows[key] = row
    known = {key.strip() for key in keys}
    if not known & set(rows):
        raise TableError(
            "no row has the DICOM Patient ID of any image",
            where=f"{source.path}, column {source.id_column!r}",
            expected=f"ids such as {sorted(known)[0]!r}",
            got=f"ids such as {next(iter(rows), '')!r}",
            action="name the column with --id, or write the ids as the images have them",
        )
    values = {
        key: {name: rows[key].values[column] for name, column in columns.items()} for key in known & set(rows)
    }
    unused = [name for name in text.header if name not in {source.id_column, *columns.values()}]
    return JoinedOutcomes(
        tuple(columns), values, tuple(key for key in rows if key not in known), tuple(unused)
    )


def _columns(source: OutcomeSource, text: TableText) -> dict[str, str]:
    """Column of the drafted table → column of the source, those named first."""
    for where, name in (
        ("--id", source.id_column),
        *(("--take", column) for column in source.taken.values()),
    ):
        if name not in text.header:
            raise TableError(
                f"the table of outcomes has no column {name!r}",
                where=f"{source.path}; {where}",
                expected=", ".join(text.header),
            )
    of_themselves = {
        n: n for n in text.header if _is_name(n) and n not in source.taken.values() and n != source.id_column
    }
    return {**of_themselves, **source.taken}


def _is_name(name: str) -> bool:
    return name in NAMES or name.startswith(PREFIXES) or name.endswith(SUFFIXES)
