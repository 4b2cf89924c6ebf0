"""Columns of the cohort table that decide over sets: `split`, `group` and `subsets`.

`split` gives a row's set or fold, `group` names rows that no split may cut (slices of a volume),
`subsets` names parts of the cohort that single models are trained and judged on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import TableError
from pipeline.tables.cohort_rows import Row

SPLIT_COLUMNS = ("split", "group", "subsets")
FOLD_NUMBER = re.compile(r"[1-9]\d?")
SUBSET = re.compile(r"[a-z][a-z0-9_]*")


def check_splits(rows: Sequence[Row], path: Path) -> None:
    """Refuse a column `split` that leaves a row's set open or contradicts its column `set`.

    Development rows have `train`, `validation` or the number of the fold (1, 2, …) that has them as
    test patients, either all of them or none; external rows have `test` or nothing.

    Raises:
        TableError: Naming the first row that does not fit.
    """
    development = [row for row in rows if row.values["set"] == "development"]
    given = [row for row in development if row.values.get("split", "")]
    for row in rows:
        split, name = row.values.get("split", ""), row.values["set"]
        if name == "development":
            wanted = "train, validation, or the number of a fold (1, 2, …)"
            fits = split in ("train", "validation") or FOLD_NUMBER.fullmatch(split) or not given
        else:
            wanted, fits = "test, or nothing", split in ("", "test") or name != "external"
        if not fits:
            raise TableError(
                f"column 'split' does not fit column 'set' ({name})",
                where=f"{path}, line {row.line}",
                expected=wanted,
                got=repr(split),
                action="fill the column for all development rows or for none; rows that are only tested have "
                "set external",
            )


def check_groups(rows: Sequence[Row], path: Path) -> None:
    """Refuse a group with rows on both sides of a split.

    Raises:
        TableError: Naming the group and two of its rows.
    """
    first: dict[str, Row] = {}
    for row in rows:
        group = row.values.get("group", "")
        if not group:
            continue
        other = first.setdefault(group, row)
        for column in ("set", "split"):
            here, there = row.values.get(column, ""), other.values.get(column, "")
            if here != there:
                raise TableError(
                    f"group {group!r} is on both sides of a split",
                    where=f"{path}, lines {other.line} and {row.line}",
                    expected=f"one value of column {column!r} for all rows of a group",
                    got=f"{there!r} and {here!r}",
                    action="move the whole group to one side: its rows are not independent",
                )


def subset_names(text: str) -> tuple[str, ...]:
    """Names of subsets of a row, which are parted by blanks.

    Raises:
        TableError: A name has other characters than lower-case letters, digits and `_`.
    """
    names = tuple(text.split())
    for name in names:
        if not SUBSET.fullmatch(name):
            raise TableError(
                "column 'subsets' has a name that cannot be used",
                expected="names of lower-case letters, digits and _, parted by blanks",
                got=repr(name),
                action="rename the subset",
            )
    return names
