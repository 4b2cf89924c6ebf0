"""What ends a run early: memory that does not suffice, SIGTERM and its exit code."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from snakemake.iocontainers import Params

from pipeline.attempts import causes_of_end
from pipeline.errors import Interrupted, TrainingError
from pipeline.training import step
from pipeline.training.context import FoldJob
from pipeline.training.interruptions import SigtermFlag
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]


ROOT = Path(__file__).parents[2]


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


SCRIPT = """
import pickle, runpy, sys
with open(sys.argv[1], "rb") as stream:
    snakemake = pickle.load(stream)
runpy.run_path("workflow_scripts/train_fold.py", init_globals={"snakemake": snakemake})
"""


def run_script(work: FoldJob, folder: Path) -> subprocess.Popen[bytes]:
    """The rule's script, with what Snakemake passes to it."""
    snakemake = SimpleNamespace(
        log=[str(folder / "log")],
        wildcards=SimpleNamespace(model=work.model, fold=str(work.fold)),
        params=Params(
            fromdict={
                "model": work.network.model_dump(mode="json"),
                "training": work.training.model_dump(mode="json"),
                "horizons_days": list(work.horizons_days),
                "seed": work.seed,
                "work": str(work.work),
                "threads": 1,
                "importance_permutations": work.importance_permutations,
            }
        ),
        input=SimpleNamespace(
            crops=[str(next(work.crops.iterdir()))],
            cohort=str(work.outcomes),
            splits=str(work.splits),
            initial=[],
        ),
        threads=1,
        output=[str(folder / "out")],
    )
    (folder / "snakemake.pickle").write_bytes(pickle.dumps(snakemake))
    command = [sys.executable, "-c", SCRIPT, str(folder / "snakemake.pickle")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def test_the_rules_script_ends_with_try_again_later_on_sigterm(job: Job, tmp_path: Path) -> None:
    """75, EX_TEMPFAIL of sysexits.h, and 1 for any other error; the next start ends the training."""
    work = job(iterations=60, checkpoint_every=1, validate_every=20)
    process = run_script(work, tmp_path)
    while process.poll() is None and not (tmp_path / "work" / "checkpoint.pt").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate()
    assert process.returncode == 75 and b"error: stopped by SIGTERM; nothing is lost" in message
    assert causes_of_end(tmp_path / "log") == ["time"]
    again = run_script(work, tmp_path)
    assert (again.communicate(), again.returncode)[1] == 0
    assert "going on from iteration" in (tmp_path / "log").read_text()
    refused = run_script(job(device="cuda:7"), tmp_path)
    _, message = refused.communicate()
    assert refused.returncode == 1 and b"error: this device is not there" in message


def test_an_iteration_that_does_not_end_in_time_is_given_up() -> None:
    """SLURM kills 30 s after its warning; a validation of minutes would not be saved anyway."""
    begun = time.monotonic()
    with pytest.raises(Interrupted, match=r"did not end within 0\.2 s.*last checkpoint"), SigtermFlag(0.2):
        os.kill(os.getpid(), signal.SIGTERM)
        while time.monotonic() < begun + 10:
            sum(range(1000))
    assert time.monotonic() - begun < 2


def test_a_checkpoint_is_written_whole_however_long_it_takes() -> None:
    with SigtermFlag(0.1) as sigterm:
        os.kill(os.getpid(), signal.SIGTERM)
        assert sigterm.received
        sigterm.stop_clock()
        time.sleep(0.3)
    time.sleep(0.1)
