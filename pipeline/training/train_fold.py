"""One network in one fold, from crops to predictions: the rule `train_fold`."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import TrainingError
from pipeline.provenance import code_digest
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder
from pipeline.tables.detections import FILE, write_detections
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.splits import Splits, read_splits
from pipeline.training.batches import plain_batch
from pipeline.training.checkpoint import digest, exclusive_lock
from pipeline.training.compile import maybe_compile
from pipeline.training.completed import clear, resume_completed, save_completed
from pipeline.training.dataset import CohortTensors, load_cohort
from pipeline.training.detections import DETECTION, detections_table
from pipeline.training.device import DeviceConfig, choose_machine, reproducible
from pipeline.training.job import FoldJob
from pipeline.training.outputs import (
    MASKED_SETS,
    Predicted,
    predict_patients,
    predictions_table,
    survival_of,
    write_features,
    write_fold,
    write_masks,
    write_network,
)
from pipeline.training.progress import history_csv
from pipeline.training.sampler import make_sampler
from pipeline.training.step import TrainContext
from pipeline.training.tensorboard import FOLDER, write_board
from pipeline.training.trainer import TrainState, monitored_sets, start_run, train
from pipeline.training.validate import predictor_of

if TYPE_CHECKING:
    from pipeline.metrics.baseline import Baseline

log = logging.getLogger(__name__)


def train_fold(job: FoldJob, out: Path) -> None:
    """Train one network in one fold and predict every patient of the fold.

    Writes to `out`: `checkpoint.pt`, `history.csv`, `predictions.parquet`, `timing.json`,
    of a detecting network `detections.parquet`, and, as the settings ask, `masks.zarr` and
    `deep_features.parquet`. While it runs, `job.work` holds the checkpoint to go on from, and
    afterwards the chosen weights: a job whose data, settings, code and start are those of the
    finished training predicts with them and trains nothing. A run that was killed at any moment
    and started again ends in the same bytes (CPU, same number of threads), but for `timing.json`.

    Raises:
        TrainingError: Training cannot start or go on; the message says what to change. Or
            another process is training this fold.
        Interrupted: SIGTERM; the run is saved.
        CheckpointError: `job.work` holds a checkpoint of other settings, data or code.
    """
    begun = time.perf_counter()
    machine = choose_machine(job.training)
    with exclusive_lock(job.work), reproducible(machine, job.threads, job.training.deterministic):
        splits = read_splits(job.splits)
        _check_fold(job, splits)
        cohort, encoder = load_fold(job, splits, machine)
        bench = make_bench(job, cohort, machine, _rows(cohort, splits, job.fold)["train"])
        run = _start(job, bench, splits)
        log.info("%s", {**machine.describe(), "patients": len(cohort.ids), "cohort": cohort.place()})
        timing = resume_completed(run)
        if timing is None:
            train(run)
            if run.progress.best_weights is not None:
                bench.net.load_state_dict(run.progress.best_weights)
            timing = _timing(run, machine, time.perf_counter() - begun)
            save_completed(run, timing)
        bench.net.eval()
        out.mkdir(parents=True, exist_ok=True)
        finish(job, run, splits, encoder, out)
        # Of one process; no two runs share it, so it is a file of its own.
        (out / "timing.json").write_text(json.dumps(timing, indent=1) + "\n", encoding="utf-8")
        clear(job.work)


def _check_fold(job: FoldJob, splits: Splits) -> None:
    if not 0 <= job.fold < len(splits.folds):
        raise TrainingError(
            "there is no such fold",
            where=str(job.splits),
            expected=f"0 to {len(splits.folds) - 1}",
            got=str(job.fold),
        )
    if job.training.checkpoint_selection == "best_validation" and not splits.folds[job.fold].validation:
        raise TrainingError(
            "weights are chosen on validation patients, and there are none",
            where="training.checkpoint_selection: best_validation with plan.validation_fraction: 0",
            action="set plan.validation_fraction above 0, or training.checkpoint_selection: last",
        )


def _rows(cohort: CohortTensors, splits: Splits, fold: int) -> dict[str, list[int]]:
    return {str(name): cohort.rows(ids) for name, ids in splits.sets(fold).items()}


def load_fold(job: FoldJob, splits: Splits, machine: DeviceConfig) -> tuple[CohortTensors, ClinicalEncoder]:
    """All patients of a fold on the device, covariates encoded as its training patients say.

    Raises:
        TrainingError: See :func:`load_cohort`; or a network that multiplies masks onto its
            input is given patients without one.
    """
    outcomes = read_outcomes(job.outcomes)
    sets = splits.sets(job.fold)
    members = sorted({patient_id for ids in sets.values() for patient_id in ids})
    unknown = [patient_id for patient_id in members if patient_id not in outcomes.index]
    if unknown:
        raise TrainingError(
            "splits name patients that the cohort lacks",
            where=f"{job.splits}, {job.outcomes}",
            got=", ".join(unknown[:5]),
            action="run the rule plan again",
        )
    outcomes = outcomes.loc[members]
    encoder = ClinicalEncoder.fit(outcomes.loc[list(sets["train"])], job.network.clinical)
    clinical = encoder.transform(outcomes)
    cohort = load_cohort(job.crops, outcomes, clinical, job.training.standardise, machine)
    bare = [p for p, known in zip(cohort.ids, cohort.has_mask.tolist(), strict=True) if not known]
    if bare and job.network.needs.manual_mask:
        raise TrainingError(
            "a network that multiplies the manual mask onto its input needs everybody's mask",
            where=f"model {job.model}",
            got=f"{len(bare)} patients without: {', '.join(bare[:5])}",
            action="set masked: false, choose another network, or exclude these patients",
        )
    return cohort, encoder


def make_bench(
    job: FoldJob, cohort: CohortTensors, machine: DeviceConfig, train_rows: list[int]
) -> TrainContext:
    """The network, freshly initialised by the fold's seed, and what trains it."""
    import torch

    from pipeline.nets.registry import build

    seed = job.fold_seed()
    torch.manual_seed(seed)
    covariates = 0 if cohort.clinical is None else cohort.clinical.shape[1]
    net = build(job.network, len(cohort.channels), covariates)
    if job.initial is not None:
        from pipeline.training.pretrained import start_from

        start_from(net, job.initial)
    net = machine.place(net, compiled=job.training.compile in ("always", "graphs"))
    occurred = cohort.event
    events = None if occurred is None else occurred.cpu().numpy()[train_rows].astype(int).tolist()
    training = job.training
    sampler = make_sampler(train_rows, events, training.batch, seed, balance=training.balance_events)
    for note in sampler.notes():
        log.warning("%s", note)
    rows = sampler.batch_at(0)
    call = maybe_compile(net, training.compile, machine, plain_batch(cohort, rows), job.work)
    return TrainContext(net, call, cohort, machine, sampler, training, job.network.losses, seed)


