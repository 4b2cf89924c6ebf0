"""Code, settings and table that are edited while a run goes on, and put back: no result keeps a false record."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from study_runner import Study, copy_house, tiny_config, tiny_rows
from test_cluster_generic import PROFILE, pbs  # noqa: F401

CHANGED = "what to do: run the same command again"


def make(house: Path, patients: int = 2) -> Study:
    study = Study(copy_house(house), tiny_config())
    rows = tiny_rows()
    (study.house / "cohort.csv").write_text("\n".join([*rows[: patients + 1], rows[-1]]) + "\n")
    return study


def start(study: Study, *arguments: str) -> subprocess.Popen[str]:
    (study.house / "study.yaml").write_text(yaml.safe_dump(study.config))
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
    command = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", *arguments]
    return subprocess.Popen(
        command, cwd=study.house, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait_for(found: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while run.poll() is None and not found() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_job_does_not_run_code_that_was_edited_after_the_plan(tmp_path: Path) -> None:
    study = make(tmp_path / "repo")
    indices = {study.results / "index" / patient for patient in ("P001", "P002")}
    targets = [str(path.relative_to(study.house)) for path in sorted(indices)]
    run = start(study, "--cores", "1", "--keep-going", *targets)
    wait_for(lambda: any(path.exists() for path in indices), run)
    path = study.house / "pipeline" / "dicom" / "series" / "index.py"
    text = path.read_text()
    path.write_text(text + "\nEDITED = 1\n")
    output, _ = run.communicate(timeout=120)
    path.write_text(text)
    assert run.returncode == 1 and CHANGED in output, output[-3000:]
    assert len([path for path in indices if path.exists()]) == 1
    # What was made stands, since the code is again what made it; the other is made now.
    assert "index 1" in " ".join(study.snakemake(*targets, "-n", "--quiet", "rules").split())


@pytest.mark.nightly
@pytest.mark.xdist_group("cluster")
def test_settings_edited_while_cluster_jobs_wait(pbs: Path, tmp_path: Path) -> None:  # noqa: F811
    """A section that does not concern a job may change; one that does ends the job, and nothing is recorded."""
    study = make(tmp_path / "repo", 1)
    target = "results/tiny/convert/P001"
    apart = ("--groups", "index=first", "convert=second")
    run = start(study, "--profile", str(PROFILE), *apart, "--", target)
    wait_for(lambda: bool(list(pbs.glob("*.ask"))), run)
    config = study.config
    edited = {**config, "convert": {"compression_level": 3}, "evaluation": {"bootstraps": 102}}
    (study.house / "study.yaml").write_text(yaml.safe_dump(edited))
    output, _ = run.communicate(timeout=300)
    logs = {path.parent.name: path.read_text() for path in (study.results / "logs").rglob("P001.log")}
    assert run.returncode == 1, output[-3000:]
    assert "settings, cohort table, code, images or named files were changed" in logs["convert"]
    assert (study.results / "index" / "P001").exists() and "error" not in logs["index"].lower()
    assert not (study.house / target).exists()
    run = start(study, "--profile", str(PROFILE), *apart, "--", target)
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output[-3000:]
    assert "Nothing to be done" in study.snakemake(target, "-n")
