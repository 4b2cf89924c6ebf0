"""Tests that share a study run on one worker: a second one would make the study again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MODULE = """
import pytest

@pytest.mark.xdist_group("shared")
@pytest.mark.parametrize("number", range(6))
def test_it(number):
    pass
"""


def test_a_group_stays_on_one_worker(tmp_path: Path) -> None:
    """Of pytest 9.2.0 and pytest-xdist 3.8.0 it does not, and nothing says so (pytest-xdist's issue 1386)."""
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(MODULE)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    workers = {
        line.split()[0] for line in done.stdout.splitlines() if line.startswith("[gw") and "PASSED" in line
    }
    assert done.returncode == 0 and len(workers) == 1, done.stdout
