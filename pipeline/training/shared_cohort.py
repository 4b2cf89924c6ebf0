"""All patients' crops in one file, standardised, which the folds of a machine read together.

Each fold used to hold the whole cohort in its own memory. Here the first fold that starts writes
the file, folds beside it use the same one, and the last that ends removes it. Batches are read as
they are needed. What was read stays in the operating system's page cache, once for all processes,
as long as there is memory for it; where there is not, it is read from the disk again. A process
that is killed loses its lock and nothing else: the file is taken up, or removed, by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from pipeline.errors import DamageError
from pipeline.tables.whole import remove
from pipeline.training.cohort_file import HEADER, CohortFile, write_cohort
from pipeline.training.crops import StandardisedCrop

log = logging.getLogger(__name__)
WHOLE = "whole"
"""Stands in the lock file once its holder has written the cohort's file or found it whole."""
ReadCrops = Callable[[], Iterable[StandardisedCrop]]


class SharedCohort(CohortFile):
    """A cohort's file that nobody removes while it is in use.

    Args:
        folder: Where it lies.
        lock: The open lock file, of which this process has a share.
    """

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        super().__init__(folder)
        self._lock = lock

    def close(self) -> None:
        """Give the file up; whoever is the last removes it."""
        super().close()
        if self._lock.closed:
            return
        if _alone(self._lock):
            remove(self.folder)
            Path(self._lock.name).unlink(missing_ok=True)
        # Explicitly: a process forked meanwhile would keep what closing alone gives up.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._lock.close()


def open_shared(parent: Path, key: str, precision: str, read_crops: ReadCrops) -> SharedCohort:
    """The cohort's file, written by this process if no other has done it.

    Args:
        parent: Folder in which it is looked for; all folds of a study use the same one.
        key: Identifies patients, crops, standardisation and precision.
        precision: `float32`, `float16` or `bfloat16`.
        read_crops: Gives the patients' crops; called only if the file must be written.

    Raises:
        TrainingError: A value does not fit the precision.
        MachineError: The file cannot be written or read; a disk without room, too.
    """
    folder = parent / f"cohort_{key[:16]}"
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = (parent / f"{folder.name}.lock").open("a+", encoding="utf-8")
        try:
            if not _alone(lock):
                log.info("another fold reads or uses the same crops: its file is used (%s)", folder)
            elif _is_current(lock):
                lock.truncate(0)
                _keep_or_write(folder, precision, read_crops)
                lock.write(WHOLE)
                lock.flush()
            # For a moment between the two locks another process may have it, and even remove the file.
            fcntl.flock(lock, fcntl.LOCK_SH)
            # Without the word whoever had the lock was killed before the file was found whole: begin again.
            if _is_current(lock) and (folder / HEADER).exists() and _says_whole(lock):
                remove_left(parent, folder)
                return SharedCohort(folder, lock)
        except BaseException:
            lock.close()
            raise
        lock.close()


def remove_left(parent: Path, used: Path) -> None:
    """Remove what killed runs with other patients, crops or settings left behind: files nobody has locked.

    Args:
        parent: Folder of the study's cohort files.
        used: The cohort's file that is in use now.
    """
    for path in sorted(parent.glob("cohort_*.lock")):
        folder = path.with_suffix("")
        if folder == used:
            continue
        with contextlib.suppress(FileNotFoundError), path.open("r+", encoding="utf-8") as lock:
            if _alone(lock) and _is_current(lock):
                log.info("removed the cohort's file of a run that was killed (%s)", folder)
                remove(folder)
                path.unlink()


def _says_whole(lock: IO[str]) -> bool:
    lock.seek(0)
    return lock.read() == WHOLE


def _alone(lock: IO[str]) -> bool:
    """Whether this process gets the lock for itself; if not, it may have lost a share of it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(lock: IO[str]) -> bool:
    """Whether the open lock file still has its name; the last user removes it."""
    try:
        return os.fstat(lock.fileno()).st_ino == Path(lock.name).stat().st_ino
    except FileNotFoundError:
        return False


def _keep_or_write(folder: Path, precision: str, read_crops: ReadCrops) -> None:
    """Leave what a killed process left, if it is whole; else write the file."""
    if (folder / HEADER).exists():
        try:
            with contextlib.closing(CohortFile(folder)) as left:
                left.check()
        except DamageError as error:
            log.warning("the cohort's file of a run before is written anew: %s", error)
        else:
            log.info("the cohort's file of a run before is used (%s)", folder)
            return
    write_cohort(folder, precision, read_crops())
