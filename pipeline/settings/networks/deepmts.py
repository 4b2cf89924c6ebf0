"""Networks of the DeepMTS paper, and those it compares with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.models import Needs
from pipeline.settings.network import Network


class DeepMtsFamily(Network):
    """Fields of DeepMTS and of the models made from its parts."""

    width: float = Field(1.0, gt=0, le=4, description="Factor on every number of filters; 1: the paper's.")
    backbone: Literal["deepmts", "unet"] = Field(
        "deepmts", description="Segmentation backbone: the paper's, or a plain 3D U-Net."
    )
    dropout_head: float = Field(
        0.5, ge=0, lt=1, description="Dropout probability before each fully connected layer."
    )
    dropout_csn: float = Field(
        0.05, ge=0, lt=1, description="Dropout probability in the cascaded survival network."
    )
    map_gradient: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the survival gradient that flows through the tumour map into the "
        "segmentation; 1: the paper's. Small crops and batches make that gradient 10 to 100 times that of "
        "Dice at the start: 0 then lets the segmentation learn.",
    )


class DeepMts(DeepMtsFamily):
    """DeepMTS: segmentation backbone, cascaded survival network, both feeding the head."""

    GIVES = frozenset({"log_hazard", "mask"})
    kind: Literal["deepmts"] = "deepmts"


class SegBackbone(DeepMtsFamily):
    """Seg-Backbone: DeepMTS' segmentation backbone alone."""

    GIVES = frozenset({"mask"})
    kind: Literal["seg_backbone"] = "seg_backbone"


class SurvivalOnly(DeepMtsFamily):
    """Fields of the models without segmentation."""

    masked: bool = Field(
        False, description="Multiply the manual mask onto the image; every patient then needs a contour."
    )

    @property
    def needs(self) -> Needs:
        """The manual mask, where it is multiplied onto the image."""
        return Needs(manual_mask=self.masked)


class SurHs(SurvivalOnly):
    """Sur-HS: survival from the encoder's features alone."""

    kind: Literal["sur_hs"] = "sur_hs"


class SurCasNet(SurvivalOnly):
    """Sur-CasNet: the cascaded survival network alone."""

    kind: Literal["sur_casnet"] = "sur_casnet"


class MtHs(DeepMtsFamily):
    """MT-HS: segmentation and the encoder's survival features, no cascaded network."""

    GIVES = frozenset({"log_hazard", "mask"})
    kind: Literal["mt_hs"] = "mt_hs"


class BaselineMtHs(DeepMtsFamily):
    """Baseline MT-HS: MT-HS without the convolutions before pooling."""

    GIVES = frozenset({"log_hazard", "mask"})
    kind: Literal["baseline_mt_hs"] = "baseline_mt_hs"


class MtCasNet(DeepMtsFamily):
    """MT-CasNet: segmentation and the cascaded network, no features from the encoder."""

    GIVES = frozenset({"log_hazard", "mask"})
    kind: Literal["mt_casnet"] = "mt_casnet"


class CnnSurvival(Network):
    """CNN-Survival: 2D network on the masked slice of largest tumour area, discrete time."""

    GIVES = frozenset({"interval_logits"})
    kind: Literal["cnn_survival"] = "cnn_survival"
    width: float = Field(1.0, gt=0, le=4, description="Factor on every number of filters.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout probability before the last layer.")

    @property
    def needs(self) -> Needs:
        """The manual mask, which chooses the slice and is multiplied onto it."""
        return Needs(manual_mask=True)


class Mdsn(Network):
    """MDSN: 3D DenseNet of 53 convolutions, Cox."""

    kind: Literal["mdsn"] = "mdsn"
    width: float = Field(1.0, gt=0, le=4, description="Factor on every number of filters.")
    dropout: float = Field(
        0.05, ge=0, lt=1, description="Dropout probability after each convolution of a dense unit."
    )


class Dlpm(Network):
    """DLPM: 3D DenseNet of 8 convolutions, discrete time."""

    GIVES = frozenset({"interval_logits"})
    kind: Literal["dlpm"] = "dlpm"
    width: float = Field(1.0, gt=0, le=4, description="Factor on every number of filters.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout probability in the transitions.")
