"""The network of the HECKTOR paper."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.losses import LossSettings
from pipeline.settings.network import Network

_HECKTOR_GIVES = {
    "both": frozenset({"log_hazard", "mask"}),
    "segmentation": frozenset({"mask"}),
    "survival": frozenset({"log_hazard"}),
}


class Hecktor(Network):
    """HECKTOR multi-task network: residual 3D U-Net with a radiomics branch."""

    kind: Literal["hecktor"] = "hecktor"
    task: Literal["both", "segmentation", "survival"] = Field(
        "both",
        description="Branches that are built: the loss weights (1, 1), (0, 1) and (1, 0) of the paper.",
    )
    filters: int = Field(
        8,
        ge=1,
        le=64,
        description="Number of filters at full resolution; it doubles at each of the 4 poolings.",
    )
    norm: Literal["squeeze", "batch"] = Field(
        "squeeze",
        description="Squeeze-and-excitation normalisation (that of the U-Net it builds on) or batch "
        "normalisation.",
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Dropout probability before each fully connected layer."
    )
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(dice_form="sum"), description="Terms of the loss."
    )

    def gives(self) -> frozenset[str]:
        """Outputs of the branches that are built."""
        return _HECKTOR_GIVES[self.task]
