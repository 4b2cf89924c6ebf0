"""Explanations of networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.base import Section


class ExplainSettings(Section):
    """Which parts of an image a network's output depends on, and whether the maps mean anything."""

    models: tuple[str, ...] = Field(
        (), description="Networks of this study that are explained by `snakemake explain`."
    )
    patients: int = Field(
        2,
        ge=1,
        le=20,
        description="Test patients from each end of the model's risks, the highest and the lowest.",
    )
    methods: tuple[Literal["grad_cam", "occlusion"], ...] = Field(
        ("grad_cam", "occlusion"),
        min_length=1,
        description="Methods: Grad-CAM at every scale, occlusion by cubes.",
    )
    target: str = Field(
        "auto",
        pattern=r"^(auto|risk|label|mask|(label|mask)_[A-Za-z0-9_]+)$",
        description="What is explained: `risk`, the log-hazard (of a discrete-time network 1 − S(36 months)); "
        "`label_outcome`, the logit of this label (`label_diagnosis_2`: that of class 2 of several); `label`, that "
        "of the first label (of several classes: of the predicted one); `mask`, the mean tumour probability; "
        "`mask_gtvn`, the mean probability of this class of the mask; `auto`: risk, label or mask, the first of "
        "these that the network has.",
    )
    occlusion_voxels: int = Field(
        8, ge=1, le=64, description="Side of the cube that covers a part of the image."
    )
    occlusion_stride_voxels: int = Field(
        4,
        ge=1,
        le=64,
        description="Distance between neighbouring cubes.",
    )
    sanity_steps: int = Field(
        6,
        ge=1,
        le=100,
        description="Number of steps in which layers are randomised, from the output to the input.",
    )
    insensitive_above: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="A map that still has this rank correlation (absolute) with that of a network of random "
        "weights shows the image and not what was learned, and is flagged.",
    )
