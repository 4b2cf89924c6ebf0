"""The small study submitted to a real SLURM on the loopback: equal tables, whatever ends its jobs.

Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from faults import tables
from pipeline.attempts import causes_of_end
from slurm_cluster import SlurmCluster, why_not
from study_runner import Study, copy_house

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(why_not()), reason=f"no SLURM here: {why_not()}"),
]
FOLD = "results/tiny/models/deepmts/fold0"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def empty(local_study: Study, tmp_path: Path) -> Study:
    """The local study's settings and table in a folder of its own, not run yet."""
    house = copy_house(tmp_path / "repo")
    shutil.copy(local_study.house / "cohort.csv", house / "cohort.csv")
    return Study(house, local_study.config)


def with_longer_training(local_study: Study, house: Path) -> Study:
    """A copy of the finished study, whose folds are to be trained anew for minutes."""
    shutil.copytree(local_study.house, house, symlinks=True)
    training = {
        **local_study.config["training"],
        "iterations": 1500,
        "validate_every": 500,
        "checkpoint_every": 50,
    }
    return Study(house, {**local_study.config, "training": training})


def submit(study: Study, *arguments: str) -> subprocess.Popen[str]:
    """Start the study with the SLURM profile; its output lies in `slurm.txt`."""
    (study.house / "study.yaml").write_text(yaml.safe_dump(study.config))
    command = [sys.executable, "-m", "snakemake", *arguments, "--profile", "config/profiles/slurm",
               "--default-resources", "slurm_account=none", "slurm_partition=short", "mem_mb=1000", "runtime=30",
               "--configfile", "study.yaml"]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
    with (study.house / "slurm.txt").open("a") as out:
        return subprocess.Popen(command, cwd=study.house, env=environment, stdout=out, stderr=out, text=True)


def said(study: Study) -> str:
    return (study.house / "slurm.txt").read_text()


def ends_like(local: Study, study: Study) -> None:
    """The same command ends well with the local run's tables, and has nothing more to do."""
    run = submit(study)
    assert run.wait(3000) == 0, said(study)[-4000:]
    after, expected = tables(study), tables(local)
    assert sorted(after) == sorted(expected) and len(expected) > 20
    assert not [name for name in expected if after[name] != expected[name]]
    assert "Nothing to be done" in study.snakemake("-n")


def wait_for_job(cluster: SlurmCluster, name: str, run: subprocess.Popen[str]) -> str:
    """Id of the first running job whose comment names the rule or group."""
    while run.poll() is None:
        for job, comment in cluster.running().items():
            if name in comment:
                return job
        time.sleep(0.2)
    raise AssertionError(f"no job of {name} was ever running")


def wait_until_gone(cluster: SlurmCluster, job: str, seconds: float) -> float:
    """Seconds until a cancelled job's last process has ended."""
    begun = time.monotonic()
    while job in cluster.jobs() and time.monotonic() < begun + seconds:
        time.sleep(0.2)
    assert job not in cluster.jobs()
    return time.monotonic() - begun


def test_submitted_study_equals_the_local_one(
    cluster: SlurmCluster, local_study: Study, empty: Study
) -> None:
    ends_like(local_study, empty)
    assert "group_volumes" in said(empty) or "volumes" in said(empty)


def test_cancelled_jobs_and_a_drained_node_leave_nothing_half(
    cluster: SlurmCluster, local_study: Study, empty: Study
) -> None:
    """Jobs are cancelled midway, the node is drained and resumed, and the run is interrupted."""
    run = submit(empty, "--retries", "0")
    for name in ("phantom", "volumes"):
        job = wait_for_job(cluster, name, run)
        time.sleep(3)
        cluster.command("scancel", job)
        assert wait_until_gone(cluster, job, 60) < 60
    cluster.set_node("drain")
    time.sleep(10)
    cluster.set_node("resume")
    # Without all patients there is no template.
    assert run.wait(1500) != 0
    run = submit(empty)
    wait_for_job(cluster, "register", run)
    run.send_signal(signal.SIGINT)
    assert run.wait(600) != 0
    end = time.monotonic() + 60
    while cluster.jobs() and time.monotonic() < end:
        time.sleep(0.5)
    assert not cluster.jobs(), "the interrupted run cancels its jobs"
    ends_like(local_study, empty)


def test_a_fold_goes_on_where_the_time_limit_stopped_it(
    cluster: SlurmCluster, local_study: Study, tmp_path: Path
) -> None:
    """After a time limit the next attempt has more time, and no more memory; and the same bytes in the end."""
    local = with_longer_training(local_study, tmp_path / "local")
    local.snakemake(FOLD)
    study = with_longer_training(local_study, tmp_path / "slurm")
    study.config["resources"] = {"seconds_per_step": {"deepmts": 0.0001}}
    # Half an hour is added for reading and predicting; the test cannot wait for that.
    rule = study.house / "pipeline" / "workflow" / "resources.py"
    rule.write_text(rule.read_text().replace("FIXED_MINUTES = 30", "FIXED_MINUTES = 0"))
    run = submit(study, FOLD, "--retries", "4")
    job = wait_for_job(cluster, "train_fold", run)
    first = cluster.demand(job)
    log = study.results / "logs" / "train_fold" / "deepmts_0.log"
    while run.poll() is None and (job in cluster.running() or not causes_of_end(log)):
        time.sleep(0.5)
    second_job = wait_for_job(cluster, "train_fold", run)
    assert causes_of_end(log)[0] == "time"
    second = cluster.demand(second_job)
    assert run.wait(2000) == 0, said(study)[-4000:]
    assert (first.minutes, second.minutes) == (1, 2) and first.mem_mb == second.mem_mb
    assert "going on from iteration" in log.read_text()
    for name in ("predictions.parquet", "history.csv"):
        assert (study.house / FOLD / name).read_bytes() == (local.house / FOLD / name).read_bytes()
    assert causes_of_end(log) == []
