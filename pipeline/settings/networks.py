"""One settings class per network."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section
from pipeline.settings.losses import LossSettings, terms_needing


class Network(Section):
    """What every network has."""

    GIVES: ClassVar[frozenset[str]] = frozenset({"log_hazard"})
    """Outputs of the network that losses can act on, whatever its settings."""

    clinical: tuple[str, ...] = Field(
        (),
        description="`clinical_*` columns joined before the last layer, standardised on the "
        "fold's training patients.",
    )
    losses: LossSettings = Field(default_factory=LossSettings, description="The loss.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the `training` section for this model."
    )

    def gives(self) -> frozenset[str]:
        """Outputs of the network, as set, that losses can act on."""
        return self.GIVES

    @model_validator(mode="after")
    def _losses_fit(self) -> Network:
        """A weight that a study gives to a term the network cannot have is an error."""
        chosen = self.losses.model_fields_set if "losses" in self.model_fields_set else set()
        for name in sorted(chosen):
            needed = terms_needing(name)
            if needed and getattr(self.losses, name) > 0 and not needed & self.gives():
                raise ValueError(
                    f"losses.{name} needs the output {' or '.join(sorted(needed))}, which this "
                    f"network does not have (it gives {', '.join(sorted(self.gives()))})"
                )
        return self


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


Task = Literal["reconstruction", "segmentation", "classification", "prediction"]


class WNet(Network):
    """W-network: one encoder, reconstruction, segmentation, classification and outcome."""

    kind: Literal["w_net"] = "w_net"
    tasks: tuple[Task, ...] = Field(
        ("reconstruction", "segmentation", "classification", "prediction"),
        min_length=1,
        description="T1 to T4 of the paper; `segmentation` alone is its U-Net.",
    )
    outcome: Literal["label", "hazard"] = Field(
        "label", description="What the prediction is: the last label (as in the paper), or a log-hazard."
    )
    global_features: bool = Field(True, description="The outcome sees the encoder's levels 3 to 5.")
    tumour_features: bool = Field(True, description="The outcome sees the segmentation result.")
    decoder_features: bool = Field(False, description="And the segmentation decoder's levels 3 and 4.")
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = paper.")
    dropout: float = Field(0.5, ge=0, lt=1, description="After the encoder and in the classification.")
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(
            reconstruction=0.2,
            dice=0.2,
            dice_form="sum",
            labels=("label_pathology", "label_outcome"),
            label_weights=(0.3, 0.3),
        ),
        description="The loss; α = β = 0.2, ω = 1 − (λ + 2α) = 0.3 and λ = 0.3, the paper's best λ.",
    )

    def gives(self) -> frozenset[str]:
        """Outputs of the tasks that are set."""
        tasks = set(self.tasks)
        found = {"mask"} if "segmentation" in tasks else set()
        found |= {"reconstruction"} & tasks
        if "classification" in tasks or ("prediction" in tasks and self.outcome == "label"):
            found.add("labels")
        if "prediction" in tasks and self.outcome == "hazard":
            found.add("log_hazard")
        return frozenset(found)

    @model_validator(mode="after")
    def _tasks_fit(self) -> WNet:
        tasks = set(self.tasks)
        if self.tumour_features and "prediction" in tasks and "segmentation" not in tasks:
            raise ValueError("tumour_features need the task segmentation (Table 1 has no such row)")
        if self.decoder_features and not (self.global_features and "segmentation" in tasks):
            raise ValueError("decoder_features need global_features and the task segmentation")
        needed = ("classification" in tasks) + ("prediction" in tasks and self.outcome == "label")
        if needed and len(self.losses.labels) != needed:
            raise ValueError(
                f"losses.labels must name {needed} label(s) for these tasks: the classification's, then "
                f"the outcome's; it names {len(self.losses.labels)}"
            )
        return self


class Classifier(Network):
    """Fields of image classifiers made 3D; they can also predict a log-hazard or intervals."""

    outcome: Literal["label", "hazard", "intervals"] = Field(
        "hazard", description="Labels, a log-hazard, or discrete-time survival."
    )
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = original.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Before fully connected layers.")

    def gives(self) -> frozenset[str]:
        """The one output of the outcome that is set."""
        outputs = {"label": "labels", "hazard": "log_hazard", "intervals": "interval_logits"}
        return frozenset({outputs[self.outcome]})


class AlexNet(Classifier):
    """AlexNet in 3D."""

    kind: Literal["alexnet"] = "alexnet"


class Vgg(Classifier):
    """VGG in 3D."""

    kind: Literal["vgg"] = "vgg"
    layers: Literal[13, 16, 19] = Field(16, description="Weight layers.")


class ResNet50(Classifier):
    """ResNet-50 in 3D."""

    kind: Literal["resnet50"] = "resnet50"


class DenseNet169(Classifier):
    """DenseNet-169 in 3D."""

    kind: Literal["densenet169"] = "densenet169"


class InceptionV3(Classifier):
    """Inception-v3 in 3D."""

    kind: Literal["inception_v3"] = "inception_v3"


class RpetNet(Classifier):
    """3D-RPET-NET: two convolutions, two fully connected layers."""

    kind: Literal["rpet_net"] = "rpet_net"


class Cnn6(Classifier):
    """A 3D network of six convolutions."""

    kind: Literal["cnn6"] = "cnn6"


class VNet(Classifier):
    """V-Net; with `classify`, Zhou's multi-task network on it."""

    kind: Literal["v_net"] = "v_net"
    classify: bool = Field(False, description="Add the multi-scale classification branch (Zhou et al.).")

    def gives(self) -> frozenset[str]:
        """The mask, and the outcome where there is the branch."""
        return frozenset({"mask"}) | (super().gives() if self.classify else frozenset())


class ChestCt(Network):
    """Chest CT multi-task network on slices: classification, segmentation, reconstruction."""

    kind: Literal["chest_ct"] = "chest_ct"
    encoder: Literal["vgg13", "resnet50"] = Field("vgg13", description="The shared encoder.")
    tasks: tuple[Literal["classification", "segmentation", "reconstruction"], ...] = Field(
        ("classification", "reconstruction"),
        min_length=1,
        description="The paper's steps: classification + reconstruction, then segmentation + "
        "reconstruction; classification alone.",
    )
    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = original.")
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(labels=("label_diagnosis",), classes=3, dice_form="generalised"),
        description="The loss; weights 0 or 1 as in the paper.",
    )

    def gives(self) -> frozenset[str]:
        """Outputs of the tasks that are set."""
        names = {"classification": "labels", "segmentation": "mask", "reconstruction": "reconstruction"}
        return frozenset(names[task] for task in self.tasks)


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
    | ChestCt,
    Field(discriminator="kind"),
]
