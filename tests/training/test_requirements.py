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
sys.path.insert(0, ".")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocked(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


SMALL = """
from pathlib import Path
# One thread and one worker: on a busy machine two wait for each other.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
from benchmarks.training_pieces import Size, measure
size = Size((24, 24, 24), 2, 0.125, "cpu", 4, 1, 5.0, Path(sys.argv[1]))
for piece in ("graph", "parts", "memory", "plain"):
    for row in measure(piece, size):
        print(row)
"""


def test_the_benchmark_needs_no_more_than_torch_and_the_settings(tmp_path: Path) -> None:
    script = tmp_path / "small.py"
    script.write_text("import os, sys\n" + SMALL)
    done = blocked(str(script), str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    for row in (
        "'ours'", "'plain loop'", "plain loop: its data alone", "ours: data: draw and augment",
        "ours: augmentation alone", "ours: augmentation, elastic too", "ours: forward and backward alone",
        "peak / sum of the four",
    ):  # fmt: skip
        assert row in done.stdout, row
    assert "written out (no MONAI here)" in done.stdout


def test_a_piece_that_takes_too_long_leaves_the_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.training", "--device=cpu", "--piece=plain", "--limit=0.2"]
    done = subprocess.run(
        [*command, f"--work={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "plain: more than 0 s" in done.stdout
    assert "floor: H200 ms by bytes" in done.stdout


def test_the_blocker_blocks(tmp_path: Path) -> None:
    script = tmp_path / "needs.py"
    script.write_text("import zarr.storage\n")
    assert "not on this machine: zarr" in blocked(str(script)).stderr
