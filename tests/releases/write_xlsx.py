"""A workbook as spreadsheet programs store one: shared texts, numbers, cells that are left out."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
Cell = str | float | None


def write_xlsx(path: Path, sheets: Mapping[str, Sequence[Sequence[Cell]]]) -> None:
    texts = sorted(
        {cell for rows in sheets.values() for row in rows for cell in row if isinstance(cell, str)}
    )
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, start=1)
    )
    relations = "".join(
        f'<Relationship Id="rId{n}" Target="worksheets/sheet{n}.xml"/>' for n in range(1, len(sheets) + 1)
    )
    parts = {
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{RELATIONS}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships>{relations}</Relationships>",
        "xl/sharedStrings.xml": f"<sst {MAIN}>{''.join(map(_shared, texts))}</sst>",
    }
    for number, rows in enumerate(sheets.values(), start=1):
        body = "".join(f'<row r="{n}">{_cells(n, row, texts)}</row>' for n, row in enumerate(rows, start=1))
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f"<worksheet {MAIN}><sheetData>{body}</sheetData></worksheet>"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as book:
        for name, text in parts.items():
            book.writestr(name, text)


def _shared(text: str) -> str:
    """The first letter in a run of its own, as after a change of font."""
    return f"<si><r><t>{escape(text[:1])}</t></r><r><t>{escape(text[1:])}</t></r></si>"


def _cells(number: int, row: Sequence[Cell], texts: list[str]) -> str:
    cells = []
    for column, cell in enumerate(row):
        place = (
            f"{chr(ord('A') + column % 26)}{number}"
            if column < 26
            else f"A{chr(ord('A') + column - 26)}{number}"
        )
        if isinstance(cell, str):
            cells.append(f'<c r="{place}" t="s"><v>{texts.index(cell)}</v></c>')
        elif cell is not None:
            cells.append(f'<c r="{place}"><v>{cell}</v></c>')
    return "".join(cells)
