"""The small study submitted to a real SLURM on the loopback: equal tables, cancelled and drained jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from slurm_cluster import SlurmCluster, why_not
from study_runner import Study, copy_house, tiny_config, tiny_rows

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_not()), reason=f"no SLURM here: {why_not()}"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The undisturbed run on this machine alone."""
    study = make_study(tmp_path_factory.mktemp("local") / "repo")
    study.snakemake()
    return study


def make_study(house: Path) -> Study:
    """Fourteen patients, two folds, classical models and a network of four iterations."""
    config = tiny_config()
    # The node has no accelerator: a fold that asks for one is refused by SLURM.
    config["training"]["device"] = "cpu"
    study = Study(copy_house(house), config)
    rows = tiny_rows()
    (study.house / "cohort.csv").write_text("\n".join(rows) + "\n")
    return study


def submit(study: Study, *arguments: str) -> subprocess.Popen[str]:
    """Start the study with the SLURM profile; its output lies in `slurm.txt`."""
    (study.house / "study.yaml").write_text(yaml.safe_dump(study.config))
    command = [sys.executable, "-m", "snakemake", "--profile", "config/profiles/slurm", *arguments,
               "--default-resources", "slurm_account=none", "slurm_partition=short", "mem_mb=1000", "runtime=30",
               "--configfile", "study.yaml"]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
    out = (study.house / "slurm.txt").open("a")
    return subprocess.Popen(command, cwd=study.house, env=environment, stdout=out, stderr=out, text=True)


def finish(run: subprocess.Popen[str], study: Study, seconds: float = 1500) -> str:
    run.wait(seconds)
    return (study.house / "slurm.txt").read_text()


def same_tables(one: Study, other: Study) -> None:
    """Every table of two finished studies holds the same bytes."""
    names = [
        p.relative_to(one.results)
        for pattern in ("metrics/*.csv", "ensemble/*.parquet", "radiomics/features.parquet", "problems.csv")
        for p in sorted(one.results.glob(pattern))
    ]
    assert len(names) > 8
    for name in names:
        if name.suffix == ".csv":
            assert (one.results / name).read_text() == (other.results / name).read_text(), name
        else:
            pd.testing.assert_frame_equal(
                pd.read_parquet(one.results / name), pd.read_parquet(other.results / name), check_exact=True
            )


def wait_for_job(cluster: SlurmCluster, rule: str, run: subprocess.Popen[str]) -> str:
    """Id of the first running job whose comment names the rule."""
    while run.poll() is None:
        for job, comment in cluster.running().items():
            if rule in comment:
                return job
        time.sleep(0.2)
    raise AssertionError(f"no job of {rule} was ever running")


def test_submitted_study_equals_the_local_one(cluster: SlurmCluster, local: Study, tmp_path: Path) -> None:
    study = make_study(tmp_path / "repo")
    output = finish(run := submit(study), study)
    assert run.returncode == 0, output[-4000:]
    same_tables(local, study)
    assert "Nothing to be done" in study.snakemake("-n")


def test_cancelled_and_killed_jobs_leave_nothing_half(
    cluster: SlurmCluster, local: Study, tmp_path: Path
) -> None:
    study = make_study(tmp_path / "repo")
    run = submit(study, "--retries", "0")
    for rule in ("rule_phantom", "rule_convert"):
        cluster.command("scancel", wait_for_job(cluster, rule, run))
    cluster.command("scontrol", "update", f"nodename={cluster.host}", "state=drain", "reason=test")
    time.sleep(5)
    cluster.command("scontrol", "update", f"nodename={cluster.host}", "state=resume")
    finish(run, study)
    assert run.returncode != 0
    second = submit(study)
    second.wait(600) if wait_for_job(cluster, "rule_train_fold", second) is None else None
    second.send_signal(signal.SIGINT)
    finish(second, study)
    output = finish(third := submit(study), study)
    assert third.returncode == 0, output[-4000:]
    same_tables(local, study)
