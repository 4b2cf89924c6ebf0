"""One settings class per network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.settings.base import Section


class LossSettings(Section):
    """Weights and forms of the loss terms; a weight of 0 leaves the term out."""

    cox: float = Field(1.0, ge=0, description="Cox negative log partial likelihood.")
    dice: float = Field(1.0, ge=0, description="Dice of the mask.")
    dice_form: Literal["squared", "sum"] = Field(
        "squared", description="Denominator Σp²+Σg² (DeepMTS) or Σp+Σg (HECKTOR)."
    )
    ties: Literal["breslow", "efron"] = Field("efron", description="Tied times in the Cox loss.")
    l2: float = Field(0.1, ge=0, description="L2 on the head's weight matrices (networks that name them).")


class Network(Section):
    """What every network has."""

    clinical: tuple[str, ...] = Field(
        (),
        description="`clinical_*` columns joined before the last layer, standardised on the "
        "fold's training patients.",
    )
    losses: LossSettings = Field(default_factory=LossSettings, description="The loss.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the `training` section for this model."
    )


class DeepMts(Network):
    """DeepMTS: segmentation backbone, cascaded survival network, both feeding the head."""

    kind: Literal["deepmts"] = "deepmts"
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = paper.")
    backbone: Literal["deepmts", "unet"] = Field("deepmts", description="The paper's, or a plain 3D U-Net.")
    dropout_head: float = Field(0.5, ge=0, lt=1, description="Before each fully connected layer.")
    dropout_csn: float = Field(0.05, ge=0, lt=1, description="In the cascaded survival network.")


NetworkModel = Annotated[DeepMts, Field(description="A network.")]
