"""What every network's settings have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.settings.losses import LossSettings, terms_needing
from pipeline.settings.models import Model


class Network(Model):
    """What every network has."""

    GIVES = frozenset({"log_hazard"})
    is_network = True
    is_flat: ClassVar[bool] = False
    """Whether images are single slices (Z = 1)."""
    has_class_masks: ClassVar[bool] = True
    """Whether a mask that the network gives tells the study's classes apart."""
    takes_clinical: ClassVar[bool] = True
    """Whether clinical columns can be joined."""

    clinical: tuple[str, ...] = Field(
        (),
        description="`clinical_*` columns of the cohort table that are joined before the last layer, "
        "standardised by the fold's training patients.",
    )
    subset: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        description="Part of the cohort that the network is trained and judged on: a name in the column `subsets` "
        "of the cohort table; empty: all patients. Sets and folds are the study's.",
    )
    losses: LossSettings = Field(default_factory=LossSettings, description="Terms of the loss.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Keys of the section `training` that differ for this model."
    )
    batch_norm_like: Literal["pytorch", "keras"] = Field(
        "pytorch",
        description="Constants of batch normalisation. `pytorch`: 1e-5 is added to the variance and running statistics "
        "move by 0.1 of each batch (or what the network's paper says); `keras`: 1e-3 and 0.01 in every layer, as "
        "the code of DeepMTS has them.",
    )

    def detected_kinds(self) -> int:
        """Number of kinds of lesion that the network detects by boxes; 0 for one that does not."""
        return 0

    def columns(self) -> tuple[tuple[str, str], ...]:
        """(setting, column) of each column of the cohort table that the network names."""
        labels = self.losses.labels if "labels" in self.gives() else ()
        return (*super().columns(), *(("losses.labels", column) for column in labels))

    @model_validator(mode="after")
    def _losses_fit(self) -> Network:
        """A weight that a study gives to a term the network cannot have is an error."""
        usual = type(self).model_fields["losses"].get_default(call_default_factory=True)
        for name, field in sorted(type(self.losses).model_fields.items()):
            needed, weight = terms_needing(name), getattr(self.losses, name)
            # Settings come back from a dump with every default written out.
            chosen = weight not in (field.default, getattr(usual, name))
            if needed and chosen and weight > 0 and not needed & self.gives():
                raise ValueError(
                    f"losses.{name} needs the output {' or '.join(sorted(needed))}, which this "
                    f"network does not have (it gives {', '.join(sorted(self.gives()))})"
                )
        return self
