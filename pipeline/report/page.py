"""The HTML pages and what they show; every value is escaped by the template engine."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.report.bundle import PackedBundle
from pipeline.report.formatting import display_name
from pipeline.report.job import ReportJob
from pipeline.report.page_table import LONG_CELL, PATIENT_COLUMNS, Table, cell_parts
from pipeline.report.verdict import Verdict
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    from jinja2 import Environment

    from pipeline.report.patient_flags import PatientFlags
    from pipeline.report.patient_pictures import PatientPicture

TEMPLATES = Path(__file__).parent / "templates"
WIDE_IMAGE_PIXELS = 560


@dataclass(frozen=True)
class Fact:
    """A number at the head of the page, e.g. `80`, labelled `patients analysed`."""

    label: str
    value: str


@dataclass(frozen=True)
class ExplainedNetwork:
    """Saliency maps of a network.

    Attributes:
        model: The network's name.
        target: The output that is explained, in words.
        maps: Figure of the maps.
        sanity: Figure of the randomisation test.
    """

    model: str
    target: str
    maps: str
    sanity: str


@dataclass(frozen=True)
class PredictedCurves:
    """What the figure of predicted beside observed survival shows: the set, and of how many runs."""

    set: str
    runs: int


@dataclass(frozen=True)
class PaperPicture:
    """A figure of the paper: its title as printed, and the files that repeat it; none: nothing to draw."""

    title: str
    files: tuple[str, ...]


@dataclass
class PaperPage:
    """The page of the paper that the study repeats.

    Attributes:
        source: Where the paper was published.
        cohort: Its patients.
        note: What differs between study and paper.
        tables: Names of its tables among the report's, in order.
        pictures: Its figures in order.
    """

    source: str
    cohort: str
    note: str
    tables: list[str] = field(default_factory=list)
    pictures: list[PaperPicture] = field(default_factory=list)


@dataclass
class ReportContent:
    """What the pages show; what is absent is left out.

    Attributes:
        figures: Name → file in `figures/`, only of figures that were drawn.
        tables: Name → table, only of tables with rows.
        caveats: What has to be known to read any survival table.
        few_events: Warning of sets with few events, at the head; empty where all have enough.
        facts: Numbers at the head of the page.
        verdict: What the numbers allow to say; None where nothing predicts survival.
        new_patient: What the headline model needs of a new patient; empty without such a model.
        no_survival_reason: Why nothing predicts survival; empty where a model does.
        remarks: Warnings of models and ensembles.
        predicted_curves: What the figure of predicted survival shows; None where there is none.
        lowest_dice: Patient → Dice of those whose predicted masks are the worst, worst first.
        learning_curves: Figures, one per network.
        explanations: Networks with saliency maps.
        pictures: Patient → picture of the crop.
        flags: Patient → what has to be known of it, those to inspect first on top.
        registration_overlays: Figures of the patients that overlap least with the template.
        paper: The page of the paper that the study repeats; None where it repeats none.
        patient_pages: Patient → the address of the patient's own page, of patients who have one.
        latex: Table → LaTeX, of tables whose printed form is not the one on the page.
        resampled: What the bootstrap draws: patients, or whole groups of rows.
        recalibration: What would bring probabilities into agreement with external patients, a sentence per horizon.
        bundle: The bundle that was packed with the report; None where none was.
    """

    figures: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    few_events: str = ""
    facts: list[Fact] = field(default_factory=list)
    verdict: Verdict | None = None
    new_patient: str = ""
    recalibration: tuple[str, ...] = ()
    bundle: PackedBundle | None = None
    no_survival_reason: str = ""
    remarks: list[str] = field(default_factory=list)
    predicted_curves: PredictedCurves | None = None
    lowest_dice: dict[str, float] = field(default_factory=dict)
    learning_curves: list[str] = field(default_factory=list)
    explanations: list[ExplainedNetwork] = field(default_factory=list)
    pictures: dict[str, PatientPicture] = field(default_factory=dict)
    flags: dict[str, PatientFlags] = field(default_factory=dict)
    registration_overlays: list[str] = field(default_factory=list)
    paper: PaperPage | None = None
    patient_pages: dict[str, str] = field(default_factory=dict)
    latex: dict[str, str] = field(default_factory=dict)
    resampled: str = "patients"

    def add_figure(self, name: str, file: str | None) -> None:
        """Add a figure, unless there was nothing to draw."""
        if file:
            self.figures[name] = file

    def add_table(self, name: str, table: Table) -> None:
        """Add a table, unless it is empty."""
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
        return self.width > WIDE_IMAGE_PIXELS


def page_image(folder: Path, file: str) -> PageImage:
    """An SVG (size in points) or PNG (pixels, halved beyond a page's width) with its size on the page."""
    path = folder / file
    if path.suffix == ".svg":
        head = path.read_text(encoding="utf-8")[:4000]
        width, height = (_points(head, name) for name in ("width", "height"))
        return PageImage(file, round(width / 0.75), round(height / 0.75))
    with path.open("rb") as stream:
        width, height = struct.unpack(">II", stream.read(24)[16:24])
    divisor = 2 if width > 1400 else 1
    return PageImage(file, width // divisor, height // divisor)


def _points(head: str, name: str) -> float:
    size = re.search(rf'<svg[^>]*?\s{name}="([\d.]+)pt"', head)
    return float(size[1]) if size else 600.0


@dataclass(frozen=True)
class Texts:
    """The pages' paragraphs.

    Attributes:
        methods: (heading, text) of each paragraph of the methods section.
        provenance: (what, value) pairs.
    """

    methods: list[tuple[str, str]]
    provenance: list[tuple[str, str]]


def render(job: ReportJob, content: ReportContent, texts: Texts, figures: Path, name: str) -> str:
    """Fill a page's template; style and script are embedded, so that nothing is fetched.

    Args:
        job: The study.
        content: Figures, tables and lists.
        texts: Methods and provenance.
        figures: Folder of the figures, for their sizes.
        name: File name of the page, `index.html`, `quality.html` or `paper.html`.
    """
    times, unit = job.settings.evaluation.horizons_days, job.settings.cohort.time_unit
    return page_templates().get_template(f"{name}.j2").render(
        job=job, settings=job.settings, content=content, figures=content.figures, tables=content.tables,
        methods=texts.methods, provenance=texts.provenance,
        page_image=lambda file: page_image(figures, file),
        horizons=[horizon_name(days, unit) for days in sorted(times)],
        confidence=f"{job.settings.evaluation.confidence:.0%}",
    )  # fmt: skip


@cache
def page_templates() -> Environment:
    """The templates of pages, which escape every value, with what all of them need."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(
        display_name=display_name, cell_parts=cell_parts, long=LONG_CELL, patient_columns=PATIENT_COLUMNS,
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "tables.js").read_text(encoding="utf-8"),
        viewer=(TEMPLATES / "viewer.js").read_text(encoding="utf-8"),
        blinking=(TEMPLATES / "blink.js").read_text(encoding="utf-8"),
    )  # fmt: skip
    return environment
