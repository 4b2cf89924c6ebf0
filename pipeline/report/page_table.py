"""A table of the report: as CSV, as LaTeX, and as it stands on the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.formatting import display_name, format_cell

if TYPE_CHECKING:
    import pandas as pd

LONG_CELL = 40
"""Letters from which a table's cell is a text, which may break anywhere."""
LEAST_ROWS_TO_SEARCH = 12
"""Rows from which a table has a field to search it."""
TALL = 40
"""Rows from which a table scrolls in a box of its own, with its head in sight."""
PATIENT_COLUMNS = ("Patient", "patient_id")
"""Titles of columns whose cells name patients."""
LATEX = {
    "−": "$-$", "±": r"$\pm$", "–": "--", "≥": r"$\geq$", "≤": r"$\leq$", "²": "$^2$", "°": r"$^\circ$",
    "▸": r"$\triangleright$", "→": r"$\rightarrow$", "½": "1/2", "·": r"$\cdot$",
}  # fmt: skip
"""Characters that LaTeX's usual fonts lack."""
_ESTIMATE = re.compile(r"([−+-]?\d\S*) (\([^()]*\))(.*)", re.S)


@dataclass(frozen=True)
class PageColumn:
    """A column on the page.

    Attributes:
        title: What stands in its head.
        time: The horizon that it speaks of, e.g. `2 years`; empty: of none. Columns of one horizon can
            be folded away.
    """

    title: str
    time: str = ""


@dataclass(frozen=True)
class HeadCell:
    """A cell of the upper line of a head of two lines: a horizon over its columns, or one whole column."""

    title: str
    columns: int
    index: int
    time: str = ""


@dataclass(frozen=True)
class RowGroup:
    """Rows under one heading, e.g. of one set; without a heading it is empty."""

    name: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class TableLayout:
    """A table as it stands on the page; the first column names the row and stays in sight.

    Attributes:
        columns: In order.
        groups: In order; those of external patients come before those of development.
    """

    columns: tuple[PageColumn, ...]
    groups: tuple[RowGroup, ...]

    @property
    def times(self) -> tuple[str, ...]:
        """The horizons that columns speak of, in order."""
        return tuple(dict.fromkeys(column.time for column in self.columns if column.time))

    @property
    def searchable(self) -> bool:
        """Whether there are so many rows that one wants to search them."""
        return self.height >= LEAST_ROWS_TO_SEARCH

    @property
    def tall(self) -> bool:
        """Whether it scrolls in a box of its own."""
        return self.height >= TALL

    @property
    def height(self) -> int:
        """Number of rows."""
        return sum(len(group.rows) for group in self.groups)

    def upper_head(self) -> list[HeadCell]:
        """The upper line of the head where there are horizons: neighbours of one horizon share a cell."""
        heads: list[HeadCell] = []
        for index, column in enumerate(self.columns):
            last = heads[-1] if heads else None
            if last and column.time and last.time == column.time:
                heads[-1] = HeadCell(last.title, last.columns + 1, last.index, last.time)
            else:
                heads.append(HeadCell(column.time or column.title, 1, index, column.time))
        return heads


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: Its heading.
        frame: Written as CSV, with all digits.
        page: Shown on the page and written as LaTeX instead, where the CSV's form is not suitable for
            reading.
        note: A sentence under the heading.
        caveats: What has to be known to read the numbers.
    """

    title: str
    frame: pd.DataFrame
    page: pd.DataFrame | None = None
    note: str = ""
    caveats: tuple[str, ...] = ()

    def layout(self, horizons: Sequence[str]) -> TableLayout:
        """How it stands on the page: a leading column `Set` becomes headings over groups of rows.

        Args:
            horizons: The study's times of evaluation by name; a title that ends with `, ` and one of
                them belongs to that time.
        """
        shown = self.as_text()
        titles = [str(column) for column in shown.columns]
        rows = [tuple(row) for row in shown.itertuples(index=False)]
        if titles and titles[0] == "Set":
            names = dict.fromkeys(row[0] for row in rows)
            groups = [RowGroup(name, tuple(row[1:] for row in rows if row[0] == name)) for name in names]
            titles = titles[1:]
        else:
            groups = [RowGroup("", tuple(rows))]
        return TableLayout(tuple(_column(title, horizons) for title in titles), tuple(groups))

    def as_text(self) -> pd.DataFrame:
        """What is shown, every cell as printed."""
        shown = self.frame if self.page is None else self.page
        text = shown.map(format_cell) if len(shown) else shown
        return text.set_axis([str(column) for column in shown.columns], axis=1)

    def latex(self) -> str:
        """What is shown as a LaTeX tabular (package booktabs)."""
        text = self.as_text()
        return latex(text.set_axis([display_name(title) for title in text.columns], axis=1))


def _column(title: str, horizons: Sequence[str]) -> PageColumn:
    for horizon in horizons:
        if title.endswith(f", {horizon}"):
            return PageColumn(title.removesuffix(f", {horizon}"), horizon)
    return PageColumn(title)


def cell_parts(text: str) -> tuple[str, ...]:
    """Parts of a cell between which a line may break: `0.712` and `(0.65–0.77)`; else the whole text."""
    estimate = _ESTIMATE.fullmatch(text)
    if not estimate or len(text) >= LONG_CELL:
        return (text,)
    return tuple(part for part in (estimate[1], estimate[2], estimate[3].strip()) if part)


def latex(frame: pd.DataFrame) -> str:
    """A table of texts as a LaTeX tabular (package booktabs; multirow where columns have two levels)."""
    text: str = frame.to_latex(index=False, escape=True, multicolumn_format="c")
    for character, command in LATEX.items():
        text = text.replace(character, command)
    return text