def _start(job: FoldJob, bench: TrainContext, splits: Splits) -> TrainState:
    sets = _rows(bench.cohort, splits, job.fold)
    training = job.training.model_dump(mode="json")
    # What changes nothing in the weights may differ between one start and the next.
    for name in ("checkpoint_every", "tensorboard", "outputs"):
        training.pop(name)
    settings = {
        "model": job.model,
        "fold": job.fold,
        "seed": job.seed,
        "threads": job.threads,
        "network": job.network.model_dump(mode="json"),
        "training": training,
        "machine": {k: v for k, v in bench.machine.describe().items() if k in ("device", "precision")},
    }
    fingerprint = {
        "settings": json.dumps(settings, sort_keys=True),
        "data": bench.cohort.fingerprint() + str(sorted((k, tuple(v)) for k, v in sets.items())),
        "code": code_digest("pipeline.training.train_fold", type(bench.net).__module__),
    }
    if job.initial is not None:
        # A stage that was trained anew is another start, though it lies at the same place.
        fingerprint["start"] = digest(job.initial.read_bytes())
    return start_run(bench, monitored_sets(job.training.checkpoint_selection, sets), fingerprint, job.work)


def finish(job: FoldJob, run: TrainState, splits: Splits, encoder: ClinicalEncoder, out: Path) -> None:
    """Predict with the chosen weights and write everything but the times."""
    cohort, training = run.bench.cohort, job.training
    rows = _rows(cohort, splits, job.fold)
    set_of = {cohort.ids[row]: name for name, members in rows.items() for row in members}
    order = [row for members in rows.values() for row in members]
    masks_of = {p for p, name in set_of.items() if name in MASKED_SETS and "masks" in training.outputs}
    wants_features = "deep_features" in training.outputs
    predicted = predict_patients(
        predictor_of(run.bench), cohort, order, masks_of=masks_of, features=wants_features
    )
    source = "validation" if rows["validation"] else "test"
    # Who ranks nobody has no hazard: a constant one would be the cohort's, not the network's.
    baseline = baseline_of(predicted, cohort, rows[source]) if predicted.risk else None
    survival = None
    if baseline is not None:
        survival = survival_of(predicted, baseline, job.horizons_days, job.network.losses)
    table = predictions_table(predicted, set_of, survival, job.horizons_days, job.network.losses)
    caveats = fold_caveats(training, rows, ranks=baseline is not None)
    write_fold(out, table, history_csv(run.progress.history), caveats)
    if training.tensorboard:
        write_board(out / FOLDER, run.progress.history)
    if "masks" in training.outputs:
        write_masks(out / "masks.zarr", predicted.masks)
    if wants_features:
        write_features(out / "deep_features.parquet", predicted)
    if DETECTION in job.network.gives():
        kept = {p: name for p, name in set_of.items() if name in MASKED_SETS}
        write_detections(out / FILE, detections_table(predicted.boxes, kept, job.fold))
    about = describe(job, run, encoder)
    if baseline is not None:
        about |= {"baseline": _plain(baseline), "baseline_from": source}
    write_network(out / "checkpoint.pt", run.bench.net, about)


