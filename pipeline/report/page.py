"""The HTML page; every value is escaped by the template engine."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.report.formatting import cell, pretty
from pipeline.report.job import ReportJob

if TYPE_CHECKING:
    import pandas as pd

TEMPLATES = Path(__file__).parent / "templates"
WIDE_PIXELS = 560
LONG = 40


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: Its heading.
        frame: Written as CSV, with all digits.
        page: Shown on the page instead, where the CSV's form does not suit one.
        note: A sentence under the heading.
        marks: What has to be read with the numbers.
    """

    title: str
    frame: pd.DataFrame
    page: pd.DataFrame | None = None
    note: str = ""
    marks: tuple[str, ...] = ()

    def header(self) -> list[str]:
        """Column titles on the page."""
        return [pretty(str(c)) for c in self._shown().columns]

    def rows(self) -> list[list[str]]:
        """Cells on the page, as text."""
        return [[cell(v) for v in row] for row in self._shown().itertuples(index=False)]

    def _shown(self) -> pd.DataFrame:
        return self.frame if self.page is None else self.page


@dataclass
class ReportContent:
    """What the page shows; what is not there is left out.

    Attributes:
        figures: Name → file in `figures/`, only of figures that were drawn.
        tables: Name → table, only of tables with rows.
        lists: Name → several figures, the facts at the top, or remarks.
        marks: What has to be read with every survival table.
    """

    figures: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()

    def draw(self, name: str, file: str | None) -> None:
        """Take a figure, unless there was nothing to draw."""
        if file:
            self.figures[name] = file

    def tell(self, name: str, table: Table) -> None:
        """Take a table, unless it is empty."""
        if len(table.frame):
            self.tables[name] = table


@dataclass(frozen=True)
class PageImage:
    """An image file with its size on the page (CSS pixels)."""

    file: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether a phone should scroll it rather than shrink it."""
        return self.width > WIDE_PIXELS


def picture_of(folder: Path, file: str) -> PageImage:
    """Size of an SVG (points) or PNG (pixels, halved beyond a page's width)."""
    path = folder / file
    if path.suffix == ".svg":
        head = path.read_text(encoding="utf-8")[:4000]
        width, height = (_points(head, name) for name in ("width", "height"))
        return PageImage(file, round(width / 0.75), round(height / 0.75))
    with path.open("rb") as stream:
        wide, high = struct.unpack(">II", stream.read(24)[16:24])
    share = 2 if wide > 1400 else 1
    return PageImage(file, wide // share, high // share)


def _points(head: str, name: str) -> float:
    found = re.search(rf'<svg[^>]*?\s{name}="([\d.]+)pt"', head)
    return float(found[1]) if found else 600.0


def render(
    job: ReportJob,
    content: ReportContent,
    methods: list[tuple[str, str]],
    origin: list[tuple[str, str]],
    figures: Path,
    name: str = "index.html",
) -> str:
    """Fill a page's template.

    Args:
        job: The study.
        content: Figures, tables and lists.
        methods: (heading, text) paragraphs.
        origin: (what, value) pairs of the provenance.
        figures: Folder of the figures, for their sizes.
        name: Of the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(f"{name}.j2").render(
        job=job, figures=content.figures, tables=content.tables, lists=content.lists, marks=content.marks,
        methods=methods, origin=origin, style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        pretty=pretty, picture_of=lambda file: picture_of(figures, file), long=LONG,
        confidence=f"{job.evaluation.confidence:.0%}",
    )  # fmt: skip
