"""One settings class per network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.losses import LossSettings
from pipeline.settings.network import Network
from pipeline.settings.networks_pet import (
    AlexNet,
    ChenNet,
    Cnn6,
    DenseNet169,
    InceptionV3,
    QuNet,
    ResNet50,
    RpetNet,
    Vgg,
    VNet,
    WNet,
    WslCam,
)


class DeepMtsFamily(Network):
    """Fields of DeepMTS and of the models made from its parts."""

    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = paper.")
    backbone: Literal["deepmts", "unet"] = Field("deepmts", description="The paper's, or a plain 3D U-Net.")
    dropout_head: float = Field(0.5, ge=0, lt=1, description="Before each fully connected layer.")
    dropout_csn: float = Field(0.05, ge=0, lt=1, description="In the cascaded survival network.")
    map_gradient: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the survival gradient that flows through the tumour map into the "
        "segmentation; 1 = paper. Small crops and batches make that gradient 10 to 100 times that of "
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

    masked: bool = Field(False, description="Multiply the manual mask onto the image.")


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


_HECKTOR_GIVES = {
    "both": frozenset({"log_hazard", "mask"}),
    "segmentation": frozenset({"mask"}),
    "survival": frozenset({"log_hazard"}),
}


class Hecktor(Network):
    """HECKTOR multi-task network: residual 3D U-Net with a radiomics branch."""

    kind: Literal["hecktor"] = "hecktor"
    task: Literal["both", "segmentation", "survival"] = Field(
        "both", description="Loss weights (1, 1), (0, 1), (1, 0) of the paper: branches that are built."
    )
    filters: int = Field(8, ge=1, le=64, description="At full resolution, doubled at each of 4 poolings.")
    norm: Literal["squeeze", "batch"] = Field(
        "squeeze", description="Squeeze-and-excitation normalisation (the U-Net it builds on) or batch."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Before each fully connected layer.")
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(dice_form="sum"), description="The loss."
    )

    def gives(self) -> frozenset[str]:
        """Outputs of the branches that are built."""
        return _HECKTOR_GIVES[self.task]


class DisksNetwork(Network):
    """Fields of the three networks of the disks study; images of one slice."""

    width: float = Field(
        1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = original U-Net."
    )
    batch_norm: bool = Field(True, description="Normalise after each convolution.")
    unet_batch_norm: bool = Field(
        True,
        description="Also in the U-Net; the original U-Net has none, the residual blocks' paper has it.",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Before the last fully connected layer.")
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(cox=0.5, dice=0.25, cross_entropy=0.25, dice_form="sum"),
        description="The loss; half Cox, half Dice and cross-entropy as in the paper.",
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


class CnnSurvival(Network):
    """CNN-Survival: 2D network on the masked slice of largest tumour area, discrete time."""

    GIVES = frozenset({"interval_logits"})
    kind: Literal["cnn_survival"] = "cnn_survival"
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Before the last layer.")


class Mdsn(Network):
    """MDSN: 3D DenseNet of 53 convolutions, Cox."""

    kind: Literal["mdsn"] = "mdsn"
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters.")
    dropout: float = Field(0.05, ge=0, lt=1, description="After each convolution of a dense unit.")


class Dlpm(Network):
    """DLPM: 3D DenseNet of 8 convolutions, discrete time."""

    GIVES = frozenset({"interval_logits"})
    kind: Literal["dlpm"] = "dlpm"
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters.")
    dropout: float = Field(0.2, ge=0, lt=1, description="In the transitions.")


class ChestCt(Network):
    """Chest CT multi-task network on slices: classification, segmentation, reconstruction, detection."""

    kind: Literal["chest_ct"] = "chest_ct"
    encoder: Literal["vgg13", "resnet50"] = Field("vgg13", description="The shared encoder.")
    tasks: tuple[Literal["classification", "segmentation", "reconstruction", "detection"], ...] = Field(
        ("classification", "reconstruction"),
        min_length=1,
        description="The paper's steps: classification + reconstruction, then segmentation + "
        "reconstruction, then detection + reconstruction; classification alone.",
    )
    lesions: int = Field(
        3,
        ge=1,
        le=20,
        description="Kinds of lesions that detection tells apart: the mask's values 1, 2 …; a yes/no mask "
        "has the first only.",
    )
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = original.")
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(labels=("label_diagnosis",), classes=3, dice_form="generalised"),
        description="The loss; weights 0 or 1 as in the paper.",
    )

    def gives(self) -> frozenset[str]:
        """Outputs of the tasks that are set."""
        names = {"classification": "labels", "segmentation": "mask"}
        return frozenset(names.get(task, task) for task in self.tasks)


NetworkModel = Annotated[
    DeepMts
    | SegBackbone
    | SurHs
    | SurCasNet
    | MtHs
    | BaselineMtHs
    | MtCasNet
    | Hecktor
    | RNet
    | SrNet
    | SthenrNet
    | CnnSurvival
    | Mdsn
    | Dlpm
    | WNet
    | AlexNet
    | Vgg
    | ResNet50
    | DenseNet169
    | InceptionV3
    | RpetNet
    | Cnn6
    | VNet
    | ChenNet
    | QuNet
    | WslCam
    | ChestCt,
    Field(discriminator="kind"),
]
