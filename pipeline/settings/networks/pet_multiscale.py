"""Settings of the W-network of the multi-scale PET paper and of the networks it is compared with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.losses import LossSettings
from pipeline.settings.network import Network

Task = Literal["reconstruction", "segmentation", "classification", "prediction"]


class WNet(Network):
    """W-network: one encoder, reconstruction, segmentation, classification and outcome."""

    kind: Literal["w_net"] = "w_net"
    tasks: tuple[Task, ...] = Field(
        ("reconstruction", "segmentation", "classification", "prediction"),
        min_length=1,
        description="What the network learns: T1 to T4 of the paper; `segmentation` alone is its U-Net.",
    )
    outcome: Literal["label", "hazard"] = Field(
        "label", description="What is predicted: the last label (as in the paper), or a log-hazard."
    )
    global_features: bool = Field(True, description="Predict the outcome from levels 3 to 5 of the encoder.")
    tumour_features: bool = Field(
        True, description="Predict the outcome from the result of the segmentation."
    )
    decoder_features: bool = Field(
        False, description="Predict the outcome from levels 3 and 4 of the segmentation's decoder."
    )
    width: float = Field(1.0, gt=0, le=4, description="Factor on every number of filters; 1: the paper's.")
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Dropout probability after the encoder and in the classification."
    )
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(
            reconstruction=0.2,
            dice=0.2,
            dice_form="sum",
            mask_activation="sigmoid",
            labels=("label_pathology", "label_outcome"),
            label_weights=(0.3, 0.3),
        ),
        description="Terms of the loss; α = β = 0.2, ω = 1 − (λ + 2α) = 0.3 and λ = 0.3, the paper's best λ.",
    )

    def gives(self) -> frozenset[str]:
        """Outputs of the tasks that are set."""
        tasks = set(self.tasks)
        outputs = {"mask"} if "segmentation" in tasks else set()
        outputs |= {"reconstruction"} & tasks
        if "classification" in tasks or ("prediction" in tasks and self.outcome == "label"):
            outputs.add("labels")
        if "prediction" in tasks and self.outcome == "hazard":
            outputs.add("log_hazard")
        return frozenset(outputs)

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
        "hazard", description="What is predicted: labels, a log-hazard, or survival in time intervals."
    )
    width: float = Field(1.0, gt=0, le=4, description="Factor on every number of filters; 1: the original's.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout probability before fully connected layers.")

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
    layers: Literal[13, 16, 19] = Field(16, description="Number of layers with weights.")


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


class ChenNet(Classifier):
    """Chen's multi-task U-Net: segmentation, and the outcome from a spatial pyramid."""

    kind: Literal["chen_net"] = "chen_net"

    def gives(self) -> frozenset[str]:
        """The mask and the outcome that is set."""
        return frozenset({"mask"}) | super().gives()


class QuNet(Classifier):
    """Qu's network: a U-Net on ResNet-34, and the outcome from its last maps."""

    kind: Literal["qu_net"] = "qu_net"

    def gives(self) -> frozenset[str]:
        """The mask and the outcome that is set."""
        return frozenset({"mask"}) | super().gives()


class WslCam(Classifier):
    """Weakly supervised: class activation maps of two projections locate the tumour."""

    has_class_masks = False
    kind: Literal["wsl_cam"] = "wsl_cam"
    losses: LossSettings = Field(
        default_factory=lambda: LossSettings(dice=0.0, labels=("label_pathology",)),
        description="Terms of the loss; no mask is learned from, only its centre by `distance`. The first label "
        "is the kind of cancer.",
    )

    def gives(self) -> frozenset[str]:
        """The tumour, both activation maps, the kind of cancer and the outcome."""
        return frozenset({"mask", "activation_coronal", "activation_sagittal", "labels"}) | super().gives()

    def outcome_losses(self) -> LossSettings:
        """The losses as the outcome's head sees them: without the first label."""
        return self.losses.model_copy(update={"labels": self.losses.labels[1:], "label_weights": ()})

    @model_validator(mode="after")
    def _kind_is_a_label(self) -> WslCam:
        needed = 2 if self.outcome == "label" else 1
        if len(self.losses.labels) < needed or self.losses.classes != 2:
            raise ValueError(
                f"losses.labels must name at least {needed} yes/no label(s): the kind of cancer"
                + (", then the outcome's" if needed == 2 else "")
            )
        return self
