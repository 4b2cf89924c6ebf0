"""How networks are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section


def is_file_of_weights(pretrained_from: str) -> bool:
    """Whether `training.pretrained_from` is the path of weights, and no network of the study."""
    return "/" in pretrained_from


UNFOLDED = 0.4
"""Displacement of cubic B-splines' control points, over their distance, up to which nothing folds: 1/2.4795
in 3D, 1/2.0464 in 2D (Choi and Lee 2000)."""


class AugmentSettings(Section):
    """Random transformations of each training batch, one resampling."""

    enabled: bool = Field(True, description="Whether training batches are transformed at random.")
    translation_voxels: float = Field(
        10.0,
        ge=0,
        description="Largest translation along each axis; it is uniform in ± this.",
    )
    rotation_deg: float = Field(
        5.0,
        ge=0,
        le=180,
        description="Largest rotation about each axis; it is uniform in ± this.",
    )
    flip_sagittal: bool = Field(True, description="Mirror left and right with a probability of one half.")
    elastic_voxels: float = Field(
        0.0,
        ge=0,
        description="Largest shift of the control points of elastic deformation along each axis; it is uniform in ± "
        "this, at most 0.4 of their distance; 0: there is no elastic deformation. Voxels between the control "
        "points move less: SD 0.28 of this in slices, 0.19 in volumes.",
    )
    elastic_spacing_voxels: float = Field(
        16.0, ge=2, description="Distance of the control points of elastic deformation along each axis."
    )

    @model_validator(mode="after")
    def _cannot_fold(self) -> AugmentSettings:
        limit = UNFOLDED * self.elastic_spacing_voxels
        if self.elastic_voxels > limit * (1 + 1e-9):
            raise ValueError(
                f"elastic_voxels {self.elastic_voxels:g} could fold an image onto itself: with "
                f"elastic_spacing_voxels {self.elastic_spacing_voxels:g} it must be at most {limit:g}"
            )
        return self


class ScheduleSettings(Section):
    """Learning rate over the iterations."""

    kind: Literal["steps", "cosine", "constant"] = Field(
        "steps",
        description="Shape of the schedule: by `steps`, half a `cosine` down to 0, or `constant`.",
    )
    learning_rate: float = Field(1e-4, gt=0, description="Learning rate at the start.")
    steps: tuple[tuple[int, float], ...] = Field(
        ((2500, 5e-5), (5000, 1e-5), (10000, 1e-6)),
        description="With `steps`: pairs of an iteration and the learning rate from it on.",
    )


class TrainingSettings(Section):
    """Loop, batches and selection of the epoch."""

    standardise: Literal["zscore", "hecktor", "none"] = Field(
        "zscore",
        description="Standardisation of each patient's image. `zscore`: every channel to mean 0 and SD 1 of imaged "
        "voxels; `hecktor`: PET likewise, CT clipped to ±1024 HU and divided by 1024; `none`: values as stored.",
    )
    iterations: int = Field(15000, ge=1, description="Number of optimiser steps.")
    batch: int = Field(8, ge=2, description="Number of patients in a batch.")
    balance_events: bool = Field(
        True,
        description="Whether a batch holds as many patients with events as without; must be false in a study without "
        "outcomes.",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="Optimiser.")
    weight_decay: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Weight decay: with `adam` and `sgd` an L2 penalty of all weights that is added to the gradient, "
        "with `adamw` the decoupled one; none: 0, with `adamw` 0.01.",
    )
    schedule: ScheduleSettings = Field(
        default_factory=ScheduleSettings, description="Schedule of the learning rate."
    )
    augment: AugmentSettings = Field(
        default_factory=AugmentSettings, description="Random transformations of training batches."
    )
    validate_every: int = Field(250, ge=1, description="Number of iterations between validations.")
    history_every: int = Field(
        0,
        ge=0,
        description="Number of iterations between further rows of the history, from the first iteration on: every term "
        "of the loss, of training and validation patients. They choose no weights and end no training; 0: the history "
        "has a row per validation.",
    )
    checkpoint_selection: Literal["last", "best_validation", "best_test"] = Field(
        "best_validation",
        description="Weights that are kept: the last, the best on validation patients, or (as the papers do, marked "
        "in every table) the best on the test fold itself.",
    )
    select_metric: Literal["loss", "c_index"] = Field(
        "loss",
        description="Metric by which the best weights are chosen: least loss, or highest C-index.",
    )
    patience: int = Field(
        0,
        ge=0,
        description="Number of validations without improvement after which training stops; 0: it never stops early.",
    )
    gradient_accumulation: int = Field(
        1,
        ge=1,
        description="Number of parts that a batch is run in to save memory; the Cox loss stays that of the batch.",
    )
    risk_bank_size: int = Field(
        0,
        ge=0,
        description="Number of recent log-hazards of training patients that join the risk sets of the Cox loss.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Precision; `auto`: bf16 autocast where the hardware has it, else float32; `fp16`: float16 "
        "autocast with a scaled loss, for accelerators without bf16.",
    )
    channels_last: Literal["auto", "never", "always"] = Field(
        "auto",
        description="Whether 3D tensors lie channels last in memory; `auto`: yes, which is faster everywhere.",
    )
    stored_as: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        description="Precision in which the standardised crops are kept; two bytes a voxel halve the room they take on "
        "the accelerator and on the disk. `auto`: float16 on an accelerator that computes in bf16, else float32.",
    )
    deterministic: bool = Field(
        False,
        description="Whether an accelerator uses only kernels that repeat bit for bit (slower). A CPU always does.",
    )
    cuda_graph: Literal["auto", "never"] = Field(
        "auto",
        description="Whether an accelerator runs a training step as one CUDA graph instead of launching thousands of "
        "kernels: `auto`: wherever the step can be recorded.",
    )
    compile: Literal["never", "auto", "always"] = Field(
        "never",
        description="Whether `torch.compile` is used; `auto`: on an accelerator a measured trial decides, once per "
        "network and kind of accelerator for all folds, which takes minutes; on a CPU timing must not decide the "
        "numbers, and `auto` never compiles.",
    )
    device: str = Field(
        "auto",
        description="Device: `auto` (an accelerator if there is one), `cpu`, `cuda` or `cuda:N`.",
    )
    checkpoint_every: int = Field(250, ge=1, description="Number of iterations between checkpoints.")
    tensorboard: bool = Field(
        False,
        description="Whether the history is also written as TensorBoard scalars.",
    )
    tta_flip: bool = Field(
        False,
        description="Whether predictions are averaged with those of the sagittal mirror image.",
    )
    pretrained_from: str = Field(
        "",
        description="What the initial weights are: a network of this study (its weights of the same fold), or the "
        "path of weights from elsewhere, known by its `/`: a fold's folder of another study or a `.pt` file, in "
        "which `{fold}` is replaced by the fold's number; empty: they are random. The file's hash is recorded; "
        "whether weights from elsewhere have seen this study's patients is not known and said in every table.",
    )
    outputs: tuple[Literal["masks", "deep_features"], ...] = Field(
        ("masks",), description="What is written beside the predictions."
    )

    def records(self, iteration: int) -> bool:
        """Whether the history has a further row after so many iterations, beside those of validations."""
        return self.history_every > 0 and (iteration == 1 or iteration % self.history_every == 0)