def fold_caveats(training: TrainingSettings, rows: dict[str, list[int]], *, ranks: bool) -> list[str]:
    """What every table that shows this fold has to say of how its weights were chosen."""
    found = []
    if training.checkpoint_selection == "best_test":
        found.append("the epoch was chosen on the test fold that is reported")
    if ranks and not rows["validation"]:
        found.append("no validation patients: the baseline hazard comes from test patients")
    return found


def baseline_of(predicted: Predicted, cohort: CohortTensors, rows: list[int]) -> Baseline:
    """Breslow's baseline hazard from patients the network was not fitted on."""
    from pipeline.metrics.baseline import breslow

    assert cohort.time is not None and cohort.event is not None  # the network learned from them
    risk = dict(zip(predicted.ids, predicted.risk, strict=True))
    time = cohort.time.double().cpu().numpy()[rows]
    event = cohort.event.double().cpu().numpy()[rows]
    return breslow(time, event, np.asarray([risk[cohort.ids[row]] for row in rows]))


def _plain(baseline: Baseline) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(baseline).items()}


def describe(job: FoldJob, run: TrainState, encoder: ClinicalEncoder) -> dict[str, Any]:
    """What `checkpoint.pt` says of its network: enough to build it again and predict."""
    cohort, progress = run.bench.cohort, run.progress
    chosen = progress.best_weights is not None
    return {
        "model": job.model,
        "fold": job.fold,
        "network": job.network.model_dump(mode="json"),
        "training": job.training.model_dump(mode="json"),
        "channels": list(cohort.channels),
        "shape": list(cohort.shape),
        "spacing_mm": list(cohort.spacing_mm),
        "margin": cohort.margin,
        "clinical": encoder.state(),
        "selection": {
            "checkpoint_selection": job.training.checkpoint_selection,
            "iteration": progress.best_iteration if chosen else progress.iteration,
            "value": progress.best if chosen else None,
            "iterations_run": progress.iteration,
        },
        "notes": run.bench.sampler.notes(),
        "fingerprint": dict(run.fingerprint),
    }


def _timing(run: TrainState, machine: DeviceConfig, seconds: float) -> dict[str, Any]:
    """`timing.json`: of the process that ended the training, its predictions not counted."""
    return {
        "seconds": round(seconds, 3),
        "steps": run.steps,
        "ms_per_step": round(1000 * run.seconds["steps"] / max(run.steps, 1), 2),
        "validation_seconds": round(run.seconds["validation"], 3),
        **machine.describe(),
        "cohort": run.bench.cohort.place(),
    }
