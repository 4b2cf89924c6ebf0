"""SIGKILL to the whole workflow, then the same command: the rule `train_fold` goes on where it stood."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from study_runner import Study, copy_house

SIDE, PATIENTS = 32, 16
TARGET = "results/killed/models/r_net/fold0"
CONFIG = {
    "study": {"name": "killed", "title": "Slices"},
    "cohort": {"source": "slices", "table": "cohort.csv", "image_root": "images"},
    "contours": {"required": False},
    "registration": {"method": "none"},
    "crop": {"shape": [1, SIDE, SIDE], "spacing_mm": [1.0, 1.0, 1.0]},
    "plan": {"folds": 2, "validation_fraction": 0.3},
    "models": {"r_net": {"kind": "r_net", "width": 0.25}},
    "training": {"iterations": 600, "batch": 4, "validate_every": 50, "checkpoint_every": 4},
}


def prepare(house: Path) -> None:
    """Slices with a bright square whose side decides the time."""
    rng = np.random.default_rng(3)
    rows = ["patient_id,set,image_path,time_days,event"]
    for number in range(PATIENTS):
        side = 4 + number
        image = rng.normal(0.2, 0.05, (SIDE, SIDE)).astype(np.float32)
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[4 : 4 + side, 4 : 4 + side] = 1
        folder = house / "images" / f"s{number:02d}"
        folder.mkdir(parents=True)
        np.save(folder / "image.npy", image + 0.5 * mask)
        np.save(folder / "mask.npy", mask)
        rows.append(f"s{number:02d},development,s{number:02d},{2000 - 80 * number},{int(number % 3 != 0)}")
    (house / "cohort.csv").write_text("\n".join(rows) + "\n")


def killed_after_next_checkpoint(house: Path, checkpoint: Path) -> None:
    """Start the workflow and kill its whole process group, as when a machine goes down."""
    known = checkpoint.stat().st_mtime if checkpoint.exists() else 0.0
    command = [
        sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "study.yaml",
        "--rerun-incomplete", "--nolock", TARGET,
    ]  # fmt: skip
    with (house / "killed.log").open("w") as log:
        process = subprocess.Popen(command, cwd=house, start_new_session=True, stdout=log, stderr=log)
    while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime > known):
        time.sleep(0.02)
    assert process.poll() is None, (house / "killed.log").read_text()[-3000:]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.nightly
def test_a_killed_workflow_goes_on(tmp_path: Path) -> None:
    study = Study(copy_house(tmp_path / "repo"), CONFIG)
    prepare(study.house)
    (study.house / "study.yaml").write_text(yaml.safe_dump(CONFIG))
    out, work = study.house / TARGET, study.results / "checkpoints"
    for _ in range(2):
        killed_after_next_checkpoint(study.house, work / "r_net_0" / "checkpoint.pt")
    assert not (out / "checkpoint.pt").exists()
    study.snakemake("--rerun-incomplete", "--nolock", TARGET)
    assert "going on from iteration" in (study.results / "logs/train_fold/r_net_0.log").read_text()
    assert not (work / "r_net_0" / "checkpoint.pt").exists()
    resumed = shutil.move(out, tmp_path / "resumed")
    shutil.rmtree(work)
    study.snakemake(TARGET)
    for name in ("checkpoint.pt", "history.csv", "predictions.parquet"):
        assert (out / name).read_bytes() == (Path(resumed) / name).read_bytes(), name
