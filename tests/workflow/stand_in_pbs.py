#!/usr/bin/env python3
"""Stands in for PBS's qsub, qstat and qdel: jobs run in the background of this machine, two at a time.

Called by one of the three names, with the options that config/profiles/cluster-generic uses. State lies in the
folder that STAND_IN_PBS names: for each job `{number}.ask` (its options), `{number}.pid` while it
runs, `{number}.exit` with its exit status. SIGTERM comes before SIGKILL, as in PBS.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

THIS = str(Path(__file__).resolve())
SLOTS = 2
KILL_DELAY = 10.0
"""PBS's `kill_delay`, seconds between SIGTERM and SIGKILL."""


def state() -> Path:
    return Path(os.environ["STAND_IN_PBS"])


def qsub(arguments: list[str]) -> None:
    """Start a job; print its id."""
    script = arguments[-1]
    number = 1
    while True:  # Several submissions at once take different numbers.
        try:
            (state() / f"{number}.ask").open("x").write(" ".join(arguments))
            break
        except FileExistsError:
            number += 1
    logs = Path(arguments[arguments.index("-o") + 1])
    # PBS keeps a copy of the script, since Snakemake removes its own.
    copy = state() / f"{number}.sh"
    copy.write_bytes(Path(script).read_bytes())
    with (logs / f"{number}.log").open("w") as log:
        subprocess.Popen(
            [sys.executable, THIS, "run", str(number)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    print(f"{number}.standin")


def run(number: str) -> None:
    """Wait for a slot, run the script, and note its exit status."""
    slot = _free_slot(number)
    if slot is None:
        return
    with slot:
        job = subprocess.Popen(["sh", str(state() / f"{number}.sh")], start_new_session=True)
        (state() / f"{number}.pid").write_text(str(job.pid))
        (state() / f"{number}.exit").write_text(str(job.wait()))


def _free_slot(number: str) -> IO[str] | None:
    while not (state() / f"{number}.exit").exists():
        for slot in range(SLOTS):
            stream = (state() / f"slot{slot}").open("w")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return stream
            except BlockingIOError:
                stream.close()
        time.sleep(0.1)
    return None


def qstat(arguments: list[str]) -> None:
    """Print state and exit status of a job."""
    number = arguments[-1].removesuffix(".standin")
    if not (state() / f"{number}.ask").exists():
        sys.exit(f"qstat: Unknown Job Id {arguments[-1]}")
    print(f"Job Id: {arguments[-1]}")
    exit_file = state() / f"{number}.exit"
    text = exit_file.read_text() if exit_file.exists() else ""
    if text:
        print(f"    job_state = F\n    Exit_status = {text}")
    else:
        print(f"    job_state = {'R' if (state() / f'{number}.pid').exists() else 'Q'}")


def qdel(arguments: list[str]) -> None:
    """End jobs, running or waiting."""
    for job in arguments:
        number = job.removesuffix(".standin")
        pid = state() / f"{number}.pid"
        if pid.exists():
            subprocess.Popen(
                [sys.executable, THIS, "kill", number], start_new_session=True, stdin=subprocess.DEVNULL
            )
        else:
            (state() / f"{number}.exit").write_text("271")


def kill(number: str) -> None:
    """SIGTERM to every process of a job, and SIGKILL to what is left later."""
    group = int((state() / f"{number}.pid").read_text())
    for signal_number, delay in ((signal.SIGTERM, KILL_DELAY), (signal.SIGKILL, 0.0)):
        try:
            os.killpg(group, signal_number)
        except ProcessLookupError:
            return
        time.sleep(delay)


def main() -> None:
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    if name in ("qsub", "qstat", "qdel"):
        {"qsub": qsub, "qstat": qstat, "qdel": qdel}[name](arguments)
    else:
        {"run": run, "kill": kill}[arguments[0]](arguments[1])


if __name__ == "__main__":
    main()
