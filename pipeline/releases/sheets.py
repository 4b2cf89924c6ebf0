"""Sheets of a release (CSV, XLSX) as rows of text, without a change of any value."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pipeline.errors import TableError
from pipeline.tables.numbers import MISSING

ENDINGS = (".csv", ".xlsx")
MAX_BYTES = 64 << 20
"""Largest size of a sheet, unpacked; a larger one is no sheet of patients."""
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_CELL = re.compile(r"^([A-Z]{1,3})\d+$")


@dataclass(frozen=True)
class ReleaseSheet:
    """A sheet with a header.

    Attributes:
        label: File, and sheet of a workbook, as messages call it.
        name: Name of the sheet within a workbook; the file's name of a CSV.
        header: Names of the columns, spaces joined.
        rows: Text by column, a dictionary per row; missing values are empty. Rows without any text are
            left out.
    """

    label: str
    name: str
    header: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


def sheets_below(data: Path) -> list[ReleaseSheet]:
    """Every sheet in a folder and in its subfolders, in the order of their paths; hidden files left out.

    Raises:
        TableError: A file with the ending of a sheet cannot be read as one.
    """
    places = [data, *sorted(path for path in data.iterdir() if path.is_dir() and path.name[0] != ".")]
    files = [path for place in places for path in sorted(place.iterdir()) if _is_sheet(path)]
    return [sheet for path in files for sheet in read_sheets(path)]


def _is_sheet(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in ENDINGS and path.name[0] not in ".~"


def read_sheets(path: Path) -> list[ReleaseSheet]:
    """The sheets of a file: one of a CSV, all of a workbook that hold a header.

    Raises:
        TableError: The file is damaged, too large, or has a column twice.
    """
    if path.stat().st_size > MAX_BYTES:
        raise TableError("a sheet is too large", where=path.name, expected=f"at most {MAX_BYTES >> 20} MiB")
    if path.suffix.lower() == ".csv":
        return [_sheet(_csv_rows(path), path.name, path.name)]
    sheets = [_sheet(rows, f"{path.name}, sheet {name!r}", name) for name, rows in _workbook(path)]
    return [sheet for sheet in sheets if sheet.header]


def _sheet(rows: Sequence[Sequence[str]], label: str, name: str) -> ReleaseSheet:
    """The first row with text is the header; longer rows are refused, shorter ones filled up."""
    filled = [[_clean(cell) for cell in row] for row in rows]
    filled = [row for row in filled if any(row)]
    header = filled[0] if filled else []
    while header and not header[-1]:
        header.pop()
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise TableError("a sheet has a column twice: " + ", ".join(map(repr, twice)), where=label)
    records = []
    for number, row in enumerate(filled[1:], start=2):
        if any(row[len(header) :]):
            raise TableError(
                "a row of a sheet has more values than the header has columns",
                where=f"{label}, row {number} of those with text",
                expected=str(len(header)),
                got=str(len(row)),
                action="check commas and quotes in this row",
            )
        cells = [*row, *[""] * (len(header) - len(row))]
        records.append({column: cell for column, cell in zip(header, cells, strict=False) if column})
    return ReleaseSheet(label, name, tuple(column for column in header if column), tuple(records))


def _clean(cell: str) -> str:
    """One line of text; empty where the value is missing."""
    text = " ".join(cell.split())
    return "" if text.lower() in MISSING else text


def _csv_rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            "a sheet is not a text in UTF-8",
            where=f"{path.name}, byte {error.start + 1}",
            action="save it as 'CSV UTF-8 (comma delimited)'",
        ) from None
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise TableError("a sheet is no CSV", where=path.name, got=str(error)) from None


def _workbook(path: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Name and rows of each sheet of an Office Open XML workbook (ECMA-376 Part 1, 18.2 and 18.3).

    Values are taken as they are stored: numbers unformatted, of formulas the stored result.
    """
    try:
        with zipfile.ZipFile(path) as book:
            texts = _shared_texts(book)
            targets = {
                node.attrib["Id"]: node.attrib["Target"] for node in _xml(book, "xl/_rels/workbook.xml.rels")
            }
            for node in _xml(book, "xl/workbook.xml").iter(f"{_MAIN}sheet"):
                target = targets[node.attrib[_RELATION]].lstrip("/")
                part = target if target.startswith("xl/") else f"xl/{target}"
                yield node.attrib["name"], _cells(_xml(book, part), texts)
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, IndexError, ValueError) as error:
        raise TableError(
            "a workbook cannot be read",
            where=path.name,
            expected="an .xlsx workbook",
            got=f"{type(error).__name__}: {error}",
            action="open it in a spreadsheet program and save its sheets as CSV",
        ) from None


def _xml(book: zipfile.ZipFile, part: str) -> ElementTree.Element:
    if book.getinfo(part).file_size > MAX_BYTES:
        raise ValueError(f"{part} is larger than {MAX_BYTES >> 20} MiB")
    text = book.read(part)
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError(f"{part} declares entities, which no workbook does")
    return ElementTree.fromstring(text)


def _shared_texts(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    return [_text_of(node) for node in _xml(book, "xl/sharedStrings.xml").iter(f"{_MAIN}si")]


def _text_of(node: ElementTree.Element) -> str:
    """The text of a cell or shared string, formatted in pieces or not; phonetic hints left out."""
    pieces = [*node.findall(f"{_MAIN}t"), *node.findall(f"{_MAIN}r/{_MAIN}t")]
    return "".join(piece.text or "" for piece in pieces)


def _cells(sheet: ElementTree.Element, texts: Sequence[str]) -> list[list[str]]:
    rows = []
    for row in sheet.iter(f"{_MAIN}row"):
        cells: list[str] = []
        for number, cell in enumerate(row.findall(f"{_MAIN}c")):
            column = _column(cell.attrib["r"]) if "r" in cell.attrib else number
            cells.extend([""] * (column - len(cells)))
            cells.append(_value(cell, texts))
        rows.append(cells)
    return rows


def _column(reference: str) -> int:
    """Number of a cell's column from 0: `B7` is 1."""
    match = _CELL.match(reference)
    if match is None:
        raise ValueError(f"no cell: {reference}")
    number = 0
    for letter in match[1]:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: ElementTree.Element, texts: Sequence[str]) -> str:
    kind = cell.attrib.get("t", "n")
    if kind == "inlineStr":
        inline = cell.find(f"{_MAIN}is")
        return "" if inline is None else _text_of(inline)
    stored = cell.findtext(f"{_MAIN}v") or ""
    if kind == "e":
        raise ValueError(f"cell {cell.attrib.get('r', '')} holds the error {stored}")
    return texts[int(stored)] if kind == "s" and stored else stored
