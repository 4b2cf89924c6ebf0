"""Sur-HS, survival from the encoder's features alone (Meng et al., section 4.5 and Table III)."""

from __future__ import annotations

from pipeline.nets.deepmts import DeepMts, Parts
from pipeline.settings.networks.deepmts import SurvivalOnly


def build(settings: SurvivalOnly, in_channels: int, clinical: int) -> DeepMts:
    """The model; arguments as in `pipeline.nets.registry.build`."""
    parts = Parts(decoder=False, cascade=False, masked=settings.masked)
    return DeepMts(settings, in_channels, clinical, parts)
