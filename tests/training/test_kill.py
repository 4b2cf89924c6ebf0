"""SIGKILL at any moment, then the same command: the run ends in the same bytes."""

from __future__ import annotations

import pickle
import random
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
SAME = ("checkpoint.pt", "history.csv", "predictions.parquet", "deep_features.parquet")
# Each iteration says that it is done, so that the test can kill between and inside iterations.
COMMAND = """
import pickle, sys
from pathlib import Path
from pipeline.training import trainer
from pipeline.training.train_fold import train_fold
real = trainer.train_step
def step(run, number):
    real(run, number)
    print(number, flush=True)
trainer.train_step = step
train_fold(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
"""


def start(job: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, str(job), str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], iterations: int, delay: float) -> bool:
    """Kill the process once it has done some iterations and a little more; False if it ended."""
    assert process.stdout is not None
    for _ in range(iterations):
        if not process.stdout.readline():
            break
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def run_killed(job: FoldJob, folder: Path, kills: int, seed: int) -> None:
    """Run a job to its end, killed so many times on the way."""
    draw = random.Random(seed)
    saved = folder / "job.pickle"
    saved.write_bytes(pickle.dumps(job))
    done = 0
    while done < kills:
        process = start(saved, folder / "out")
        # Fewer iterations than a checkpoint's distance would never get on.
        assert kill_after(process, draw.randint(1, 5), draw.uniform(0, 0.03))
        done += 1
    final = start(saved, folder / "out")
    assert final.stdout is not None
    final.stdout.read()
    assert final.wait() == 0


def compare(a: Path, b: Path) -> None:
    for name in SAME:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_two_kills_change_nothing(job: Callable[..., FoldJob], tmp_path: Path) -> None:
    settings = {"iterations": 14, "checkpoint_every": 2, "risk_bank_size": 6, "validate_every": 5}
    train_fold(job(work=tmp_path / "w", **settings), tmp_path / "whole")
    run_killed(job(work=tmp_path / "work", **settings), tmp_path, 2, 1)
    compare(tmp_path / "whole", tmp_path / "out")


@pytest.mark.nightly
def test_ten_kills_change_nothing(job: Callable[..., FoldJob], tmp_path: Path) -> None:
    settings = {
        "iterations": 60,
        "checkpoint_every": 3,
        "gradient_accumulation": 2,
        "validate_every": 7,
        "patience": 9,
    }
    train_fold(job(work=tmp_path / "w", **settings), tmp_path / "whole")
    run_killed(job(work=tmp_path / "work", **settings), tmp_path, 10, 2)
    compare(tmp_path / "whole", tmp_path / "out")
