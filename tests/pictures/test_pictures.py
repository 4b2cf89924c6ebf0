"""Pictures of the documentation say what the code says now, and show what they should."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pipeline.pictures.drawing import BoxShape, Drawing, wrapped
from pipeline.pictures.folds_picture import folds, members
from pipeline.pictures.pictures import FOLDER, PICTURES
from pipeline.pictures.rule_graph import COLOURS, ON_REQUEST, OTHER_SOURCES, PER_PATIENT, graph_of_rules, rows
from pipeline.pictures.suv_tree import CASES, answer
from pipeline.workflow.dependencies import RULES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_those_that_the_code_draws(name: str) -> None:
    """Where this fails, run `make settings` and look at what changed."""
    text = PICTURES[name]()
    assert (ROOT / FOLDER / name).read_text(encoding="utf-8") == text
    ElementTree.fromstring(text)
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    assert any(f"images/{name}" in page.read_text(encoding="utf-8") for page in pages), "no page shows it"


def test_the_graph_has_every_rule_and_nothing_that_follows_from_the_rest() -> None:
    graph = graph_of_rules()
    assert set(graph) == set(RULES) - OTHER_SOURCES
    assert graph["crop_position"] == {"contours", "register"}, "the template comes before the registration"
    assert {"plan", "cross_splits"} <= graph["train_fold"], (
        "without cross_splits a fold still follows the plan"
    )
    assert "index" not in graph["contours"]
    place = {name: number for number, row in enumerate(rows(graph)) for name in row}
    assert all(place[one] < place[name] for name, after in graph.items() for one in after)
    assert {rule.module.split(".")[1] for name, rule in RULES.items() if name in graph} <= set(COLOURS)


def test_rules_on_request_and_by_patient_are_rules() -> None:
    """By patient are those whose file in rules/ has the wildcard in an output."""
    assert set(RULES) >= ON_REQUEST and set(RULES) >= PER_PATIENT
    for name in PER_PATIENT:
        file = next(path for path in (ROOT / "rules").glob("*.smk") if f"rule {name}:" in path.read_text())
        body = file.read_text().split(f"rule {name}:")[1].split("\nrule ")[0]
        assert "patient" in body, name


def test_each_patient_of_the_folds_is_tested_once() -> None:
    tested = [one for fold in folds() for one in fold.test]
    assert sorted(tested) == [patient.patient_id for patient in members()]


def test_the_worked_example_is_that_of_the_formula() -> None:
    """SUV of 5,000 Bq/mL: 5000 · 70,000 g / (350e6 Bq · 2^(−3600 / 6586.2)) = 1.4606 g/mL, by hand."""
    by_case = {(case.units, case.then): answer(case) for case in CASES}
    start = by_case["BQML", "decay correction START"]
    assert start.factor == pytest.approx(70000 / (350e6 * 2 ** (-3600 / 6586.2)), rel=1e-9)
    assert 5000 * start.factor == pytest.approx(1.4606, abs=1e-4)
    assert by_case["BQML", "decay correction ADMIN"].factor == pytest.approx(70000 / 350e6)
    refused = {key for key, found in by_case.items() if found.factor is None}
    assert refused == {
        ("BQML", "no dose"),
        ("GML", "SUV type LBM"),
        ("CNTS", "no private factor"),
        ("PROPCPS", ""),
    }


def test_words_are_wrapped_and_escaped() -> None:
    assert wrapped("one two three", 7 * 10 * 0.56, 10) == ["one two", "three"]
    drawing = Drawing(10, 10, "a < b")
    drawing.box(BoxShape(1, 2, 3, 4))
    drawing.text(0, 0, "<script>")
    assert "<script>" not in drawing.svg() and "a &lt; b" in drawing.svg()
