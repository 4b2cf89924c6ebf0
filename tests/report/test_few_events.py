"""Pages of studies with few events: what cannot be known is said, and no number stands where none is allowed.

Metrics are those that `evaluate` makes of made-up predictions, so that both rules are tried together.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.time_dependent import LEAST_EVENTS
from pipeline.report.job import ReportJob
from pipeline.report.report import build_report
from pipeline.settings.root import load_settings
from pipeline.store.crops import write_excluded
from pipeline.tables.status import Status, write_status
from tests.metrics.evaluated_study import SETTINGS, Study

MODELS = ("truth", "noise")
DEVELOPMENT, EXTERNAL = 60, 40


@dataclass(frozen=True)
class Case:
    """A study.

    Attributes:
        external_events: Events among 40 external patients.
        first_fold_events: Whether the patients of the first fold have events.
        centres: Number of centres.
    """

    external_events: int
    first_fold_events: bool = True
    centres: int = 2


def make_report(folder: Path, case: Case) -> ReportJob:
    """A finished study of two models on columns, without images, contours and clinical columns."""
    results = folder / "results"
    results.mkdir()
    study = Study(results, n=DEVELOPMENT, external=EXTERNAL)
    event = study.cohort["event"].to_numpy().copy()
    event[DEVELOPMENT:] = 0
    event[DEVELOPMENT : DEVELOPMENT + case.external_events] = 1
    if not case.first_fold_events:
        event[study.fold == 0] = 0
    study.cohort["event"] = event
    study.cohort["centre"] = [("A", "B")[i % case.centres] for i in range(len(event))]
    study.cohort.to_parquet(results / "cohort.parquet")
    (results / "ensemble").mkdir()
    rng = np.random.default_rng(1)
    risks = {"truth": study.hazard, "noise": rng.normal(size=len(event))}
    for name, risk in risks.items():
        made = study.model(name, risk)
        for path in (made, made.with_suffix(".json")):
            path.rename(results / "ensemble" / path.name)
    settings = SETTINGS.model_copy(update={"compare_with": "truth", "bootstraps": 50})
    study.run({name: results / "ensemble" / f"{name}.parquet" for name in MODELS}, settings)
    _write_rest(results, study.ids)
    given = {
        "study": {"name": "few"},
        "cohort": {"table": "t.csv"},
        "models": {name: {"kind": "column", "column": f"clinical_{name}"} for name in MODELS},
        "evaluation": {"compare_with": "truth", "baseline_model": "noise", "horizons_days": [365.25, 730.5]},
        "plan": {"folds": 3},
        "registration": {"method": "none"},
    }
    return ReportJob(results, load_settings(given), "0" * 16, tuple(study.ids))


def _write_rest(results: Path, ids: list[str]) -> None:
    (results / "plan.json").write_text(json.dumps({"caveats": []}))
    (results / "problems.csv").write_text("patient_id,stage,state,problem,consequence\n")
    for patient_id in ids:
        # Without an image: the pages of patients are tested elsewhere.
        write_excluded(results / "crops" / f"{patient_id}.zarr", Status("excluded", "crop", "none", "out"))
    for model in MODELS:
        for fold in range(3):
            folder = results / "models" / model / f"fold{fold}"
            folder.mkdir(parents=True)
            (folder / "model.json").write_text(json.dumps({"coefficients": {}}))
            write_status(folder, Status("ok", "survival"))


def text_of(page: str) -> str:
    """What a reader sees, in one line."""
    bare = re.sub(r"<(style|script)>.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory):
    """Makes a case's report once; its text, its table of discrimination and its figures."""
    made: dict[Case, tuple[str, pd.DataFrame, str]] = {}

    def page(case: Case) -> tuple[str, pd.DataFrame, str]:
        if case not in made:
            folder = tmp_path_factory.mktemp("few")
            build_report(make_report(folder, case), folder / "report")
            table = pd.read_csv(folder / "report/tables/discrimination.csv", dtype=str, keep_default_na=False)
            curves = folder / "report/figures/kaplan_meier_truth.svg"
            figure = curves.read_text() if curves.is_file() else ""
            made[case] = (text_of((folder / "report/index.html").read_text()), table, figure)
        return made[case]

    return page


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(0, marks=pytest.mark.nightly),
        pytest.param(1, marks=pytest.mark.nightly),
        3,
        pytest.param(9, marks=pytest.mark.nightly),
    ],
)
def test_below_ten_external_events_nothing_is_estimated(pages, events: int) -> None:
    assert events < LEAST_EVENTS
    text, table, figure = pages(Case(events))
    plural = "" if events == 1 else "s"
    assert f"Few events (external {events} event{plural}: with fewer than 10 nothing is estimated)" in text
    assert f"External: {events} event{plural}, too few for an answer." in text
    external = table[table["Set"] == "External"].drop(columns=["Set", "Model"], errors="ignore")
    numbers = [cell for column in external for cell in external[column] if re.match(r"^-?0\.\d", cell)]
    assert numbers == []
    assert "External" not in figure, "no curve of a set that nothing is estimated of"
    # The development patients are judged as ever.
    assert re.search(r"Development: C-index 0\.\d\d \(0\.\d\d–\d\.\d\d\)", text)


@pytest.mark.nightly
def test_with_thirty_events_there_is_an_answer(pages) -> None:
    text, table, figure = pages(Case(30))
    assert "Few events" not in text
    assert re.search(
        r"External: C-index 0\.\d\d \(0\.\d\d–\d\.\d\d\), noise 0\.\d\d .*difference", text, re.I
    )
    assert "External" in figure and "Hazard ratio" in figure
    assert table.loc[table["Set"] == "External"].shape[0] == 2


@pytest.mark.nightly
def test_a_fold_without_events_and_one_centre(pages) -> None:
    text, _, _ = pages(Case(30, first_fold_events=False, centres=1))
    # Pairs are compared within folds, so that a fold without events adds none; the training sizes tell it.
    assert re.search(r"Development: C-index 0\.\d\d", text)
    assert "Centres 1 1" in text and "Learned from 40 (" in text
    assert "nan" not in text.lower().split()
