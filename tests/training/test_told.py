"""What a run tells: progress bar, TensorBoard, exit codes, and errors that say what to do."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import console
from pipeline.errors import CheckpointError, Interrupted, TrainingError
from pipeline.store.crops import read_crop, write_crop
from pipeline.training import step
from pipeline.training import trainer as run
from pipeline.training.checkpoint import exclusive_lock
from pipeline.training.job import FoldJob
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]
ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    """Looks like one."""

    def isatty(self) -> bool:
        return True


def test_the_bar_shows_loss_dice_c_index_and_time_left(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(console, "_terminal", terminal)
    train_fold(job(iterations=4, validate_every=2), tmp_path / "out")
    shown = terminal.getvalue()
    assert "training:" in shown and "/4 [" in shown and "<" in shown  # done/all [elapsed<left
    row = pd.read_csv(tmp_path / "out" / "history.csv").iloc[1]
    assert f"validation {row['loss']:.3f} Dice {row['dice']:.2f} C {row['c_index']:.2f}" in shown


def scalars(folder: Path) -> dict[tuple[str, str, int], float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        (*tag.split("/"), event.step): event.value  # type: ignore[misc]
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    }


def test_tensorboard_shows_the_history(job: Job, tmp_path: Path) -> None:
    train_fold(job(tensorboard=True, iterations=8), tmp_path / "out")
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    expected = {
        (column, row["set"], int(row["iteration"])): float(np.float32(row[column]))
        for _, row in history.iterrows()
        for column in history.columns.drop(["iteration", "set"])
        if np.isfinite(row[column])
    }
    assert len(expected) > 15 and scalars(tmp_path / "out" / "tensorboard") == expected
    train_fold(job(iterations=8), tmp_path / "without")
    assert not (tmp_path / "without" / "tensorboard").exists()
    for name in ("checkpoint.pt", "history.csv"):  # writing it changes no number
        a, b = ((tmp_path / n / name).read_bytes() for n in ("out", "without"))
        assert name == "checkpoint.pt" or a == b


def test_a_resumed_board_withdraws_what_was_beyond_the_checkpoint(tmp_path: Path) -> None:
    from pipeline.training.tensorboard import TensorBoardLogger

    def row(iteration: int, loss: float) -> dict[str, object]:
        return {"iteration": iteration, "set": "train", "loss": loss, "dice": float("nan")}

    killed = TensorBoardLogger(tmp_path)
    killed.add([row(4, 1.0), row(8, 2.0)])
    killed.close()
    resumed = TensorBoardLogger(tmp_path, start=6)
    resumed.add([row(8, 3.0)])
    resumed.close()
    assert scalars(tmp_path) == {("loss", "train", 4): 1.0, ("loss", "train", 8): 3.0}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_says_what_to_lower(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*given: object) -> None:
        raise error

    monkeypatch.setattr(step, "forward", full)
    with pytest.raises(
        TrainingError,
        match=r"memory does not suffice; where: iteration 0, batches of 4; got: .*raise training\.gradient_accumulation"
        r".*lower training\.batch.*precision: bf16.*crop smaller",
    ):
        train_fold(job(), tmp_path / "out")


def test_other_runtime_errors_are_not_taken_for_it(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*given: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(step, "forward", wrong)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train_fold(job(), tmp_path / "out")


def test_a_stopped_rule_ends_with_try_again_later(tmp_path: Path) -> None:
    """75, EX_TEMPFAIL of sysexits.h, and 1 for any other error of ours."""
    for error, code in (("Interrupted", 75), ("TrainingError", 1)):
        script = (
            f"from pipeline.console import job; from pipeline.errors import {error}\n"
            f"with job({str(tmp_path / 'log')!r}):\n    raise {error}('stopped')"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == code and b"error: stopped" in done.stderr
    assert issubclass(Interrupted, TrainingError)


def test_two_processes_do_not_train_one_fold(job: Job, tmp_path: Path) -> None:
    """As after a kill of Snakemake alone, whose job goes on while the same command starts another."""
    script = (
        "import sys, pathlib; from pipeline.training.checkpoint import held\n"
        "with held(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "work")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout is not None and orphan.stdout.readline() == b"held\n"
        with pytest.raises(TrainingError, match=rf"another process is training.*got: process {orphan.pid};"):
            train_fold(job(), tmp_path / "out")
        orphan.kill()
        orphan.wait()
    with exclusive_lock(tmp_path / "work"):
        pass


def killed_at(work: FoldJob, iteration: int, out: Path) -> None:
    """Train until an iteration, and then be gone."""
    real = run._advance

    def killed(state: run.TrainState, number: int) -> None:
        if number == iteration:
            raise KeyboardInterrupt
        real(state, number)

    run._advance = killed
    try:
        with pytest.raises(KeyboardInterrupt):
            train_fold(work, out)
    finally:
        run._advance = real


def test_a_changed_contour_is_other_data(job: Job, study: Path, tmp_path: Path) -> None:
    """One voxel of one mask: the checkpoint of the run before does not fit."""
    import shutil

    crops = tmp_path / "crops"
    shutil.copytree(study / "crops", crops)
    work = job(crops=crops, iterations=8)
    killed_at(work, 4, tmp_path / "out")
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
    killed_at(work, 4, tmp_path / "out")
    start.write_bytes((tmp_path / "first_two" / "checkpoint.pt").read_bytes())
    with pytest.raises(CheckpointError, match="belongs to other start"):
        train_fold(work, tmp_path / "out")
