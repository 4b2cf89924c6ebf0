"""The loss of a network."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.base import DAYS_PER_MONTH, Section

_NEEDED = {
    "cox": frozenset({"log_hazard"}),
    "dice": frozenset({"mask"}),
    "cross_entropy": frozenset({"mask"}),
    "focal": frozenset({"mask"}),
    "discrete": frozenset({"interval_logits"}),
    "ranking": frozenset({"log_hazard", "interval_logits"}),
    "reconstruction": frozenset({"reconstruction"}),
    "classification": frozenset({"labels"}),
    "detection": frozenset({"detection"}),
    "distance": frozenset({"activation_coronal"}),
}
TERMS = tuple(_NEEDED)
"""The terms that may be weighted, in the order of the log-variances under uncertainty weighting."""


def terms_needing(name: str) -> frozenset[str]:
    """Outputs of which a loss term needs one; empty for a name that is no term."""
    return _NEEDED.get(name, frozenset())


class LossSettings(Section):
    """Weights and forms of the loss terms; a weight of 0 leaves the term out.

    A term acts where the network has the output it needs.
    """

    cox: float = Field(
        1.0, ge=0, description="Weight of the negative log partial likelihood of Cox, per event."
    )
    ties: Literal["breslow", "efron"] = Field("efron", description="Method for tied times in the Cox loss.")
    stratify: bool = Field(False, description="Form the risk sets of the Cox loss within each centre.")
    dice: float = Field(1.0, ge=0, description="Weight of the Dice loss of the mask.")
    dice_form: Literal["squared", "sum", "generalised"] = Field(
        "squared",
        description="Form of Dice: denominator Σp²+Σg² (DeepMTS), Σp+Σg (HECKTOR), or generalised Dice over tumour "
        "and background weighted by 1/volume².",
    )
    cross_entropy: float = Field(0.0, ge=0, description="Weight of the voxelwise cross-entropy of the mask.")
    focal: float = Field(0.0, ge=0, description="Weight of the focal loss of the mask.")
    mask_classes: tuple[str, ...] = Field(
        (),
        description="Classes that the network's mask tells apart; left empty, they are those of `contours.classes`.",
    )
    mask_activation: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="Of a mask with classes: one softmax over background and classes, or a sigmoid of each class. "
        "Dice, cross-entropy and focal loss are then means over the classes, or (cross-entropy and focal loss "
        "under a softmax, generalised Dice) act on background and classes together.",
    )
    focal_gamma: float = Field(2.0, ge=0, description="Focusing exponent of the focal loss.")
    discrete: float = Field(
        1.0,
        ge=0,
        description="Weight of the likelihood of discrete-time survival (Gensheimer and Narasimhan).",
    )
    interval_edges_days: tuple[float, ...] = Field(
        tuple(months * DAYS_PER_MONTH for months in (12, 24, 36, 60, 84, 120)),
        min_length=1,
        description="Ends of the time intervals of discrete-time survival; the first interval starts at 0. The "
        "default is 12, 24, 36, 60, 84 and 120 months.",
    )
    ranking: float = Field(0.0, ge=0, description="Weight of the ranking of comparable pairs (DeepHit).")
    ranking_sigma: float = Field(0.1, gt=0, description="Scale of the exponential in the ranking loss.")
    reconstruction: float = Field(
        1.0, ge=0, description="Weight of the mean squared error of the reconstruction."
    )
    classification: float = Field(1.0, ge=0, description="Weight of the cross-entropy of the labels.")
    detection: float = Field(
        1.0,
        ge=0,
        description="Weight of the Mask R-CNN losses: class, box and mask of detected lesions and of proposals.",
    )
    distance: float = Field(
        1.0,
        ge=0,
        description="Weight of the distance of class activation maps from the tumour's centre (weak supervision).",
    )
    labels: tuple[str, ...] = Field(
        (), description="`label_*` columns of the cohort table, in the order of the network's logits."
    )
    label_weights: tuple[float, ...] = Field(
        (), description="Weight of each label within the classification loss; empty: 1 each."
    )
    classes: int = Field(
        2,
        ge=2,
        description="Number of classes; 2: each label is no or yes; more: there is one label of so many classes.",
    )
    l2: float = Field(
        0.1,
        ge=0,
        description="Weight of the L2 penalty on the weight matrices of the head, for networks that name these.",
    )
    weighting: Literal["fixed", "uncertainty", "geometric"] = Field(
        "fixed",
        description="How the terms are combined. `fixed`: by the weights above; `uncertainty`: by learned "
        "log-variances on top of them; `geometric`: the weighted geometric mean. The last two take Dice as "
        "1 − Dice.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> LossSettings:
        edges = (0.0, *self.interval_edges_days)
        if any(later <= earlier for earlier, later in pairwise(edges)):
            raise ValueError(f"interval_edges_days must rise from above 0, got {self.interval_edges_days}")
        if self.label_weights and len(self.label_weights) != len(self.labels):
            raise ValueError(f"label_weights has {len(self.label_weights)} values, labels {len(self.labels)}")
        if self.classes > 2 and len(self.labels) > 1:
            raise ValueError(
                "more than two classes are for one label; networks with several labels take yes/no"
            )
        return self

    @property
    def logits(self) -> int:
        """How many label logits a network gives under these settings."""
        return len(self.labels) if self.classes == 2 else self.classes
