"""Seg-Backbone, the segmentation backbone alone (Meng et al., section 4.5)."""

from __future__ import annotations

from pipeline.nets.deepmts import DeepMts, Parts
from pipeline.settings.networks.deepmts import DeepMtsFamily


def build(settings: DeepMtsFamily, in_channels: int, clinical: int) -> DeepMts:
    """The model; arguments as in `pipeline.nets.registry.build`."""
    return DeepMts(settings, in_channels, clinical, Parts(sharing=False, cascade=False))
