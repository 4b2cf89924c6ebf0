"""The finished demo's report in a real browser, in print, and asked ten questions.

Reads `results/phantom/report` of this checkout (made by `make demo`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, needs_browser

REPORT = Path(__file__).resolve().parents[2] / "results" / "phantom" / "report"
pytestmark = [
    pytest.mark.finished,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not (REPORT / "index.html").exists(), reason="no finished demo: run make demo"),
]
PAGES = ("index.html", "quality.html", "patients/P001.html")


class Links(HTMLParser):
    """Addresses that a page links to or loads, and the ids of its parts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href"):
                self.links.add(str(value))
            if name == "id":
                self.ids.add(str(value))


@needs_browser
@pytest.mark.parametrize("width", [390, 768, 1400, 1920])
@pytest.mark.parametrize("page", PAGES)
def test_page_is_quiet_and_fits(browser: Chromium, page: str, width: int) -> None:
    browser.open(REPORT / page, width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    overprinted = browser.evaluate(
        "[...document.querySelectorAll('th, td')].filter(c => c.scrollWidth > c.clientWidth + 1)"
        ".map(c => c.textContent)"
    )
    assert overprinted == [], "text that leaves its cell lies on its neighbour"
    assert browser.complaints() == []
    assert not [url for url in browser.requested() if not url.startswith(("file:", "data:"))]
    if width >= 1400:
        cut = browser.evaluate(
            "[...document.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth + 1).length"
        )
        assert cut == 0, "a table does not fit"


def test_every_link_resolves() -> None:
    wrong = []
    for page in REPORT.rglob("*.html"):
        found = Links(page.read_text(encoding="utf-8"))
        for link in found.links - {"data:,"}:
            there = link[1:] in found.ids if link.startswith("#") else (page.parent / link).is_file()
            wrong += [] if there else [(page.name, link)]
    assert not wrong


@needs_browser
@pytest.mark.parametrize("page", PAGES)
def test_print_holds_every_cell(browser: Chromium, page: str, tmp_path: Path) -> None:
    """Each row of each table, closed details and folded columns included, is text of the PDF."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    browser.open(REPORT / page, 1400)
    rows = browser.evaluate(
        "[...document.querySelectorAll('tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    (tmp_path / "page.pdf").write_bytes(browser.print_pdf())
    command = ["pdftotext", "-raw", str(tmp_path / "page.pdf"), "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    printed = re.sub(r"\s", "", text)
    assert len(rows) > 10
    assert not [row for row in rows if re.sub(r"\s", "", "".join(row)) not in printed]


@needs_browser
def test_the_viewer_starts(browser: Chromium) -> None:
    browser.open(REPORT / "patients" / "P001.html", 1400)
    status = "document.querySelector('#viewer [role=status]').textContent"
    browser.evaluate("document.querySelector('#viewer button').click()")
    browser.wait_for(f"!['', 'loading …'].includes({status})")
    assert browser.evaluate(status).startswith("Scroll")
    assert browser.evaluate("document.getElementById('viewer').viewer.volumes.length") == 4
    assert browser.complaints() == []


# Question of docs/stages/report.md → page, id of the part, what answers it.
QUESTIONS = {
    "What was asked, and what is the answer?": (
        "index.html", "verdict", r"Does ensemble rank patients .* better than volume alone\?",
    ),
    "How many events did the external C-index rest on?": (
        "index.html", "verdict", r"40 external patients \(28 events\)",
    ),
    "Is it better than volume?": (
        "index.html", "verdict", r"External: C-index [\d.]+ \(.*?\), volume [\d.]+ \(.*?\); difference .*?: "
        r"(no evidence that ensemble is better|ensemble is better|ensemble is worse)",
    ),
    "Which patients failed, and why?": (
        "index.html", "cohort", r"(No patient was|Patients who were) left out.*? used with a warning.*?P034",
    ),
    "Are the probabilities right?": ("index.html", "verdict", r"Probabilities at 3 years, external: observed/expected"),
    "How well are tumours found?": ("index.html", "survival", r"Masks of the networks.*?deepmts\s+0\.\d+"),
    "Whose masks are the worst?": ("index.html", "images", r"Lowest: P\d+ \(0\.\d+\)"),
    "What would I have to enter for a new patient?": (
        "index.html", "verdict", r"For a new patient ensemble needs PET and CT; .*?performance",
    ),
    "How did this patient's SUV come about?": (
        "patients/P001.html", "suv", r"dose decayed over [\d.]+ s, half-life 6586\.2 s",
    ),
    "By which software and settings, from which seed?": ("index.html", "provenance", r"Seed\s+\d+\s+Settings\s+\w{16}"),
}  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_page_answers(question: str) -> None:
    page, place, answer = QUESTIONS[question]
    source = (REPORT / page).read_text(encoding="utf-8")
    part = re.search(rf'<section id="{place}">.*?</section>', source, re.S)
    assert part, f"{page} has no part {place}"
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", part[0]))
    assert re.search(answer, text), text[:600]


def test_the_questions_are_written_down() -> None:
    written = (Path(__file__).resolve().parents[2] / "docs" / "stages" / "report.md").read_text(
        encoding="utf-8"
    )
    assert not [question for question in QUESTIONS if question not in written]
