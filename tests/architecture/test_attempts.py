"""What the attempts of a job leave behind, from which the next attempt asks for more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.attempts import attempts_file, causes_of_end
from pipeline.provenance import ROOT

# pbkdf2 runs for seconds in C: a handler in Python would have to wait for its end.
IN_A_LIBRARY = "import hashlib; print('busy'); hashlib.pbkdf2_hmac('sha256', b'x', b'y', 100_000_000)"
HANDLED = """\
    from pipeline.attempts import sigterm_handled_by
    from pipeline.errors import Interrupted
    import os, signal
    received = []
    with sigterm_handled_by(lambda *_: received.append(1)):
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [1]
        raise Interrupted('stopped by SIGTERM')
"""
TORCH_CPU = "raise RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate memory')"
EXPLAINED = """\
    from pipeline.errors import MachineError
    try:
        raise MemoryError
    except MemoryError:
        raise MachineError('no memory') from None
"""


def start(folder: Path, body: str) -> subprocess.Popen[bytes]:
    """A process that runs a job's frame around the body."""
    lines = body if body.startswith("    ") else f"    {body}"
    frame = "SimpleNamespace(log=['job.log'], params={}, input=[], output=[])"
    imports = "from types import SimpleNamespace\nfrom pipeline.console import job\n"
    code = f"{imports}with job({frame}):\n{lines}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, stderr=subprocess.DEVNULL
    )


def end_by(folder: Path, number: int) -> int:
    """Send a signal to a job that is busy in a compiled library; its exit code, and the seconds it took."""
    process = start(folder, IN_A_LIBRARY)
    mark = attempts_file(folder / "job.log")
    lines = mark.read_text().count("started") if mark.exists() else 0
    while not (mark.exists() and mark.read_text().count("started") > lines):
        time.sleep(0.02)
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(number)
    code = process.wait(30)
    assert time.monotonic() - begun < 2
    return code


def test_a_job_that_succeeds_leaves_no_mark(tmp_path: Path) -> None:
    assert start(tmp_path, "pass").wait() == 0
    assert causes_of_end(tmp_path / "job.log") == [] and not attempts_file(tmp_path / "job.log").exists()


@pytest.mark.parametrize(
    ("body", "cause", "code"),
    [
        ("1 / 0", "failed", 1),
        ("raise MemoryError", "memory", 1),
        (TORCH_CPU, "memory", 1),
        (EXPLAINED, "memory", 74),
        ("import os; os.kill(os.getpid(), 15)", "time", -15),
        ("import os; os.kill(os.getpid(), 9)", "memory", -9),
        (HANDLED, "time", 75),
    ],
)
def test_an_end_is_told_by_its_cause(tmp_path: Path, body: str, cause: str, code: int) -> None:
    assert start(tmp_path, body).wait() == code
    assert causes_of_end(tmp_path / "job.log") == [cause]


def test_signals_end_a_job_inside_a_library_at_once_and_causes_stand_in_order(tmp_path: Path) -> None:
    assert end_by(tmp_path, signal.SIGTERM) == -signal.SIGTERM
    assert end_by(tmp_path, signal.SIGKILL) == -signal.SIGKILL
    assert start(tmp_path, "1 / 0").wait() == 1
    assert causes_of_end(tmp_path / "job.log") == ["time", "memory", "failed"]
    assert start(tmp_path, "pass").wait() == 0
    assert causes_of_end(tmp_path / "job.log") == []


def test_sigterm_and_then_sigkill_is_a_time_limit(tmp_path: Path) -> None:
    """A scheduler kills what has not ended some seconds after its warning."""
    body = """\
    from pipeline.attempts import sigterm_handled_by
    import os, signal, time
    with sigterm_handled_by(lambda *_: None):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    assert start(tmp_path, body).wait() == -9
    assert causes_of_end(tmp_path / "job.log") == ["time"]


def test_a_disk_that_takes_no_mark_ends_no_job(tmp_path: Path) -> None:
    attempts_file(tmp_path / "job.log").mkdir()
    (tmp_path / "job.attempts" / "in_the_way").touch()
    assert start(tmp_path, "1 / 0").wait() == 1
    assert causes_of_end(tmp_path / "job.log") == []
