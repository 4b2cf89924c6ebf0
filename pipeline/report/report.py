"""The report: figures, tables and the pages that hold them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from pipeline.console import progress
from pipeline.report import (
    methods,
    pairs_and_subgroups,
    paper,
    patient_pages,
    predicted_survival,
    quality,
    sections,
    slices,
)
from pipeline.report.applied_bundle import applied_methods, applied_provenance
from pipeline.report.bundle import packed_bundle
from pipeline.report.checklist import StudyKind, tripod_ai
from pipeline.report.job import ReportJob, provenance
from pipeline.report.page import ReportContent, Texts, render
from pipeline.report.page_table import Table
from pipeline.report.radiomics_checklists import RadiomicsKind, clear, metrics_items
from pipeline.report.references import bibliography
from pipeline.report.sections import StudyResults
from pipeline.report.style import FigureCanvas
from pipeline.settings.classical import FeatureSelecting
from pipeline.tables.outcomes import has_outcomes
from pipeline.tables.status import read_whole
from pipeline.tables.whole import whole_folder

log = logging.getLogger(__name__)
CHECKLIST_TITLE = "TRIPOD+AI: what this report answers, and what is left to the authors"
SECTIONS = (
    sections.cohort,
    sections.survival,
    pairs_and_subgroups.pairs_and_subgroups,
    predicted_survival.all_patients,
    sections.models,
    sections.training,
    sections.explanations,
    slices.examples,
    quality.quality,
    sections.quality_control,
    paper.paper,
)
"""Each fills its part of the content, in this order."""
SECTIONS_OF_BUNDLE = (
    sections.cohort,
    sections.survival,
    slices.examples,
    quality.quality,
    sections.quality_control,
)
"""Of a bundle's external validation, in which nothing was fitted: no variables, learning curves or explanations."""
STAGE_FILES = {"suv": "suv.json", "contours": "contours.json", "registration": "quality.json"}
"""Stage → the file of a patient's folder that the report reads."""


def build_report(job: ReportJob, out: Path) -> None:
    """Write `index.html`, `quality.html` (every crop), where the study repeats a paper `paper.html`, figures as SVG
    and PNG, tables as CSV, the paper's also as LaTeX.

    The same results and settings give the same bytes.

    Args:
        job: The finished study.
        out: The report's folder; figures go to `figures/`, tables to `tables/`.
    """
    with whole_folder(out) as folder:
        _write(job, folder)
    log.info("report written to %s", out / "index.html")


def _write(job: ReportJob, out: Path) -> None:
    canvas = FigureCanvas(out / "figures", job.settings.study.note)
    _require_whole_folders(job)
    study, content = StudyResults.read(job), ReportContent()
    _require_whole_stages(job.results, study.cohort.index)
    for section in progress(SECTIONS if job.applied is None else SECTIONS_OF_BUNDLE, title="report"):
        section(study, canvas, content)
    texts = _texts(study)
    if job.applied is None:
        _add_checklists(study, content)
    content.bundle = packed_bundle(job.bundle)
    _write_tables(content, out / "tables")
    survival = not content.no_survival_reason
    (out / "references.bib").write_text(bibliography(job.settings, survival=survival), encoding="utf-8")
    pages = {"index.html": True, "quality.html": content.pictures, "paper.html": content.paper}
    for name in (name for name, there_is in pages.items() if there_is):
        (out / name).write_text(render(job, content, texts, canvas.folder, name), encoding="utf-8")
    patient_pages.write_pages(study, content, out)


def _texts(study: StudyResults) -> Texts:
    """The pages' paragraphs."""
    job, grouped = study.job, "group" in study.cohort
    if job.applied is not None:
        return Texts(applied_methods(job, job.applied, grouped=grouped), applied_provenance(job, job.applied))
    outcomes, external = has_outcomes(study.cohort), "external" in study.set_sizes()
    return Texts(methods.methods(job, outcomes=outcomes, external=external, grouped=grouped), provenance(job))


def _add_checklists(study: StudyResults, content: ReportContent) -> None:
    """Items of the reporting guidelines, which ask how models were made."""
    external = "external" in study.set_sizes()
    content.add_table("tripod_ai", Table(CHECKLIST_TITLE, tripod_ai(_kind_of(study, external=external))))
    if (radiomics := _radiomics_kind(study, external=external)) is not None:
        content.add_table("clear", Table("CLEAR, item by item", clear(radiomics)))
        content.add_table("metrics_score", Table("METRICS, item by item", metrics_items(radiomics)))


def _kind_of(study: StudyResults, *, external: bool) -> StudyKind:
    """What decides which items of the checklist the report answers."""
    settings = study.job.settings
    return StudyKind(
        survival=not study.no_survival_reason(),
        external=external,
        images=settings.cohort.source in ("dicom", "nifti"),
        several_centres=study.cohort["centre"].nunique() > 1,
        clinical=any(model.clinical for model in settings.models.values()),
    )


def _radiomics_kind(study: StudyResults, *, external: bool) -> RadiomicsKind | None:
    """What decides which items of the radiomics checklists are answered; None without features and networks."""
    job, settings = study.job, study.job.settings
    models = settings.models.values()
    features = any(model.needs.radiomics for model in models)
    networks = settings.networks().values()
    if not (features or networks):
        return None
    return RadiomicsKind(
        study=_kind_of(study, external=external),
        features=features,
        networks=bool(networks),
        masks=any("mask" in network.gives() for network in networks),
        stability=any(model.needs.min_icc > 0 for model in models),
        redundant=any(isinstance(model, FeatureSelecting) and model.spearman < 1 for model in models),
        explained=bool(settings.explain.models),
        simple=bool(job.baseline),
        one_modality=len(settings.crop.channels) == 1 or settings.cohort.source not in ("dicom", "nifti"),
    )


def _require_whole_folders(job: ReportJob) -> None:
    """Compare the files of metrics, folds and explanations with their manifests."""
    explained = [job.results / "explain" / model for model in job.settings.explain.models]
    models = job.settings.models if job.applied is None else ()
    folds = [folder for model in models for folder in job.folds(model)]
    for folder in (job.results / "metrics", *folds, *explained):
        read_whole(folder)


def _require_whole_stages(results: Path, patients: Iterable[str]) -> None:
    """Compare sizes of what the stages left of patients, and hashes of the JSON that the report reads."""
    for patient_id in patients:
        for stage, file in STAGE_FILES.items():
            folder = results / stage / patient_id
            if folder.is_dir():
                read_whole(folder, file)


def _write_tables(content: ReportContent, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in content.tables.items():
        table.frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        text = content.latex[name] if name in content.latex else table.latex()
        (folder / f"{name}.tex").write_text(text, encoding="utf-8")
