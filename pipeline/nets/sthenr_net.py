"""SthenR-net: R-net on the U-Net's feature map before its last convolution (MIDL 2020 disks, Figure 1 C)."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.nets.blocks import channels_last_on_cpu
from pipeline.nets.disks import (
    DIVISOR,
    RESIDUAL_FILTERS,
    Regression,
    ResidualPath,
    UNet,
    initialise_small_output,
)
from pipeline.nets.mask_head import mask_outputs
from pipeline.nets.sizes import require_2d, require_divisible, scaled
from pipeline.settings.networks.disks import DisksNetwork


class SthenRNet(nn.Module):
    """Segmentation first, survival from what led to it."""

    def __init__(self, settings: DisksNetwork, in_channels: int, clinical: int) -> None:
        super().__init__()
        filters = [scaled(number, settings.width) for number in RESIDUAL_FILTERS]
        self.unet = UNet(in_channels, settings)
        self.path = ResidualPath(self.unet.filters[0], filters, settings.batch_norm)
        self.regression = Regression(filters[-1], clinical, settings.dropout)
        initialise_small_output(self, self.regression)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; image (B, C, 1, Y, X)."""
        x = require_2d(image, "sthenr_net")
        require_divisible(x, DIVISOR, "sthenr_net")
        maps = self.unet.expand(self.unet.contract(channels_last_on_cpu(x)))
        hazard, features = self.regression(self.path(maps), clinical)
        return {"log_hazard": hazard, **mask_outputs(self.unet.probability(maps)), "deep_features": features}


def build(settings: DisksNetwork, in_channels: int, clinical: int) -> SthenRNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return SthenRNet(settings, in_channels, clinical)
