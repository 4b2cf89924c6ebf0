"""How networks are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section

UNFOLDED = 0.4
"""Displacement of cubic B-splines' control points, over their distance, up to which nothing folds: 1/2.4795
in 3D, 1/2.0464 in 2D (Choi and Lee 2000)."""


class AugmentSettings(Section):
    """Random transformations of each training batch, one resampling."""

    enabled: bool = Field(True, description="Transform training batches at random.")
    translation_voxels: float = Field(10.0, ge=0, description="Uniform in ± this, each axis.")
    rotation_deg: float = Field(5.0, ge=0, le=180, description="Uniform in ± this, about each axis.")
    flip_sagittal: bool = Field(True, description="Mirror left and right with probability one half.")
    elastic_voxels: float = Field(
        0.0,
        ge=0,
        description="Elastic deformation: control points move uniformly in ± this, each axis, at most 0.4 of their "
        "distance; 0: none. Voxels between move less: SD 0.28 of it in slices, 0.19 in volumes.",
    )
    elastic_spacing_voxels: float = Field(
        16.0, ge=2, description="Distance of the control points of elastic deformation, each axis."
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
    """Learning rate over iterations."""

    kind: Literal["steps", "cosine", "constant"] = Field("steps", description="Shape of the schedule.")
    learning_rate: float = Field(1e-4, gt=0, description="At the start.")
    steps: tuple[tuple[int, float], ...] = Field(
        ((2500, 5e-5), (5000, 1e-5), (10000, 1e-6)),
        description="`steps`: from this iteration on, this learning rate.",
    )


class TrainingSettings(Section):
    """Loop, batches and selection of the epoch."""

    standardise: Literal["zscore", "hecktor", "none"] = Field(
        "zscore",
        description="Per patient, from imaged voxels: every channel to mean 0, SD 1; `hecktor`: PET so, "
        "CT clipped to ±1024 HU and divided by 1024; or values as stored.",
    )
    iterations: int = Field(15000, ge=1, description="Optimizer steps.")
    batch: int = Field(8, ge=2, description="Patients in a batch.")
    balance_events: bool = Field(
        True, description="As many events as censored patients in a batch; false in a study without outcomes."
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="Optimizer.")
    weight_decay: float | None = Field(
        None,
        ge=0,
        le=1,
        description="L2 of all weights, added to the gradient (`adam`, `sgd`), or AdamW's decoupled decay; "
        "empty: 0, of `adamw` 0.01.",
    )
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings, description="Learning rate.")
    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="Augmentation.")
    validate_every: int = Field(250, ge=1, description="Iterations between looks at validation patients.")
    checkpoint_selection: Literal["last", "best_validation", "best_test"] = Field(
        "best_validation",
        description="Weights kept: the last, the best on validation patients, or (as the "
        "papers do, marked in every table) the best on the test fold itself.",
    )
    select_metric: Literal["loss", "c_index"] = Field("loss", description="What `best` means.")
    patience: int = Field(0, ge=0, description="Validations without improvement before stopping; 0: never.")
    gradient_accumulation: int = Field(
        1, ge=1, description="Parts a batch is run in; Cox stays exact over the batch."
    )
    risk_bank_size: int = Field(0, ge=0, description="Recent log-hazards that join the Cox risk sets.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="bf16 autocast where the processor has it, else float32."
    )
    channels_last: Literal["auto", "never", "always"] = Field(
        "auto",
        description="Memory order of 3D tensors; `auto`: channels last, which is the faster everywhere.",
    )
    deterministic: bool = Field(
        False,
        description="On an accelerator: only kernels that repeat bit for bit (slower). A CPU always does.",
    )
    compile: Literal["auto", "never", "always", "graphs"] = Field(
        "auto",
        description="`torch.compile`: `auto` decides by a short measured trial on an accelerator and "
        "never compiles on a CPU, where timing must not decide the numbers; `graphs` also replays "
        "CUDA graphs.",
    )
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    checkpoint_every: int = Field(250, ge=1, description="Iterations between checkpoints.")
    tensorboard: bool = Field(False, description="Also write the history as TensorBoard scalars.")
    tta_flip: bool = Field(False, description="Average predictions over the sagittal mirror image.")
    pretrained_from: str = Field(
        "", description="Model of this study whose weights of the same fold are the start; empty: random."
    )
    outputs: tuple[Literal["masks", "deep_features"], ...] = Field(
        ("masks",), description="Written beside the predictions."
    )
