"""One network in one fold, from crops to predictions: the rule `train_fold`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.settings.training import TrainingSettings, is_file_of_weights
from pipeline.tables.detections import FILE, write_detections
from pipeline.tables.predictions import PERMUTED_RISKS, write_permuted_risks
from pipeline.tables.status import stage_folder
from pipeline.training.cards import device_of_its_own
from pipeline.training.checkpoint import exclusive_lock
from pipeline.training.completed import remove_run_files, resume_completed, save_completed
from pipeline.training.context import FoldData, FoldJob, fingerprint_of, load_fold, make_context
from pipeline.training.detections import DETECTION, detections_table
from pipeline.training.device import reproducible
from pipeline.training.importance import inputs_of, permuted_risks
from pipeline.training.interruptions import explained_out_of_memory
from pipeline.training.memory_estimate import expected_memory
from pipeline.training.outputs import (
    MASKED_SETS,
    NetworkPredictions,
    predict_patients,
    predictions_table,
    survival_probabilities,
    write_features,
    write_fold,
    write_masks,
    write_network,
)
from pipeline.training.progress import TENSORBOARD_FOLDER, history_csv, write_tensorboard
from pipeline.training.trainer import TrainState, run_training, start_run
from pipeline.training.validation import FOR_A_PREDICTION, make_predictor, monitored_sets

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.metrics.baseline import Baseline

log = logging.getLogger(__name__)
TIMING = "timing.json"
WEIGHTS_OF_ELSEWHERE = (
    "training started from weights of elsewhere; whether they have seen test or external patients is not "
    "known"
)
CHOSEN_ON_TEST = "the epoch was chosen on the test fold that is reported"
"""Caveats that a network which starts from another one shares with it."""


def train_fold(job: FoldJob, out: Path) -> None:
    """Train one network in one fold and predict every patient of the fold.

    Writes to `out`: `checkpoint.pt`, `history.csv`, `predictions.parquet`, `timing.json`,
    `model.json`, for a detecting network `detections.parquet`, and, as the settings ask,
    `masks.zarr` and `deep_features.parquet`, and `permuted_risks.parquet` where the importance of inputs is
    asked for. While it runs, `job.work` holds the checkpoint to
    resume from, and afterwards the selected weights: a job whose data, settings, code and start are
    those of the completed training predicts with them and trains nothing. A run that was killed at
    any moment and started again ends in the same bytes (CPU, same number of threads), except for
    `timing.json`.

    Raises:
        TrainingError: Training cannot start or go on; the message says what to change. Or
            another process is training this fold.
        Interrupted: SIGTERM was received; the run is saved.
        CheckpointError: `job.work` holds a checkpoint of other settings, data or code.
    """
    begun = time.perf_counter()
    with (
        exclusive_lock(job.work),
        device_of_its_own(job.training) as device_config,
        reproducible(device_config, job.threads, job.training.deterministic),
        contextlib.closing(load_fold(job, device_config)) as data,
    ):
        context = make_context(job, data, device_config)
        monitored = monitored_sets(job.training.checkpoint_selection, data.rows)
        run = start_run(context, monitored, fingerprint_of(job, data, context), job.work)
        _log_start(run)
        memory = expected_memory(job, data.cohort, device_config)
        log.info("memory of the machine that this process is going to take: %s", memory.in_words())
        timing = resume_completed(run)
        if timing is None:
            run_training(run)
            _take_best_weights(run)
            timing = timing_of(run, time.perf_counter() - begun)
            save_completed(run, timing)
        with stage_folder("train_fold", out, varying=(TIMING, TENSORBOARD_FOLDER)) as folder:
            write_outputs(job, data, run, folder)
            # Times differ between two runs, so they are a file of their own.
            (folder / TIMING).write_text(json.dumps(timing, indent=1) + "\n", encoding="utf-8")
        remove_run_files(job.work)


def _log_start(run: TrainState) -> None:
    context = run.context
    about = {"patients": len(context.cohort.ids), "cohort": context.cohort.location()}
    log.info("%s", {**context.device_config.describe(), **about})


def _take_best_weights(run: TrainState) -> None:
    if run.progress.best_weights is not None:
        run.context.net.load_state_dict(run.progress.best_weights)


def timing_of(run: TrainState, seconds: float) -> dict[str, Any]:
    """`timing.json`: times of the process that ended the training, without its predictions."""
    watch = run.stopwatch
    return {
        "seconds": round(seconds, 3),
        "steps": watch.steps,
        "ms_per_step": round(1000 * watch.step_seconds / max(watch.steps, 1), 2),
        "validation_seconds": round(watch.validation_seconds, 3),
        **run.context.device_config.describe(),
        "cohort": run.context.cohort.location(),
        "launches": run.graph.launches(),
        **_skipped_steps(run),
    }


def _skipped_steps(run: TrainState) -> dict[str, int]:
    """How many steps float16 has skipped, since their gradients overflowed."""
    scale = run.optimizer.loss_scale
    return {} if scale is None else {"skipped_steps": scale.skipped()}


def write_outputs(job: FoldJob, data: FoldData, run: TrainState, out: Path) -> None:
    """Predict all patients with the selected weights and write everything but the times."""
    run.context.net.eval()
    predictions = _predict(job, data, run)
    # Without a predicted risk a baseline hazard would be the cohort's, not the network's.
    baseline = baseline_of(predictions, data) if predictions.risk else None
    table = _predictions_table(job, data, predictions, baseline)
    fold = {
        "patients": {name: len(rows) for name, rows in data.rows.items()},
        "caveats": [
            *fold_caveats(job.training, data.rows, ranks=baseline is not None),
            *inherited_caveats(job.training, job.initial),
        ],
    }
    if baseline is not None:
        fold["baseline"] = about_baseline(baseline, predictions, data)
    if job.initial is not None:
        fold["initial_weights"] = {
            "pretrained_from": job.training.pretrained_from,
            "sha256": hashlib.sha256(job.initial.read_bytes()).hexdigest(),
        }
    write_fold(out, table, history_csv(run.progress.history), fold)
    if predictions.risk and job.importance_permutations:
        write_permuted_risks(out / PERMUTED_RISKS, _permuted(job, data, run))
    _write_requested(job, data, run, predictions, out)
    about = describe(job, data, run)
    if baseline is not None:
        about |= {"baseline": _plain(baseline)}
    write_network(out / "checkpoint.pt", run.context.net, about)


def _predict(job: FoldJob, data: FoldData, run: TrainState) -> NetworkPredictions:
    outputs, set_of = job.training.outputs, data.set_of()
    rows = [row for members in data.rows.values() for row in members]
    masks_of = {p for p, name in set_of.items() if name in MASKED_SETS and "masks" in outputs}
    features = "deep_features" in outputs
    predictor = make_predictor(run.context)
    action = FOR_A_PREDICTION.format(patients=predictor.batch)
    with explained_out_of_memory(lambda: f"predicting {len(rows)} patients", action):
        return predict_patients(predictor, data.cohort, rows, masks_of=masks_of, features=features)


def _permuted(job: FoldJob, data: FoldData, run: TrainState) -> pd.DataFrame:
    """Risks of the test patients under permuted inputs."""
    inputs = inputs_of(data.cohort.channels, data.encoder, manual_mask=job.network.needs.manual_mask)
    predictor, rows = make_predictor(run.context), data.rows["test"]
    return permuted_risks(predictor, data.cohort, rows, inputs, job.importance_permutations, job.fold_seed())


def _predictions_table(
    job: FoldJob, data: FoldData, predictions: NetworkPredictions, baseline: Baseline | None
) -> pd.DataFrame:
    horizons, losses = job.horizons_days, job.network.losses
    survival = None
    if baseline is not None:
        survival = survival_probabilities(predictions, baseline, horizons, losses)
    return predictions_table(predictions, data.set_of(), survival, horizons, losses)


def _write_requested(
    job: FoldJob, data: FoldData, run: TrainState, predictions: NetworkPredictions, out: Path
) -> None:
    """Files that the settings ask for, and the boxes of a detecting network."""
    if job.training.tensorboard:
        write_tensorboard(out / TENSORBOARD_FOLDER, run.progress.history)
    if "masks" in job.training.outputs:
        write_masks(out / "masks.zarr", predictions.masks, job.network.losses.mask_classes)
    if "deep_features" in job.training.outputs:
        write_features(out / "deep_features.parquet", predictions)
    if DETECTION in job.network.gives():
        sets = {p: name for p, name in data.set_of().items() if name in MASKED_SETS}
        write_detections(out / FILE, detections_table(predictions.boxes, sets, job.fold))


def fold_caveats(training: TrainingSettings, rows: dict[str, list[int]], *, ranks: bool) -> list[str]:
    """What every table with this fold has to say of how its weights were selected.

    Args:
        training: Training settings.
        rows: Row numbers by set.
        ranks: Whether the network predicts a risk.
    """
    caveats = []
    if is_file_of_weights(training.pretrained_from):
        caveats.append(WEIGHTS_OF_ELSEWHERE)
    if training.checkpoint_selection == "best_test":
        caveats.append(CHOSEN_ON_TEST)
    if ranks and not rows["validation"]:
        caveats.append(
            "no validation patients: nobody says how far the network's log-hazards hold, and survival "
            "probabilities are the same for all"
        )
    return caveats


def inherited_caveats(training: TrainingSettings, initial: Path | None) -> list[str]:
    """What the network that training started from has seen, and so this one has, too.

    The start's `model.json` tells of its own start in turn.

    Args:
        training: Training settings.
        initial: `checkpoint.pt` of the same fold of the network it names, or a file of elsewhere; None: no start.
    """
    start = training.pretrained_from
    # Of elsewhere nothing is known of this study's patients, which fold_caveats says.
    if initial is None or not start or is_file_of_weights(start):
        return []
    about = json.loads((initial.parent / "model.json").read_text(encoding="utf-8"))
    seen = [text for text in about["caveats"] if text.endswith((WEIGHTS_OF_ELSEWHERE, CHOSEN_ON_TEST))]
    return [f"training started from {start}, of which: {text}" for text in seen]


def baseline_of(predictions: NetworkPredictions, data: FoldData) -> Baseline:
    """Slope of the validation patients, baseline hazard of training and validation patients.

    Never of test patients, nor of another fold's network, which has been trained on them.
    """
    from pipeline.metrics.baseline import in_sample_baseline

    cohort, rows = data.cohort, [*data.rows["validation"], *data.rows["train"]]
    assert cohort.time is not None and cohort.event is not None  # the network learned from them
    risk = dict(zip(predictions.ids, predictions.risk, strict=True))
    return in_sample_baseline(
        cohort.time.double().cpu().numpy()[rows],
        cohort.event.double().cpu().numpy()[rows],
        np.asarray([risk[cohort.ids[row]] for row in rows]),
        np.arange(len(rows)) < len(data.rows["validation"]),
    )


def about_baseline(baseline: Baseline, predictions: NetworkPredictions, data: FoldData) -> dict[str, Any]:
    """What the survival probabilities of this fold rest on, as `model.json` and the report say it."""
    rows = [*data.rows["validation"], *data.rows["train"]]
    assert data.cohort.event is not None  # the network learned from them
    own = bool(predictions.interval_logits)
    return {
        "source": "the network's own intervals" if own else "validation and train (in-sample)",
        "patients": len(rows),
        "events": int(data.cohort.event.cpu().numpy()[rows].sum()),
        "slope": 1.0 if own else baseline.slope,
        "last_days": baseline.last,
    }


def _plain(baseline: Baseline) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(baseline).items()}


def describe(job: FoldJob, data: FoldData, run: TrainState) -> dict[str, Any]:
    """Description of the network in `checkpoint.pt`: enough to build it again and predict."""
    cohort, progress = data.cohort, run.progress
    is_best = progress.best_weights is not None
    return {
        "model": job.model,
        "fold": job.fold,
        "network": job.network.model_dump(mode="json"),
        "training": job.training.model_dump(mode="json"),
        "channels": list(cohort.channels),
        "shape": list(cohort.shape),
        "spacing_mm": list(cohort.spacing_mm),
        "margin": cohort.margin,
        "clinical": data.encoder.state(),
        "device": run.context.device_config.identity(),
        "selection": {
            "checkpoint_selection": job.training.checkpoint_selection,
            "iteration": progress.best_iteration if is_best else progress.iteration,
            "value": progress.best if is_best else None,
            "iterations_run": progress.iteration,
        },
        "notes": run.context.sampler.notes(),
        "fingerprint": dict(run.fingerprint),
    }
