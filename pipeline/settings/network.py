"""What every network's settings have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from pipeline.settings.base import Section
from pipeline.settings.losses import LossSettings, terms_needing

SURVIVAL = frozenset({"log_hazard", "interval_logits"})
"""Outputs that patients are ranked by; they are learned from times and events alone."""


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

    def ranks(self) -> bool:
        """Whether the network predicts survival, so that patients have a risk."""
        return bool(self.gives() & SURVIVAL)

    @model_validator(mode="after")
    def _losses_fit(self) -> Network:
        """A weight that a study gives to a term the network cannot have is an error."""
        usual = type(self).model_fields["losses"].get_default(call_default_factory=True)
        for name, field in sorted(type(self.losses).model_fields.items()):
            needed, weight = terms_needing(name), getattr(self.losses, name)
            # Settings come back from a dump with every default written out.
            told = weight not in (field.default, getattr(usual, name))
            if needed and told and weight > 0 and not needed & self.gives():
                raise ValueError(
                    f"losses.{name} needs the output {' or '.join(sorted(needed))}, which this "
                    f"network does not have (it gives {', '.join(sorted(self.gives()))})"
                )
        return self
