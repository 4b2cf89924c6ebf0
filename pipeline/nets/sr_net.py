"""SR-net: U-Net whose contracting path ends in a regression too (MIDL 2020 disks, Figure 1 B)."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.nets.blocks import channels_last_on_cpu
from pipeline.nets.disks import DIVISOR, Regression, UNet, initialise_small_output
from pipeline.nets.mask_head import mask_outputs
from pipeline.nets.sizes import require_2d, require_divisible
from pipeline.settings.networks.disks import DisksNetwork


class SRNet(nn.Module):
    """Segmentation and, from the bottleneck, survival."""

    def __init__(self, settings: DisksNetwork, in_channels: int, clinical: int) -> None:
        super().__init__()
        self.unet = UNet(in_channels, settings)
        self.regression = Regression(self.unet.filters[-1], clinical, settings.dropout)
        initialise_small_output(self, self.regression)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; image (B, C, 1, Y, X)."""
        x = require_2d(image, "sr_net")
        require_divisible(x, DIVISOR, "sr_net")
        levels = self.unet.contract(channels_last_on_cpu(x))
        hazard, features = self.regression(levels[-1], clinical)
        probability = self.unet.probability(self.unet.expand(levels))
        return {"log_hazard": hazard, **mask_outputs(probability), "deep_features": features}


def build(settings: DisksNetwork, in_channels: int, clinical: int) -> SRNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return SRNet(settings, in_channels, clinical)
