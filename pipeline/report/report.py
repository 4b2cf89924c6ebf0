"""The report: figures, tables and one page that holds them."""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.console import progress
from pipeline.report import explanations, images, methods, published, quality, sections
from pipeline.report import provenance as origin
from pipeline.report.job import ReportJob
from pipeline.report.page import ReportContent, render
from pipeline.report.sections import Source
from pipeline.report.style import FigureCanvas
from pipeline.tables.outcomes import has_outcomes

log = logging.getLogger(__name__)
STEPS = (
    sections.cohort,
    sections.survival,
    published.published,
    sections.models,
    sections.training,
    explanations.explained,
    images.images,
    quality.quality,
    sections.audited,
)


def build_report(job: ReportJob, out: Path) -> None:
    """Write `index.html`, `quality.html` (every crop), figures as SVG and PNG, tables as CSV.

    The same results and settings give the same bytes.

    Args:
        job: The finished study.
        out: The report's folder; figures go to `figures/`, tables to `tables/`.
    """
    out.mkdir(parents=True, exist_ok=True)
    canvas = FigureCanvas(out / "figures", job.study.note)
    source, content = Source.read(job), ReportContent()
    for step in progress(STEPS, title="report"):
        step(source, canvas, content)
    _write_tables(content, out / "tables")
    for name in ("index.html", *(["quality.html"] if content.lists["sheets"] else [])):
        external = bool((source.cohort["set"] == "external").any())
        told = methods.methods(job, outcomes=has_outcomes(source.cohort), external=external)
        page = render(job, content, told, origin.provenance(job), canvas.folder, name)
        (out / name).write_text(page, encoding="utf-8")
    log.info("report written to %s", out / "index.html")


def _write_tables(content: ReportContent, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in content.tables.items():
        table.frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
