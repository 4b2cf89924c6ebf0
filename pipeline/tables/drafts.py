"""Files of a drafted cohort table: the table, what lies beside it, and folders of links to images."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import TableError


def beside(table: Path, ending: str) -> Path:
    """A file or folder beside the table, named after it: `mine.csv` and `notes.csv` give `mine.notes.csv`."""
    return table.with_name(f"{table.stem}.{ending}")


def require_new(table: Path, *endings: str) -> None:
    """Refuse to overwrite what may hold outcomes that were filled in by hand.

    Args:
        table: The cohort table to be drafted.
        endings: Endings of what is to lie beside it; see :func:`beside`.

    Raises:
        TableError: The table has not the ending of a CSV, or one of the paths exists.
    """
    if not table.name.endswith(".csv"):
        raise TableError(
            "the cohort table must be a CSV", where=str(table), action="give a name that ends in .csv"
        )
    for path in (table, *(beside(table, ending) for ending in endings)):
        if path.exists():
            raise TableError(
                "the draft would overwrite a file",
                where=str(path),
                action="give another name, or remove it if its outcomes are not needed",
            )


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV in UTF-8."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def path_in_table(path: Path) -> str:
    """A path relative to the working directory where it lies below it, else absolute."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()


def link_files(folder: Path, names: Iterable[tuple[str, Path]]) -> None:
    """Make a folder of links, for a patient whose files lie among those of others.

    Args:
        folder: The new folder.
        names: Name of each link, and the file that it leads to.
    """
    folder.mkdir(parents=True)
    for name, file in names:
        (folder / name).symlink_to(file.absolute())
