"""The HTML page; every value is escaped by the template engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.provenance import versions
from pipeline.report.job import ReportJob
from pipeline.report.style import pretty

if TYPE_CHECKING:
    import pandas as pd

TEMPLATES = Path(__file__).parent / "templates"
LIBRARIES = (
    "numpy", "pandas", "torch", "snakemake", "antspyx", "pyradiomics", "pydicom", "SimpleITK", "zarr",
    "scikit-survival", "lifelines",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of the report: shown on the page, written as CSV."""

    title: str
    frame: pd.DataFrame

    def header(self) -> list[str]:
        """Column titles."""
        return [pretty(str(c)) for c in self.frame.columns]

    def rows(self) -> list[list[str]]:
        """Cells as text, numbers with four significant digits."""
        return [[_cell(v) for v in row] for row in self.frame.itertuples(index=False)]


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def render(
    job: ReportJob,
    figures: dict[str, str],
    tables: dict[str, Table],
    lists: dict[str, list[Any]],
    methods: list[tuple[str, str]],
) -> str:
    """Fill the page's template.

    Args:
        job: The study.
        figures: Name → file in `figures/`.
        tables: Name → table.
        lists: Name → several figures, or the facts at the top.
        methods: (heading, text) paragraphs.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("index.html.j2").render(
        job=job, figures=figures, tables=tables, lists=lists, methods=methods,
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"), libraries=versions(*LIBRARIES),
        pretty=pretty,
    )  # fmt: skip
