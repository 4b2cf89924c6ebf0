"""What a finished training leaves, so that none is done twice."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import CheckpointError
from pipeline.training.checkpoint import pack, unpack, write_atomically
from pipeline.training.progress import Progress
from pipeline.training.tensorboard import FOLDER
from pipeline.training.trainer import CHECKPOINT, HISTORY, TrainState

log = logging.getLogger(__name__)
RECORD = "finished.pt"


def save_completed(run: TrainState, timing: Mapping[str, Any]) -> None:
    """Write the weights that were chosen and the run's history in place of its checkpoint.

    Snakemake starts a job again whenever something it reads was made again, be it with the same
    content (the plan after a change of radiomics), and removes its outputs first. Days of training
    must not hang on that.
    """
    chosen = run.progress.best_weights is not None
    content = {
        "fingerprint": dict(run.fingerprint),
        "net": run.bench.net.state_dict(),
        "progress": {**run.progress.state(), "best_weights": None},
        "chosen": chosen,
        "timing": json.dumps(dict(timing)),
    }
    write_atomically(run.work / RECORD, pack(content))
    (run.work / CHECKPOINT).unlink(missing_ok=True)


def resume_completed(run: TrainState) -> dict[str, Any] | None:
    """Give a run the weights and the history of a finished training of the same fingerprint.

    A record of other settings, data, code or start is removed, and so is one that cannot be
    read: its outputs are gone already, and the training that now starts takes its place.

    Returns:
        The finished training's times, or None where there is no such training.
    """
    path = run.work / RECORD
    if not path.exists():
        return None
    content = _read(path)
    differing = [k for k, v in run.fingerprint.items() if content.get("fingerprint", {}).get(k) != v]
    if differing:
        log.info("the finished training in %s had other %s: trained anew", path, " and ".join(differing))
        path.unlink()
        return None
    if run.board is not None:
        run.board.close()
    run.bench.net.load_state_dict(content["net"])
    run.progress = Progress.from_state(content["progress"])
    if content["chosen"]:
        run.progress.best_weights = content["net"]
    log.info("finished before with the same data, settings and code: nothing is trained (%s)", path)
    timing: dict[str, Any] = json.loads(content["timing"])
    return timing


def _read(path: Path) -> dict[str, Any]:
    try:
        return unpack(path)
    except CheckpointError as error:
        log.warning("%s", error)
        return {}


def clear(work: Path) -> None:
    """Remove what only a run under way needs."""
    for name in (CHECKPOINT, HISTORY):
        (work / name).unlink(missing_ok=True)
    shutil.rmtree(work / FOLDER, ignore_errors=True)
