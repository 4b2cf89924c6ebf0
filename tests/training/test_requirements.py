"""Training on a machine without the packages of the other stages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
