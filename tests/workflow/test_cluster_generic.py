"""The profile for schedulers other than SLURM: its three scripts, and a study run through them.

A stand-in for PBS runs the jobs in the background of this machine (stand_in_pbs.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from faults import tables
from study_runner import ROOT, Study, copy_house, tiny_config, tiny_rows

PROFILE = Path("config/profiles/cluster-generic")
SCRIPTS = ROOT / PROFILE


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State of a stand-in PBS whose commands are on the path."""
    state, programs = tmp_path / "pbs", tmp_path / "bin"
    state.mkdir()
    programs.mkdir()
    source = (Path(__file__).parent / "stand_in_pbs.py").resolve()
    source.chmod(0o755)
    for name in ("qsub", "qstat", "qdel"):
        (programs / name).symlink_to(source)
    monkeypatch.setenv("STAND_IN_PBS", str(state))
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    return state


def submit(folder: Path, body: str, **properties: object) -> str:
    """Submit a job script as Snakemake writes it; its id."""
    usual = {"type": "single", "rule": "suv", "threads": 2, "resources": {"mem_mb": 1500, "runtime": 90}}
    script = folder / "snakejob.sh"
    script.write_text(f"#!/bin/sh\n# properties = {json.dumps(usual | properties)}\n{body}\n")
    done = subprocess.run(
        [SCRIPTS / "submit", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def status(job: str) -> str:
    done = subprocess.run([SCRIPTS / "status", job], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def ended(job: str) -> str:
    """Status of a job once it has ended."""
    end = time.monotonic() + 60
    while status(job) == "running" and time.monotonic() < end:
        time.sleep(0.05)
    return status(job)


def test_a_job_asks_for_what_its_rule_states(pbs: Path, tmp_path: Path) -> None:
    job = submit(tmp_path, "echo done > made")
    assert ended(job) == "success" and (tmp_path / "made").exists()
    asked = (pbs / "1.ask").read_text()
    assert "-N suv -l select=1:ncpus=2:mem=1500mb -l walltime=1:30:00 " in asked
    resources = {"mem_mb": 29156, "runtime": 720, "gpu": 1}
    submit(tmp_path, "true", resources=resources, rule="train_fold")
    assert "mem=29156mb:ngpus=1 -l walltime=12:00:00" in (pbs / "2.ask").read_text()


def test_a_group_has_a_name(pbs: Path, tmp_path: Path) -> None:
    resources = {"mem_mb": 4000, "runtime": 105, "_cores": 3}
    submit(tmp_path, "true", type="group", groupid="volumes", rule=None, threads=None, resources=resources)
    assert "-N volumes -l select=1:ncpus=3:mem=4000mb -l walltime=1:45:00" in (pbs / "1.ask").read_text()


def test_what_became_of_a_job(pbs: Path, tmp_path: Path) -> None:
    assert ended(submit(tmp_path, "exit 3")) == "failed"
    assert status("77.standin") == "failed"
    job = submit(tmp_path, "sleep 60")
    assert status(job) == "running"
    subprocess.run([SCRIPTS / "cancel", job], check=True)
    assert ended(job) == "failed"


def test_a_server_that_does_not_answer_is_asked_again(pbs: Path, tmp_path: Path) -> None:
    job = submit(tmp_path, "true")
    assert ended(job) == "success"
    qstat = tmp_path / "bin" / "qstat"
    qstat.unlink()
    qstat.write_text("#!/bin/sh\necho 'cannot connect to server' >&2\nexit 111\n")
    qstat.chmod(0o755)
    assert status(job) == "running"


def make_study(house: Path) -> Study:
    config = tiny_config()
    config["training"]["device"] = "cpu"
    study = Study(copy_house(house), config)
    (study.house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    return study


def test_the_profile_plans_every_job(pbs: Path, tmp_path: Path) -> None:
    output = make_study(tmp_path / "repo").snakemake("-n", "--profile", str(PROFILE), "--quiet", "rules")
    assert "radiomics_patient 14" in " ".join(output.split())


def start(study: Study) -> subprocess.Popen[bytes]:
    """Run the study through the profile; its output lies in `cluster.txt`."""
    (study.house / "study.yaml").write_text(yaml.safe_dump(study.config))
    command = [sys.executable, "-m", "snakemake", "--profile", str(PROFILE), "--configfile", "study.yaml"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
    with (study.house / "cluster.txt").open("a") as out:
        return subprocess.Popen(command, cwd=study.house, env=environment, stdout=out, stderr=out)


@pytest.mark.nightly
@pytest.mark.xdist_group("cluster")
@pytest.mark.timeout(3600)
def test_a_study_through_the_profile_equals_the_local_one(
    pbs: Path, tmp_path: Path, local_study: Study
) -> None:
    """A job is ended by the scheduler, and the run interrupted; the same command goes on."""
    study = make_study(tmp_path / "repo")
    run = start(study)
    while run.poll() is None and not list(pbs.glob("*.pid")):
        time.sleep(0.1)
    subprocess.run(["qdel", "1.standin"], check=True)
    while run.poll() is None and not list((study.results / "registration").glob("*")):
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    run.wait(600)
    assert not [pid for pid in pbs.glob("*.pid") if not pid.with_suffix(".exit").exists() and alive(pid)]
    run = start(study)
    run.wait(3000)
    assert run.returncode == 0, (study.house / "cluster.txt").read_text()[-4000:]
    assert tables(local_study) == tables(study)
    assert "Nothing to be done" in study.snakemake("-n")


def alive(pid: Path, seconds: float = 20.0) -> bool:
    """Whether a job's process still runs after some seconds."""
    end = time.monotonic() + seconds
    while Path("/proc", pid.read_text()).exists() and time.monotonic() < end:
        time.sleep(0.2)
    return Path("/proc", pid.read_text()).exists()
