"""Snakemake's messages, gathered: a dry run of a screen, and lines of progress where there is no terminal."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import pytest

from pipeline.workflow.terminal import SNAKEMAKE, DryRunSummary, ProgressLines, gather_messages
from study_runner import Study, copy_house, tiny_config, tiny_rows


def said(text: str | None, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord(SNAKEMAKE, logging.INFO, "", 0, text, None, None)
    vars(record).update(extra)
    return record


def job(rule: str, reason: str, number: int = 0, **wildcards: str) -> logging.LogRecord:
    return said("job", event="job_info", rule_name=rule, reason=reason, jobid=number, wildcards=wildcards)


def test_jobs_of_a_dry_run_are_told_by_rule_with_why_and_what_is_trained() -> None:
    summary = DryRunSummary()
    shown = [
        summary.filter(record)
        for record in (
            said("stats", event="run_info"),
            *(job("crop", "Params have changed since last execution: a") for _ in range(30)),
            *(job("train_fold", "Input files updated by another job: x", model="net") for _ in range(3)),
            job("report", "Missing output files: a; Input files updated by another job: b"),
            said("Reasons:\n  many"),
            said("Some jobs were triggered by provenance information"),
        )
    ]
    assert not any(shown)
    last = said("This was a dry-run (flag -n).")
    assert summary.filter(last)
    lines = str(last.msg).splitlines()
    assert lines[0] == "34 jobs would run:"
    assert [line.split() for line in lines[1:4]] == [
        ["crop", "30", "settings", "or", "code", "changed"],
        ["train_fold", "3", "follows"],
        ["report", "1", "not", "made", "yet"],
    ]
    assert lines[4] == "trained (networks, times): net (3)"


def test_warnings_and_an_end_without_jobs_pass() -> None:
    summary = DryRunSummary()
    warning = said("careful")
    warning.levelno = logging.WARNING
    assert summary.filter(said("Nothing to be done (all requested files are present and up to date)."))
    summary.filter(job("crop", "forced execution"))
    assert summary.filter(warning)


def test_progress_without_a_terminal_is_a_line_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two crops of 10 s and 20 s one after the other, of three; the third is expected to take 15 s."""
    clock = iter([0.0, 0.0, 0.0, 10.0, 10.0, 30.0, 30.0, 130.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    lines = ProgressLines(stream)
    lines.filter(said("stats", event="run_info", stats={"crop": 3, "plan": 1, "total": 4}))
    for number in range(3):
        lines.filter(job("crop", "", number))
        lines.filter(said(None, event="job_finished", job_id=number))
    (only,) = stream.getvalue().splitlines()
    assert "crop: 3 of 3 done; 3 of 4 jobs" in only and only.endswith("about 0 s left and then plan")
    assert lines.line("crop", 130.0)
    lines.done["crop"] = 2
    lines.seconds["crop"] = 30000
    assert "about 15 s left" in lines.line("crop", 30.0)


@pytest.mark.parametrize("asked", ["printshellcmds", "verbose", "quiet"])
def test_who_asks_for_all_messages_gets_them(asked: str) -> None:
    options = SimpleNamespace(
        dryrun=True, printshellcmds=False, verbose=False, quiet=None, log_handler_settings={}
    )
    setattr(options, asked, {"rules"} if asked == "quiet" else True)
    before = list(logging.getLogger(SNAKEMAKE).filters)
    gather_messages(options)
    assert logging.getLogger(SNAKEMAKE).filters == before


def test_a_dry_run_fits_a_screen(tmp_path: pytest.TempPathFactory) -> None:
    """Of a study of which nothing was run: more jobs and reasons than one that has one setting changed."""
    study = Study(copy_house(tmp_path / "house"), tiny_config())
    (study.house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    lines = study.snakemake("-n").splitlines()
    assert len(lines) <= 40, "\n".join(lines)
    jobs = next(line for line in lines if line.endswith(" jobs would run:"))
    assert int(jobs.split()[0]) > 100 and any(
        line.startswith("trained (networks, times): deepmts (2)") for line in lines
    )
