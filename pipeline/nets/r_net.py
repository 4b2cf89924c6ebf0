"""R-net: residual blocks, max pooling, two fully connected layers (MIDL 2020 disks, Figure 1 A)."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.nets.blocks import channels_last_on_cpu
from pipeline.nets.disks import DIVISOR, RESIDUAL_FILTERS, Regression, ResidualPath, initialise_small_output
from pipeline.nets.sizes import require_2d, require_divisible, scaled
from pipeline.settings.networks.disks import DisksNetwork


class RNet(nn.Module):
    """Survival from the image alone."""

    def __init__(self, settings: DisksNetwork, in_channels: int, clinical: int) -> None:
        super().__init__()
        filters = [scaled(number, settings.width) for number in RESIDUAL_FILTERS]
        self.path = ResidualPath(in_channels, filters, settings.batch_norm)
        self.regression = Regression(filters[-1], clinical, settings.dropout)
        initialise_small_output(self, self.regression)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; image (B, C, 1, Y, X)."""
        x = require_2d(image, "r_net")
        require_divisible(x, DIVISOR, "r_net")
        hazard, features = self.regression(self.path(channels_last_on_cpu(x)), clinical)
        return {"log_hazard": hazard, "deep_features": features}


def build(settings: DisksNetwork, in_channels: int, clinical: int) -> RNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return RNet(settings, in_channels, clinical)
