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

    cox: float = Field(1.0, ge=0, description="Cox negative log partial likelihood per event.")
    ties: Literal["breslow", "efron"] = Field("efron", description="Tied times in the Cox loss.")
    stratify: bool = Field(False, description="Cox risk sets within a centre.")
    dice: float = Field(1.0, ge=0, description="Dice of the mask.")
    dice_form: Literal["squared", "sum", "generalised"] = Field(
        "squared",
        description="Denominator Σp²+Σg² (DeepMTS), Σp+Σg (HECKTOR), or generalised Dice over tumour "
        "and background weighted by 1/volume².",
    )
    cross_entropy: float = Field(0.0, ge=0, description="Voxelwise cross-entropy of the mask.")
    focal: float = Field(0.0, ge=0, description="Focal loss of the mask.")
    focal_gamma: float = Field(2.0, ge=0, description="Focusing exponent of the focal loss.")
    discrete: float = Field(1.0, ge=0, description="Discrete-time survival (Gensheimer).")
    interval_edges_days: tuple[float, ...] = Field(
        tuple(months * DAYS_PER_MONTH for months in (12, 24, 36, 60, 84, 120)),
        min_length=1,
        description="Ends of the time intervals; the first starts at 0. Default: 12, 24, 36, 60, 84, "
        "120 months.",
    )
    ranking: float = Field(0.0, ge=0, description="Ranking of comparable pairs (DeepHit).")
    ranking_sigma: float = Field(0.1, gt=0, description="Scale of the ranking's exponential.")
    reconstruction: float = Field(1.0, ge=0, description="Mean squared error of the reconstruction.")
    classification: float = Field(1.0, ge=0, description="Cross-entropy of the labels.")
    detection: float = Field(
        1.0, ge=0, description="Class, box and mask of detected lesions, and of their proposals (Mask R-CNN)."
    )
    distance: float = Field(
        1.0,
        ge=0,
        description="Distance of class activation maps from the tumour's centre (weak supervision).",
    )
    labels: tuple[str, ...] = Field(
        (), description="`label_*` columns, in the order of the network's logits."
    )
    label_weights: tuple[float, ...] = Field(
        (), description="Weight of each label within the term; empty: 1 each."
    )
    classes: int = Field(2, ge=2, description="2: each label is no/yes; more: one label of so many classes.")
    l2: float = Field(0.1, ge=0, description="L2 on the head's weight matrices (networks that name them).")
    weighting: Literal["fixed", "uncertainty", "geometric"] = Field(
        "fixed",
        description="`fixed`: the weights above; `uncertainty`: learned log-variances on top of them; "
        "`geometric`: the weighted geometric mean. The last two take Dice as 1 − Dice.",
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
