"""The frame of a job: what becomes of it when its workflow dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from pipeline.console import job
with job(SimpleNamespace(log=[sys.argv[1]], params={}, input=[], output=[])):
    Path(sys.argv[1] + ".started").touch()
    time.sleep(60)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]])
print(child.pid, flush=True)
child.wait()
"""


def ended(pid: int) -> bool:
    """Whether a process is gone, or only waits to be collected."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells a process of its parent's end"
)
def test_a_job_does_not_outlive_its_workflow(tmp_path: Path) -> None:
    # Without it the job goes on for its minute, beside the one that the next run starts.
    log = tmp_path / "job.log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, log], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 30
    while not Path(f"{log}.started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while not ended(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = not ended(child)
    if alive:
        os.kill(child, 9)
    assert not alive
