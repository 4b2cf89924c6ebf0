"""Hostile inputs, each made and tried in a process of its own, with its time and memory: one table.

    python -m tests.dicom.hostile            every input, as Markdown
    python -m tests.dicom.hostile NAME DIR   one input, made and tried in a folder

What comes out must be a patient's status or one message: no traceback, no more than 2 GB and 20 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from tests.dicom.hostile_inputs import INPUTS, MADE_AT

MOST_MIB, MOST_SECONDS = 2048, 20.0


@dataclass(frozen=True)
class Outcome:
    """What an input came to: state, message, seconds of processor time and peak memory (MiB), its making included."""

    name: str
    state: str
    message: str
    seconds: float
    mib: float


def attempt(name: str, folder: Path) -> str:
    """Make and try one input in this process: its state, its stage and its message."""
    try:
        return INPUTS[name](folder)
    except PipelineError as error:
        return f"refused: {type(error).__name__}: {error}"


def measured(name: str, scratch: Path) -> Outcome:
    """Try one input in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.dicom.hostile", name, str(scratch / "in")]
    with (scratch / "said").open("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        limit = time.monotonic() + 300
        while True:
            pid, _, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > limit:
                process.kill()
            time.sleep(0.02)
        said.seek(0)
        lines = said.read().strip().splitlines() or ["inf crashed: :"]
    broken = any(line.startswith("Traceback") for line in lines)
    seconds, _, said = lines[-1].partition(" ")
    state, _, message = said.partition(": ")
    if broken or not seconds.replace(".", "").isdigit():
        return Outcome(name, "crashed", lines[-1], float("inf"), used.ru_maxrss / 1024)
    return Outcome(
        name, "crashed" if state not in ("ok", "warned", "excluded", "refused") else state,
        message, float(seconds), used.ru_maxrss / 1024,
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """One input, or the table of all."""
    if len(arguments) == 2:
        said = attempt(arguments[0], Path(arguments[1])).replace("\n", " ")
        print(f"{time.process_time() - MADE_AT[-1]:.2f} {said}")
        return 0
    print("| input | what happens | CPU seconds | peak MiB, making it included |\n|---|---|---|---|")
    worst = 0
    for name in INPUTS:
        with tempfile.TemporaryDirectory() as scratch:
            outcome = measured(name, Path(scratch))
        beyond = outcome.state == "crashed" or outcome.mib > MOST_MIB or outcome.seconds > MOST_SECONDS
        worst += beyond
        text = f"{outcome.state}: {outcome.message[:90]}".replace("|", "/")
        print(
            f"| {name} | {text}{' **BEYOND**' if beyond else ''} | {outcome.seconds:.1f} | {outcome.mib:.0f} |",
            flush=True,
        )
    print(f"\n{len(INPUTS)} inputs, {worst} beyond {MOST_MIB} MiB or {MOST_SECONDS:g} s or crashed")
    return int(worst > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
