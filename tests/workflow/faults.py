"""What disturbs a running study: kills, disks, changed inputs, damaged results.

Each fault takes a study that is to be run and disturbs it; the tests then run the same command
and compare all tables with those of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from study_runner import Study

RUN = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", "--configfile", "study.yaml"]
TABLES = (".csv", ".parquet", ".json")
# Times and memory, and what names the folder of the images.
NO_TABLES = ("benchmarks", "logs", "checkpoints", "index", "convert")


def tables(study: Study) -> dict[str, bytes]:
    """Every table of a study that says something of its patients, models and metrics."""
    return {
        str(path.relative_to(study.results)): path.read_bytes()
        for path in sorted(study.results.rglob("*"))
        if path.suffix in TABLES
        and path.name not in ("timing.json", "status.json", "training.csv")
        and path.relative_to(study.results).parts[0] not in NO_TABLES
    }


def start(study: Study, *more: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start the study's command with further arguments; its output goes to `run.txt`."""
    write_settings(study)
    stream = (study.house / "run.txt").open("w")
    return subprocess.Popen(
        [*prefix, *RUN, *more],
        cwd=study.house,
        start_new_session=True,
        stdout=stream,
        stderr=stream,
        text=True,
    )


def write_settings(study: Study) -> None:
    """Write the study's settings to the file that the command names."""
    (study.house / "study.yaml").write_text(yaml.safe_dump(study.config))


def said(study: Study) -> str:
    """What the last command printed."""
    return (study.house / "run.txt").read_text()


def finish(study: Study) -> int:
    """Run the study's command to its end, taking away the lock of a killed one as its hint says."""
    write_settings(study)
    subprocess.run([*RUN, "--unlock"], cwd=study.house, capture_output=True, check=True)
    return start(study).wait(timeout=900)


def jobs_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes of the rules that a workflow has started and that run now."""
    children = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == process.pid and b"scripts" in (entry / "cmdline").read_bytes():
                children.append(int(entry.name))
    return children


def kill_workflows(study: Study, times: int, chance: random.Random) -> None:
    """SIGKILL to Snakemake alone after random times, the same command after each."""
    for _ in range(times):
        process = start(study)
        time.sleep(chance.uniform(4.0, 12.0))
        process.kill()
        process.wait()
        subprocess.run([*RUN, "--unlock"], cwd=study.house, capture_output=True, check=True)


def kill_jobs(study: Study, times: int, chance: random.Random) -> int:
    """SIGKILL to the processes of random rules; how many were killed."""
    killed = 0
    for _ in range(4 * times):
        if killed == times:
            break
        process = start(study)
        until = time.monotonic() + chance.uniform(3.0, 10.0)
        while process.poll() is None:
            jobs = jobs_of(process)
            if jobs and time.monotonic() > until:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(jobs), signal.SIGKILL)
                    killed += 1
                break
            time.sleep(0.05)
        process.wait(timeout=900)
    return killed


@contextlib.contextmanager
def results_on(study: Study, options: str) -> Iterator[None]:
    """Results on a file system of their own in memory, e.g. of a given size; needs the right to mount."""
    folder = study.house / "results"
    aside = study.house / "results_aside"
    if folder.exists():
        shutil.move(folder, aside)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)
    try:
        if aside.exists():
            shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(aside)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def remount(study: Study, options: str) -> None:
    """Change the options of the file system that holds the results."""
    subprocess.run(
        ["mount", "-o", f"remount,{options}", study.house / "results"], check=True, capture_output=True
    )


def may_mount() -> bool:
    """Whether this process may mount file systems."""
    if shutil.which("unshare") is None:
        return False
    test = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return os.geteuid() == 0 and test.returncode == 0


def cut(path: Path) -> None:
    """Take the last third of a file away, as a full disk or a lost connection does."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def shift_times(study: Study, seconds: float) -> None:
    """Move the times of every second result, as when a clock jumped between two jobs."""
    for number, path in enumerate(sorted(study.results.rglob("*"))):
        if number % 2 and not path.is_symlink():
            moved = path.stat().st_mtime + seconds
            os.utime(path, (moved, moved))
