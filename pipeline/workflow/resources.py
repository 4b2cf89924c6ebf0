"""What jobs ask a scheduler for: memory from the size of the data, time from the number of iterations.

Estimates of a training err upwards: a job that asked for too much waits a little longer, one that
asked for too little is stopped. What a failed attempt was short of, and nothing else, grows.
"""

from __future__ import annotations

import math
from pathlib import Path

from pipeline.attempts import causes_of_end
from pipeline.settings.step_memory import MB, StepSize, fold_memory, width_of
from pipeline.workflow.study import Study

GFLOP_PER_MEGAVOXEL = {
    "chen_net": 1450.0, "chest_ct": 2250.0, "cnn6": 120.0, "dlpm": 200.0, "qu_net": 140.0, "sr_net": 1420.0,
    "sthenr_net": 1480.0, "v_net": 480.0, "vgg": 700.0, "w_net": 5100.0, "wsl_cam": 125.0,
}  # fmt: skip
"""Operations of one forward pass at the published width by kind of network (docs/networks.md, which counts
them on the meta device); kinds that are not listed take at most `USUAL_GFLOP`."""
USUAL_GFLOP = 60.0
PASSES_OF_A_STEP = 3.0
"""A step costs a forward and a backward pass, and the backward pass twice the forward."""
CPU_GFLOP_PER_SECOND = 20.0
"""Of one thread in float32: a residual U-Net took 6.3 to 8.1 s a step on two cores, 40 GFLOP/s together."""
GPU_GFLOP_PER_SECOND = 3000.0
"""An H200 reaches 16,000 (DeepMTS, bf16) or 7,300 (deterministic); older cards a fraction of it."""
LEAST_STEP_SECONDS = 0.15
"""Of small networks: starting thousands of operations takes longer than computing them."""
TIME_MARGIN = 1.5
FIXED_MINUTES = 30
"""To read the crops, to predict all patients, and to write the results."""

MEMORY_MARGIN = 1.1
"""A job's memory over what its fold is going to take: estimates hold within a tenth."""


def fold_minutes(study: Study, model: str) -> int:
    """Run time of one fold's training, in minutes.

    Args:
        study: Settings and cohort table.
        model: A network of the study.
    """
    training = study.settings.training_of(model)
    patients = len(study.cohort.ids("development")) * study.settings.plan.validation_fraction
    if training.checkpoint_selection == "best_test":
        patients += len(study.cohort.ids("development")) / study.settings.plan.folds
    # Validation is a forward pass, a third of a step.
    validations = training.iterations / training.validate_every
    steps = training.iterations + validations * patients / training.batch / PASSES_OF_A_STEP
    return FIXED_MINUTES + math.ceil(TIME_MARGIN * steps * step_seconds(study, model) / 60)


def step_seconds(study: Study, model: str) -> float:
    """Seconds of one optimiser step: as the study states it, else estimated from kind, crop, batch and device."""
    stated = study.settings.resources.seconds_per_step.get(model)
    if stated is not None:
        return stated
    training, network = study.settings.training_of(model), study.networks[model]
    megavoxels = training.batch * math.prod(_shape(study)) / 1e6
    width = _width(study, model)
    # Fewer filters are computed less efficiently: the time falls with them, not with their square.
    cost = GFLOP_PER_MEGAVOXEL.get(network.kind, USUAL_GFLOP) * (width if width < 1 else width**2)
    rate = GPU_GFLOP_PER_SECOND
    if training.device == "cpu":
        rate = CPU_GFLOP_PER_SECOND * study.settings.threads.train_fold
    return max(LEAST_STEP_SECONDS, PASSES_OF_A_STEP * cost * megavoxels / rate)


def fold_memory_mb(study: Study, model: str) -> int:
    """Memory of the machine (not of its accelerator) that a job of a network asks for, in MiB.

    Where settings leave the precision to the machine, float32 is assumed, which takes more. The
    crops are in a file that is read batch by batch, so that their number does not matter; the predicted
    masks, a byte a voxel, are kept until they are written.

    Args:
        study: Settings and cohort table.
        model: A network of the study.
    """
    training, network = study.settings.training_of(model), study.networks[model]
    on_cpu = training.device == "cpu"
    size = StepSize(
        kind=network.kind,
        width=_width(study, model),
        channels=len(study.settings.crop.channels) if study.from_scanner else 3,
        shape=_shape(study),
        stored=_stored_shape(study),
        batch=training.batch,
        at_once=math.ceil(training.batch / training.gradient_accumulation),
        precision_bytes=2 if training.stored_as in ("float16", "bfloat16") else 4,
    )
    need = fold_memory(size, "cpu" if on_cpu else "cuda", half=training.precision in ("bf16", "fp16"))
    masks = _patients_predicted(study) * math.prod(_shape(study)) if "masks" in training.outputs else 0
    return math.ceil((MEMORY_MARGIN * need.peak + masks) / MB)


def _patients_predicted(study: Study) -> int:
    """About how many patients a fold predicts masks of: its validation and test patients, all external ones."""
    plan, cohort = study.settings.plan, study.cohort
    tested = 1 / plan.folds if plan.folds > 1 else 0.0
    share = tested + plan.validation_fraction * (1 - tested)
    return len(cohort.ids("external")) + math.ceil(share * len(cohort.ids("development")))


def _shape(study: Study) -> tuple[int, int, int]:
    """What networks are given, voxels (z, y, x)."""
    generated = study.settings.disks or study.settings.chest_slices
    return study.settings.crop.shape if generated is None else (1, generated.size_px, generated.size_px)


def _stored_shape(study: Study) -> tuple[int, ...]:
    """The crop with its margin, voxels (z, y, x); a single slice has none along z."""
    margin = study.settings.crop.margin if study.from_scanner else 0
    return tuple(side if side == 1 else side + 2 * margin for side in _shape(study))


def _width(study: Study, model: str) -> float:
    return width_of(study.networks[model].model_dump())


def grown(base: int, shortage: str, log: Path, attempt: int, most: int | None = None) -> int:
    """What an attempt asks for: once more the base for each attempt of this run that was short of it.

    Args:
        base: What the first attempt asks for.
        shortage: `time` or `memory`.
        log: The job's log, beside which its attempts are marked.
        attempt: Number of the attempt in this run, from 1.
        most: What the cluster grants at most, if it is known; a job that asks for more would wait for ever.
    """
    # Attempts of earlier runs are marked too; those of this run are the last.
    causes = causes_of_end(log)[-(attempt - 1) :] if attempt > 1 else []
    amount = base * (1 + causes.count(shortage))
    return amount if most is None else min(amount, max(base, most))
