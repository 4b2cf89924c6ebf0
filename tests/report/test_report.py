"""Whole reports of synthetic studies: complete, escaped, the same bytes each time."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.report.page import TEMPLATES
from pipeline.report.report import build_report
from tests.report.synthetic_study import HOSTILE, make_study


class Reader(HTMLParser):
    """Tags, sources, and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    build_report(make_study(folder / "results"), folder / "report")
    return folder / "report"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    build_report(make_study(folder / "results", full=False), folder / "report")
    return folder / "report"


def page_of(report: Path, name: str = "index.html") -> Reader:
    return Reader((report / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["index.html", "quality.html"])
@pytest.mark.parametrize("which", ["full", "bare"])
def test_every_link_leads_somewhere_and_nothing_outside(
    which: str, name: str, request: pytest.FixtureRequest
) -> None:
    report = request.getfixturevalue(which)
    page = page_of(report, name)
    for link in page.links:
        assert not re.match(r"(https?:)?//", link)
        if not link.startswith(("#", "data:,")):
            assert (report / link).is_file(), link
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert anchors <= set(re.findall(r'id="(\w+)"', (report / name).read_text()))


def test_hostile_text_is_text(full: Path) -> None:
    page = page_of(full)
    # One script, the report's own, which ends before anything of the study could.
    assert page.tags.count("script") == 1
    text = (full / "index.html").read_text(encoding="utf-8")
    assert f"<script>{(TEMPLATES / 'tables.js').read_text(encoding='utf-8')}</script>" in text
    # Title, note, problem, scanner and remark each show it as it was written.
    assert page.text.count(HOSTILE) >= 5
    for svg in (full / "figures").glob("*.svg"):
        assert not any(e.tag.endswith("script") for e in ElementTree.parse(svg).iter()), svg.name


def test_every_patient_has_a_page_that_tables_and_tiles_lead_to(full: Path) -> None:
    patients = ["A1", "A2", "A3", "A4", "A5", "A6", "E1", "E2"]
    assert sorted(path.stem for path in (full / "patients").glob("*.html")) == patients
    for patient in patients:
        page = page_of(full, f"patients/{patient}.html")
        for link in page.links:
            assert link.startswith(("#", "data:,")) or (full / "patients" / link).is_file(), link
        assert "Predictions" in page.text and "deepmts" in page.text and "volume" in page.text
    assert {f"patients/{patient}.html" for patient in patients} <= set(page_of(full, "quality.html").links)
    assert "patients/A2.html" in page_of(full).links
    flagged = page_of(full, "patients/A1.html").text
    assert "warning, crop: cut: used" in flagged and "warning, suv: late: used" in flagged
    # The scanner's name is shown as it was written, dates are days.
    assert flagged.count(HOSTILE) >= 2 and "day 1 09:20:37" in flagged and "2019" not in flagged


def test_note_and_warning_stand_on_the_figures(full: Path) -> None:
    assert list((full / "figures").glob("*.svg"))
    for svg in (full / "figures").glob("*.svg"):
        text = " ".join("".join(ElementTree.parse(svg).getroot().itertext()).split())
        assert "Synthetic." in text, svg.name
        survival = svg.name.startswith(
            ("concordance", "kaplan", "calibration", "decision", "differences", "auc_over_time", "roc_")
        )
        assert ("Few events" in text) == survival, svg.name
        assert ("no validation" in text) == survival, svg.name


def test_caveats_stand_beside_every_survival_table(full: Path) -> None:
    text = (full / "index.html").read_text()
    tables = re.findall(r'(<p class="caveat">.*?)?<div class="scroll[^>]*aria-label="([^"]*)"', text, re.S)
    marked = {name for caveat, name in tables if "no validation" in caveat}
    wanted = {"Discrimination", "Differences between models", "Risk groups of both", "All metrics"}
    assert wanted <= marked


def test_everything_is_there(full: Path) -> None:
    names = {path.stem for path in (full / "figures").glob("*.svg")}
    assert names == {
        "flow", "concordance", "differences", "kaplan_meier_both", "auc_over_time_both", "roc_both", "calibration_both",
        "decision_curves_both", "dice", "examples", "training_deepmts", "registration", "suv_by_scanner",
    }  # fmt: skip
    assert names == {path.stem for path in (full / "figures").glob("*.png")}
    for path in (full / "tables").glob("*.csv"):
        with path.open(newline="") as stream:
            lengths = {len(row) for row in csv.reader(stream)}
        assert len(lengths) == 1, path.name


def test_a_study_without_the_rest_says_nothing_of_it(bare: Path) -> None:
    """No external set, network, radiomics, registration, SUV or comparison; 2D; no time unit."""
    names = {path.stem for path in (bare / "figures").glob("*.svg")}
    assert names == {
        "flow",
        "concordance",
        "kaplan_meier_volume",
        "auc_over_time_volume",
        "roc_volume",
        "calibration_volume",
        "decision_curves_volume",
        "examples",
    }
    page = page_of(bare)
    assert "External:" not in page.text.replace("External: the mean", "")
    assert not {"#training", "#quality"} & set(page.links)
    assert "nan" not in re.findall(r"\w+", page.text)
    assert "Time (no unit)" in (bare / "figures" / "kaplan_meier_volume.svg").read_text()


def test_same_inputs_give_the_same_bytes(bare: Path, tmp_path: Path) -> None:
    results = bare.parent / "results"
    code = (
        "import sys; from pathlib import Path; from pipeline.report.report import build_report\n"
        "from tests.report.synthetic_study import make_study\n"
        "build_report(make_study(Path(sys.argv[1]), full=False), Path(sys.argv[2]))\n"
        "heavy = {'torch', 'sksurv', 'lifelines', 'sklearn', 'ants', 'radiomics'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    again = tmp_path / "report"
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path / results.name), str(again)]
    subprocess.run(command, check=True, cwd=root, env={"PYTHONHASHSEED": "7", "PATH": ""})
    assert digests(again) == digests(bare)


def test_what_else_lies_in_the_folder_is_not_read(full: Path, tmp_path: Path) -> None:
    """A patient without a row, and a fold and a table of earlier settings: the same bytes without them."""
    job = make_study(tmp_path / "results")
    for stage in ("suv", "registration"):
        shutil.copytree(job.results / stage / "A2", job.results / stage / "W9")
    shutil.copytree(job.results / "crops" / "A2.zarr", job.results / "crops" / "W9.zarr")
    for model in ("deepmts", "volume"):
        shutil.copytree(job.results / "models" / model / "fold1", job.results / "models" / model / "fold2")
    (job.results / "contours" / "W9").mkdir(parents=True)
    build_report(job, tmp_path / "report")
    assert digests(tmp_path / "report") == digests(full)
    build_report(dataclasses.replace(job, features=None, stability=None), tmp_path / "plain")
    page = (tmp_path / "plain" / "index.html").read_text(encoding="utf-8")
    assert "<h3>Radiomics features" not in page and "<h3>Stability of features" not in page
    assert "fold0 to fold1" in page, "the report says what it used"


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
