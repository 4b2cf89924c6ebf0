"""The network of the paper on multi-task learning on chest CT."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.losses import LossSettings
from pipeline.settings.network import Network


class ChestCt(Network):
    """Chest CT multi-task network on slices: classification, segmentation, reconstruction, detection."""

    is_flat = True
    takes_clinical = False
    kind: Literal["chest_ct"] = "chest_ct"
    encoder: Literal["vgg13", "resnet50"] = Field("vgg13", description="Encoder that all tasks share.")
    tasks: tuple[Literal["classification", "segmentation", "reconstruction", "detection"], ...] = Field(
        ("classification", "reconstruction"),
        min_length=1,
        description="What the network learns. The paper's steps: classification + reconstruction, then segmentation + "
        "reconstruction, then detection + reconstruction; classification alone.",
    )
    lesions: int = Field(
        3,
        ge=1,
        le=20,
        description="Number of kinds of lesion that detection tells apart: the mask's values 1, 2 …; a "
        "yes/no mask has the first only.",
    )
    width: float = Field(1.0, gt=0, le=4, description="Factor on every number of filters; 1: the original's.")
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(
            labels=("label_diagnosis",), classes=3, dice_form="generalised", mask_activation="sigmoid"
        ),
        description="Terms of the loss; weights 0 or 1 as in the paper.",
    )

    def detected_kinds(self) -> int:
        """Number of kinds of lesion, with the task detection."""
        return self.lesions if "detection" in self.tasks else 0

    def gives(self) -> frozenset[str]:
        """Outputs of the tasks that are set."""
        names = {"classification": "labels", "segmentation": "mask"}
        return frozenset(names.get(task, task) for task in self.tasks)
