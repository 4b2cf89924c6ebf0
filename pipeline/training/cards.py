"""One accelerator for each fold: the one that a scheduler granted, else one that no other fold has.

A scheduler tells a job its card in CUDA_VISIBLE_DEVICES. On a workstation `--resources gpu=4` starts
four folds, and every one of them sees all four cards. Each takes a lock on a file that stands for
a card; the operating system releases it however the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pipeline.settings.training import TrainingSettings

if TYPE_CHECKING:
    from pipeline.training.device import DeviceConfig

log = logging.getLogger(__name__)
JOB_OF_A_SCHEDULER = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "SGE_TASK_ID")
"""Variables by which a scheduler's job is known; a single card in it is the one that was granted."""
ASK_AGAIN_SECONDS = 1.0


@contextlib.contextmanager
def device_of_its_own(settings: TrainingSettings) -> Iterator[DeviceConfig]:
    """Device, precision and memory order of a fold; a card is this process's alone while the context lasts.

    With `device: auto` or `cuda` that is the first card that no other fold of this user has; where
    all are taken, one is waited for, and the log says so. A card that the settings name
    (`cuda:1`) is taken as it is told, also by several folds at once, and so is the single card of a
    scheduler's job.

    Args:
        settings: Training settings.

    Raises:
        TrainingError: A device was asked for that is not there.
    """
    from pipeline.training.device import choose_device

    config = choose_device(settings)
    if config.device.type != "cuda":
        yield config
        return
    import torch

    chosen = config.device.index
    with contextlib.ExitStack() as held:
        if chosen is None:
            names = [str(torch.cuda.get_device_properties(n).uuid) for n in range(torch.cuda.device_count())]
            granted = len(names) == 1 and any(name in os.environ for name in JOB_OF_A_SCHEDULER)
            chosen = 0 if granted else held.enter_context(free_card(names, locks_folder()))
            config = choose_device(settings.model_copy(update={"device": f"cuda:{chosen}"}))
        # What is made without a device named, such as events and workspaces, belongs to this card, too.
        torch.cuda.set_device(chosen)
        log.info("card %d of the %d that this process sees", chosen, torch.cuda.device_count())
        yield config


def locks_folder() -> Path:
    """Folder of the cards' locks: of this machine and this user."""
    return Path(tempfile.gettempdir(), f"suvival_cards_{os.getuid()}")


@contextlib.contextmanager
def free_card(names: Sequence[str], folder: Path) -> Iterator[int]:
    """Number of a card that no other process has; it is this process's until the context ends.

    Args:
        names: A name of each card, the same for every process of the machine.
        folder: Folder of the locks.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    begun = time.monotonic()
    told = False
    while True:
        for number, name in enumerate(names):
            lock = (folder / name).open("a+", encoding="utf-8")
            if _taken(lock):
                if told:
                    log.info("card %d is free after %.0f s", number, time.monotonic() - begun)
                try:
                    yield number
                finally:
                    # Explicitly: a process forked meanwhile would keep what closing alone gives up.
                    fcntl.flock(lock, fcntl.LOCK_UN)
                    lock.close()
                return
            lock.close()
        if not told:
            told = True
            log.warning(
                "no card is free: each of the %d has a fold (processes %s), and this one waits until one ends; "
                "--resources gpu=%d starts no more folds than there are cards",
                len(names),
                ", ".join(_holder(folder / name) for name in names),
                len(names),
            )
        time.sleep(ASK_AGAIN_SECONDS)


def _taken(lock: IO[str]) -> bool:
    """Whether this process got the lock; its number is then in the file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return True


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() or "unknown"
