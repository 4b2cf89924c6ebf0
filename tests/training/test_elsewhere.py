"""The engine on a machine without the workflow's packages, and over many iterations."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.settings.networks.deepmts import MtHs
from pipeline.tables.splits import read_splits
from pipeline.training import train_fold as folds
from pipeline.training import trainer as running
from pipeline.training.device import choose_machine, reproducible
from pipeline.training.job import FoldJob

Job = Callable[..., FoldJob]
ROOT = Path(__file__).parents[2]
ABSENT = (
    "zarr", "numcodecs", "ants", "snakemake", "radiomics", "SimpleITK", "sksurv", "lifelines", "monai", "dask",
)  # fmt: skip
BLOCKED = f"""
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError("not on this machine: " + name, name=name)
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
sys.path.insert(0, "benchmarks")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocked(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_benchmark_needs_no_more_than_torch_and_the_settings(tmp_path: Path) -> None:
    small = ["--side", "32", "--width", "0.125", "--batch", "2", "--steps", "1", "--patients", "4"]
    done = blocked(
        "benchmarks/training.py", *small, "--work", str(tmp_path), "--out", str(tmp_path / "t.json")
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for row in (
        "plain: step",
        "plain: data alone",
        "ours: step",
        "ours: data (draw, augment)",
        "ours: augmentation alone",
        "ours: augmentation, elastic too",
        "ours: forward and backward alone",
        "memory: peak / sum of the four",
        "floor: H200 ms by bytes",
    ):
        assert row in done.stdout, row
    assert "written out (no MONAI here)" in done.stdout


def test_the_blocker_blocks(tmp_path: Path) -> None:
    script = tmp_path / "needs.py"
    script.write_text("import zarr.storage\n")
    assert "not on this machine: zarr" in blocked(str(script)).stderr


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.long
def test_nothing_grows_over_two_thousand_iterations(job: Job, tmp_path: Path) -> None:
    """Resident memory by a straight line over iterations, and tensors that the collector sees."""
    network = MtHs(width=0.125)
    settings = {"iterations": 2000, "risk_bank_size": 10, "validate_every": 100, "checkpoint_every": 500}
    work = job(network=network, batch=2, **settings)
    machine = choose_machine(work.training)
    seen: list[tuple[int, float, int]] = []
    real = running._look_at_sets

    def look(run: running.TrainState, bar: object) -> None:
        real(run, bar)
        gc.collect()
        tensors = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
        seen.append((run.progress.iteration, resident_mb(), tensors))

    with reproducible(machine, 1, False):
        splits = read_splits(work.splits)
        cohort, _ = folds.load_fold(work, splits, machine)
        bench = folds.make_bench(work, cohort, machine, cohort.rows(splits.folds[0].train))
        run = folds._start(work, bench, splits)
        running._look_at_sets = look
        try:
            running.train(run)
        finally:
            running._look_at_sets = real
    iterations, resident, tensors = (np.array(column) for column in zip(*seen, strict=True))
    settled = iterations > 500
    slope = np.polyfit(iterations[settled], resident[settled], 1)[0]
    assert slope * 1500 <= 0.02 * resident[-1]
    assert tensors[-1] <= tensors[settled][0] + 10
    assert len(run.progress.history) == 40 and not run.waiting
