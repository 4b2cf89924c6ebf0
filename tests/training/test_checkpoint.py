"""Checkpoints: written whole, locked, and refused where data, settings or start differ."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import CheckpointError, TrainingError
from pipeline.store.crops import read_crop, write_crop
from pipeline.tables.status import Status, write_status
from pipeline.training.checkpoint import exclusive_lock
from pipeline.training.context import FoldJob
from pipeline.training.train_fold import train_fold
from tests.training.synthetic_study import stopped_before

Job = Callable[..., FoldJob]


ROOT = Path(__file__).parents[2]


def test_two_processes_do_not_train_one_fold(job: Job, tmp_path: Path) -> None:
    """As after a kill of Snakemake alone, whose job goes on while the same command starts another."""
    script = (
        "import sys, pathlib; from pipeline.training.checkpoint import exclusive_lock\n"
        "with exclusive_lock(pathlib.Path(sys.argv[1])):\n    print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "work")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout is not None and orphan.stdout.readline() == b"locked\n"
        with pytest.raises(TrainingError, match=rf"another process is training.*got: process {orphan.pid};"):
            train_fold(job(), tmp_path / "out")
        orphan.kill()
        orphan.wait()
    with exclusive_lock(tmp_path / "work"):
        pass


def test_a_changed_contour_is_other_data(job: Job, study: Path, tmp_path: Path) -> None:
    """One voxel of one mask: the checkpoint of the run before does not fit."""
    crops = tmp_path / "crops"
    shutil.copytree(study / "crops", crops)
    work = job(crops=crops, iterations=8)
    stopped_before(work, 4, tmp_path / "out")
    crop = read_crop(crops / "p00.zarr")
    assert crop.mask is not None
    crop.mask[0, 0, 0] = 1 - crop.mask[0, 0, 0]
    shutil.rmtree(crops / "p00.zarr")
    write_crop(crops / "p00.zarr", crop)
    with pytest.raises(CheckpointError, match="belongs to other data"):
        train_fold(work, tmp_path / "out")


def test_a_stage_trained_anew_is_another_start(job: Job, tmp_path: Path) -> None:
    """The second stage was stopped, the first was trained again at the same place: nothing is mixed."""
    for name, seed in (("one", 1), ("two", 2)):
        train_fold(job(iterations=2, seed=seed, work=tmp_path / name), tmp_path / f"first_{name}")
    start = tmp_path / "first_one" / "checkpoint.pt"
    work = job(model="second", iterations=8, initial=start)
    stopped_before(work, 4, tmp_path / "out")
    start.write_bytes((tmp_path / "first_two" / "checkpoint.pt").read_bytes())
    write_status(start.parent, Status("ok", "train_fold"))
    with pytest.raises(CheckpointError, match="belongs to other start"):
        train_fold(work, tmp_path / "out")
