"""Sur-CasNet, survival from the CSN alone, on the image without a tumour map (Meng et al., section 4.5)."""

from __future__ import annotations

from pipeline.nets.deepmts import DeepMts, Parts
from pipeline.settings.networks.deepmts import SurvivalOnly


def build(settings: SurvivalOnly, in_channels: int, clinical: int) -> DeepMts:
    """The model; arguments as in `pipeline.nets.registry.build`."""
    parts = Parts(decoder=False, sharing=False, masked=settings.masked)
    return DeepMts(settings, in_channels, clinical, parts)
