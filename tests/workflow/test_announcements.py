"""What a run says at its start, at its end and when it failed, asked without Snakemake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.workflow.announcements import announce, end_lines, failure_lines, start_lines
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.study import load_study
from study_runner import tiny_config, tiny_rows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    return tmp_path


def paths(**changes: Any) -> StudyPaths:
    config = tiny_config(**changes.pop("cohort", {}))
    for section, values in changes.items():
        config[section] = {**config.get(section, {}), **values}
    return StudyPaths(load_study(config))


def test_a_run_begins_with_the_study_and_its_outcomes_as_read(here: Path) -> None:
    lines = start_lines(paths())
    assert lines[0] == "study tiny: 14 patients, 3 models, results in results/tiny/"
    assert lines[1].startswith("development: 10 patients, ") and lines[2].startswith("external: 4 patients, ")
    assert len(lines) == 3, "nothing is wrong, so nothing is warned of"


def test_patients_whom_the_table_excludes_come_first(here: Path) -> None:
    rows = tiny_rows()
    (here / "cohort.csv").write_text("\n".join(rows).replace(",303,1,", ",0,1,", 1) + "\n")
    lines = start_lines(paths())
    assert lines[0].startswith("study tiny: 13 patients")
    assert lines[1].startswith("warning: patient ") and "must be greater than 0" in lines[1]


def test_missing_images_and_folders_without_a_row_are_told(here: Path) -> None:
    (here / "images" / "NOBODY").mkdir(parents=True)
    text = "\n".join(start_lines(paths(cohort={"image_root": "images"})))
    assert "warning: no images of 14 of 14 patients; the first: " in text
    assert "warning: images/NOBODY holds images, but no row of cohort.csv names it" in text


def test_an_infeasible_plan_is_told_before_images_are_prepared(here: Path) -> None:
    lines = start_lines(paths(plan={"folds": 9}))
    assert lines[-1].startswith("warning: even if no patient is left out, the plan will refuse: too few")


def test_a_run_ends_with_what_there_is_to_read(here: Path) -> None:
    tiny = paths()
    assert end_lines(tiny) == []
    for path, text in ((Path(tiny.report, "index.html"), ""), (Path(tiny.exclusions), "patient_id\n")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert end_lines(tiny) == [f"\nreport: {here / tiny.report / 'index.html'}"]
    Path(tiny.exclusions).write_text("patient_id\nP1\n")
    assert end_lines(tiny)[1] == f"patients with problems: {here / tiny.exclusions}"


def test_a_failure_ends_with_the_message_of_the_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = here / "results" / "tiny" / "logs"
    for name, text in (
        ("plan.log", "2026-01-01 10:00:00 ERROR   pipeline: too few patients.\n"),
        ("suv/P001.log", "2026-01-01 10:00:00 INFO    pipeline: fine\n"),
        ("evaluate.log", "2026-01-01 10:00:00 ERROR   pipeline: of an earlier run.\n"),
    ):
        (logs / name).parent.mkdir(parents=True, exist_ok=True)
        (logs / name).write_text(text)
    os.utime(logs / "evaluate.log", (1000, 1000))
    announce(failure_lines(paths(), since=2000))
    captured = capsys.readouterr()
    assert captured.out == "" and "results/tiny/logs/" in captured.err
    assert captured.err.splitlines()[-1] == "results/tiny/logs/plan.log: error: too few patients."
    assert "of an earlier run" not in captured.err and "--rerun-incomplete" not in captured.err


def test_a_failure_says_when_results_were_left_incomplete(here: Path) -> None:
    """The record's name is that of `results/tiny/plan.json` in base64, as Snakemake writes it."""
    (here / ".snakemake" / "incomplete").mkdir(parents=True)
    (here / ".snakemake" / "incomplete" / "cmVzdWx0cy90aW55L3BsYW4uanNvbg==").touch()
    assert "--rerun-incomplete" in failure_lines(paths(), since=0)[0]
