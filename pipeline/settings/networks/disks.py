"""Networks of the paper that segments noisy disks and predicts their survival."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.losses import LossSettings
from pipeline.settings.network import Network


class DisksNetwork(Network):
    """Fields of the three networks of the disks study; images of one slice."""

    is_flat = True

    width: float = Field(
        1.0, gt=0, le=4, description="Factor on every number of filters; 1: the original U-Net's."
    )
    batch_norm: bool = Field(True, description="Batch normalisation after each convolution.")
    unet_batch_norm: bool = Field(
        True,
        description="Batch normalisation in the U-Net as well; the original U-Net has none, the paper of the "
        "residual blocks has it.",
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Dropout probability before the last fully connected layer."
    )
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(cox=0.5, dice=0.25, cross_entropy=0.25, dice_form="sum"),
        description="Terms of the loss; half Cox, half Dice and cross-entropy as in the paper.",
    )


class RNet(DisksNetwork):
    """R-net: residual blocks and two fully connected layers."""

    kind: Literal["r_net"] = "r_net"


class SrNet(DisksNetwork):
    """SR-net: U-Net with a regression at the end of its contracting path."""

    GIVES = frozenset({"log_hazard", "mask"})
    kind: Literal["sr_net"] = "sr_net"


class SthenrNet(DisksNetwork):
    """SthenR-net: U-Net whose last feature map feeds an R-net."""

    GIVES = frozenset({"log_hazard", "mask"})
    kind: Literal["sthenr_net"] = "sthenr_net"
