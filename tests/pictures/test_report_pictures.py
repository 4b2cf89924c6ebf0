"""The annotated report: its numbers stand beside elements that there are, and the page explains them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.errors import MachineError
from pipeline.pictures import report_pictures
from pipeline.pictures.report_pictures import ANNOTATED, NOTES, annotated, picture_of

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "pipeline" / "report" / "templates"


def test_the_page_explains_the_numbers_of_the_picture() -> None:
    page = (ROOT / "docs" / "stages" / "report.md").read_text(encoding="utf-8")
    _, _, below = page.partition(f"images/{ANNOTATED})\n\n")
    assert below.startswith(
        "\n".join(f"{number}. {note.words}" for number, note in enumerate(NOTES, start=1))
    )


def test_numbers_stand_beside_elements_of_the_report() -> None:
    """Each class and each section that a selector names is in the report's templates."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.j2"))
    classes = set(re.findall(r"[\w-]+", " ".join(re.findall(r'class="([^"]*)"', text))))
    sections = set(re.findall(r'id="([\w-]+)"', text))
    for note in NOTES:
        assert set(re.findall(r"\.([\w-]+)", note.element)) <= classes, note.element
        assert set(re.findall(r"#([\w-]+)", note.element)) <= sections, note.element


def test_a_number_a_note_is_put_into_the_head() -> None:
    page = annotated("<html><head></head><body><h1>a</h1></body></html>")
    head = page[: page.index("</head>")]
    assert re.findall(r'content:"(\d+)"', head) == [str(number) for number in range(1, len(NOTES) + 1)]
    assert page.endswith("<body><h1>a</h1></body></html>")


def test_without_a_browser_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_pictures, "BROWSERS", ("no-such-browser",))
    with pytest.raises(MachineError, match="no browser"):
        picture_of(tmp_path / "page.html", tmp_path / "page.png")
