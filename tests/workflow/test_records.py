"""Results without Snakemake's record of what made them do not count as done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from snakemake.persistence.file import FilePersistence

from pipeline.errors import PipelineError
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.records import correct_future_times, mark_results_without_record, outputs_of
from pipeline.workflow.study import load_study
from study_runner import Study, tiny_config, tiny_rows


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """The paths of the tiny study, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    return StudyPaths(load_study(tiny_config()))


def make(persistence: FilePersistence, path: str, *, recorded: bool) -> None:
    """An output, with a record where its job ended."""
    Path(path).mkdir(parents=True)
    if recorded:
        persistence._io_write(persistence._metadata_path, {"rule": "suv"}, path)


def incomplete(tiny: StudyPaths) -> list[str]:
    """Outputs that Snakemake takes for incomplete."""
    persistence = FilePersistence()
    return sorted(p for p in outputs_of(tiny) if persistence._filter_incomplete_keys([p]))


def test_leftovers_of_jobs_that_did_not_end_are_marked(tiny: StudyPaths) -> None:
    persistence = FilePersistence()
    make(persistence, tiny.stage("suv", "P001"), recorded=True)
    make(persistence, tiny.stage("suv", "P002"), recorded=False)
    lines = mark_results_without_record(tiny, persistence)
    assert len(lines) == 1 and "1 result" in lines[0] and tiny.stage("suv", "P002") in lines[0]
    assert incomplete(tiny) == [tiny.stage("suv", "P002")]
    # The mark tells Snakemake; nothing more is to be said of it.
    assert mark_results_without_record(tiny, FilePersistence()) == []


def test_results_of_the_future_get_the_present_time(tiny: StudyPaths) -> None:
    """As Snakemake takes times: of a folder that of its own file in it."""
    now, ahead = 1_000_000.0, 172_800.0
    stage, plain, past = (tiny.stage("suv", f"P00{n}") for n in (1, 2, 3))
    for path in (stage, plain, past):
        Path(path).mkdir(parents=True)
        os.utime(path, (now - 50, now - 50))
    stamp = Path(stage) / ".snakemake_timestamp"
    stamp.touch()
    os.utime(stamp, (now + ahead, now + ahead))
    os.utime(plain, (now + ahead, now + ahead))
    (line,) = correct_future_times(tiny, now)
    assert line.startswith("warning: 2 results had times in the future")
    times = [Path(path).stat().st_mtime for path in (stamp, plain, past)]
    assert times == [now, now, now - 50]
    assert correct_future_times(tiny, now) == []


def test_results_of_which_none_is_recorded_stop(tiny: StudyPaths) -> None:
    persistence = FilePersistence()
    for patient in ("P001", "P002"):
        make(persistence, tiny.stage("suv", patient), recorded=False)
    with pytest.raises(PipelineError, match=r"rm -r results/tiny.*--touch --forceall"):
        mark_results_without_record(tiny, persistence)
    assert incomplete(tiny) == []


def test_a_study_that_has_not_begun(tiny: StudyPaths) -> None:
    assert mark_results_without_record(tiny, FilePersistence()) == []


def test_every_output_of_a_study_is_looked_at(finished_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = finished_study.snakemake("--summary").splitlines()
    outputs = {line.split("\t")[0] for line in summary if line.startswith("results/")}
    monkeypatch.chdir(finished_study.house)
    paths = StudyPaths(load_study(finished_study.config))
    assert len(outputs) > 100 and outputs <= set(outputs_of(paths))


def test_a_changed_setting_after_the_records_were_lost(finished_study: Study, tmp_path: Path) -> None:
    """`make clean` once removed `.snakemake`, and a changed ROI then reran nothing."""
    records = finished_study.house / ".snakemake"
    shutil.move(records, tmp_path / "records")
    try:
        refused = finished_study.snakemake("-n", check=False)
        assert "records of what made them are gone" in refused and "Traceback" not in refused
        finished_study.snakemake("--touch", "--forceall", "--quiet", "all")
        assert "Nothing to be done" in finished_study.snakemake("-n")
        before = finished_study.config
        finished_study.config = {**before, "contours": {"roi": ["GTV"]}}
        assert finished_study.planned()["contours"] == 14
        finished_study.config = before
    finally:
        shutil.rmtree(records)
        shutil.move(tmp_path / "records", records)
