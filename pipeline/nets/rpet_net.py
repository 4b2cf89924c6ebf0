"""3D-RPET-NET (Amyar et al. 2019; comparator of 001, Table 3): four layers on a PET volume.

Its abstract says four layers. Ours: two 5³ convolutions of 16 and 32 filters, each with ReLU
and max pooling, and two fully connected layers, dropout before each; the maps are max-pooled
to 4³, which fits any image size.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Conv3d, Linear, channels_last_on_cpu, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import MaxPool, adaptive_max_pool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import RpetNet

FILTERS = (16, 32)
DENSE = 64
GRID = 4
SMALLEST_SIDE = 4


class RpetNet3d(nn.Module):
    """Two convolutions, two fully connected layers."""

    def __init__(self, settings: RpetNet, in_channels: int, clinical: int) -> None:
        super().__init__()
        few, many = (scaled(number, settings.width) for number in FILTERS)
        self.convolutions = nn.Sequential(
            Conv3d(in_channels, few, 5, padding=2),
            nn.ReLU(inplace=True),
            MaxPool(2),
            Conv3d(few, many, 5, padding=2),
            nn.ReLU(inplace=True),
            MaxPool(2),
        )
        self.dense = Linear(many * GRID**3, DENSE)
        self.dropout = nn.Dropout(settings.dropout)
        self.head = OutcomeHead(DENSE, clinical, settings.outcome, settings.losses, settings.dropout)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "rpet_net", SMALLEST_SIDE)
        maps = adaptive_max_pool(self.convolutions(channels_last_on_cpu(image)), GRID)
        features = functional.relu(self.dense(self.dropout(maps.flatten(1))))
        return self.head(features, clinical)  # type: ignore[no-any-return]


def build(settings: RpetNet, in_channels: int, clinical: int) -> RpetNet3d:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return RpetNet3d(settings, in_channels, clinical)
