"""The record of a completed training, by which the same training is not done twice."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import CheckpointError, DamageError
from pipeline.tables.whole import write_bytes
from pipeline.training.checkpoint import differing_keys, pack, unpack
from pipeline.training.progress import TENSORBOARD_FOLDER, Progress
from pipeline.training.trainer import CHECKPOINT, HISTORY, TrainState

log = logging.getLogger(__name__)
RECORD = "completed.pt"


def save_completed(run: TrainState, timing: Mapping[str, Any]) -> None:
    """Write the selected weights and the history in place of the run's checkpoint.

    Snakemake starts a job again whenever one of its inputs was made again, even with the same
    content (the plan after a change of radiomics), and removes its outputs first. Days of training
    must not be lost to that.

    Args:
        run: A run that is finished, its network with the selected weights.
        timing: Content of `timing.json`.
    """
    content = {
        "fingerprint": dict(run.fingerprint),
        "net": run.context.net.state_dict(),
        "progress": {**run.progress.state(), "best_weights": None},
        "weights_are_best": run.progress.best_weights is not None,
        "timing": json.dumps(dict(timing)),
    }
    write_bytes(run.work / RECORD, pack(content))
    (run.work / CHECKPOINT).unlink(missing_ok=True)


def resume_completed(run: TrainState) -> dict[str, Any] | None:
    """Give a run the weights and the history of a completed training with the same fingerprint.

    A record of other settings, data, code or start is removed, and so is one that cannot be
    read: its outputs no longer exist, and the training that now starts takes its place.

    Returns:
        Content of `timing.json` of the completed training; None where there is no such training.
    """
    path = run.work / RECORD
    if not path.exists():
        return None
    content = _read(path)
    differing = differing_keys(content.get("fingerprint", {}), run.fingerprint)
    if differing:
        log.info("the completed training in %s had other %s: trained anew", path, " and ".join(differing))
        path.unlink()
        return None
    run.context.net.load_state_dict(content["net"])
    run.progress = Progress.from_state(content["progress"])
    if content["weights_are_best"]:
        run.progress.best_weights = content["net"]
    log.info("completed before with the same data, settings and code: nothing is trained (%s)", path)
    timing: dict[str, Any] = json.loads(content["timing"])
    return timing


def _read(path: Path) -> dict[str, Any]:
    """The record; empty where it cannot be read."""
    try:
        return unpack(path)
    except (CheckpointError, DamageError) as error:
        log.warning("%s", error)
        return {}


def remove_run_files(work: Path) -> None:
    """Remove what only a run under way needs."""
    for name in (CHECKPOINT, HISTORY):
        (work / name).unlink(missing_ok=True)
    shutil.rmtree(work / TENSORBOARD_FOLDER, ignore_errors=True)
