"""SIGKILL to the whole workflow, then the same command: the fold goes on where it stood."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.training.context import FoldJob
from pipeline.training.train_fold import train_fold

ROOT = Path(__file__).parents[2]
SNAKEFILE = """
import json
given = json.load(open("given.json"))
rule train_fold:
    input:
        crops=given["crops"],
        cohort=given["outcomes"],
        splits=given["splits"],
        initial=[],
    output:
        directory("models/{model}/fold{fold}"),
    log:
        "logs/{model}_{fold}.log",
    threads: 1
    params:
        model=given["network"],
        training=given["training"],
        horizons_days=given["horizons_days"],
        seed=given["seed"],
        work=lambda wildcards: f"work/{wildcards.model}_{wildcards.fold}",
    script:
        given["script"]
"""


@pytest.mark.long
def test_a_killed_workflow_goes_on(job: Callable[..., FoldJob], study: Path, tmp_path: Path) -> None:
    work = job(iterations=120, checkpoint_every=4, validate_every=40, work=tmp_path / "whole_work")
    train_fold(work, tmp_path / "whole")
    given = {
        "crops": [str(p) for p in sorted((study / "crops").iterdir())],
        "outcomes": str(work.outcomes),
        "splits": str(work.splits),
        "network": work.network.model_dump(mode="json"),
        "training": work.training.model_dump(mode="json"),
        "horizons_days": list(work.horizons_days),
        "seed": work.seed,
        "script": str(ROOT / "workflow_scripts" / "train_fold.py"),
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [
        sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete", "--nolock",
        "models/mt_hs/fold0",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    checkpoint = tmp_path / "work" / "mt_hs_0" / "checkpoint.pt"
    known = 0.0
    for _ in range(2):
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.PIPE
        )
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime > known):
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed"
        # The session's whole process group, as when a device_config goes down.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        known = checkpoint.stat().st_mtime
    assert not (tmp_path / "models" / "mt_hs" / "fold0" / "checkpoint.pt").exists()
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    out = tmp_path / "models" / "mt_hs" / "fold0"
    assert "going on from iteration" in (tmp_path / "logs" / "mt_hs_0.log").read_text()
    for name in ("checkpoint.pt", "history.csv", "predictions.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not checkpoint.exists()
