"""One settings class per network."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section
from pipeline.settings.losses import LossSettings, terms_needing


class Network(Section):
    """What every network has."""

    GIVES: ClassVar[frozenset[str]] = frozenset({"log_hazard"})
    """Outputs of the network that losses can act on."""

    clinical: tuple[str, ...] = Field(
        (),
        description="`clinical_*` columns joined before the last layer, standardised on the "
        "fold's training patients.",
    )
    losses: LossSettings = Field(default_factory=LossSettings, description="The loss.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Overrides of the `training` section for this model."
    )

    @model_validator(mode="after")
    def _losses_fit(self) -> Network:
        """A weight that a study gives to a term the network cannot have is an error."""
        for name, field in sorted(type(self.losses).model_fields.items()):
            needed, weight = terms_needing(name), getattr(self.losses, name)
            # Settings come back from a dump with every default written out.
            if needed and weight != field.default and weight > 0 and not needed & self.GIVES:
                raise ValueError(
                    f"losses.{name} needs the output {' or '.join(sorted(needed))}, which this "
                    f"network does not have (it gives {', '.join(sorted(self.GIVES))})"
                )
        return self


class DeepMtsFamily(Network):
    """Fields of DeepMTS and of the models made from its parts."""

    width: float = Field(1.0, gt=0, le=4, description="Multiplies every number of filters; 1 = paper.")
    backbone: Literal["deepmts", "unet"] = Field("deepmts", description="The paper's, or a plain 3D U-Net.")
    dropout_head: float = Field(0.5, ge=0, lt=1, description="Before each fully connected layer.")
    dropout_csn: float = Field(0.05, ge=0, lt=1, description="In the cascaded survival network.")


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


NetworkModel = Annotated[
    DeepMts | SegBackbone | SurHs | SurCasNet | MtHs | BaselineMtHs | MtCasNet, Field(discriminator="kind")
]
