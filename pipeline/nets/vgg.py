"""VGG-13, -16 and -19 in 3D (Simonyan and Zisserman 2014, Table 1; comparators of 001, Table 3).

Convolutions 3³ with ReLU, max pooling after each of five stages, two fully connected layers of
4096 with dropout. The maps are max-pooled to one voxel before them, where the original's 7 × 7
belongs to its 224 × 224 images.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.nets.blocks import Conv3d, Linear, channels_last_on_cpu, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import MaxPool, adaptive_max_pool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import Vgg

FILTERS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
DENSE = 4096
SMALLEST_SIDE = 32


class VggNet(nn.Module):
    """Stages of convolutions and pooling, then the classifier."""

    def __init__(self, settings: Vgg, in_channels: int, clinical: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        source, dense = in_channels, scaled(DENSE, settings.width)
        for number, count in zip(FILTERS, CONVOLUTIONS[settings.layers], strict=True):
            for _ in range(count):
                target = scaled(number, settings.width)
                layers += [Conv3d(source, target, 3, padding=1), nn.ReLU(inplace=True)]
                source = target
            layers.append(MaxPool(2))
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            Linear(source, dense),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            Linear(dense, dense),
            nn.ReLU(),
        )
        self.head = OutcomeHead(dense, clinical, settings.outcome, settings.losses, settings.dropout)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "vgg", SMALLEST_SIDE)
        maps = self.convolutions(channels_last_on_cpu(image))
        features = self.dense(adaptive_max_pool(maps, 1).flatten(1))
        return self.head(features, clinical)  # type: ignore[no-any-return]


def build(settings: Vgg, in_channels: int, clinical: int) -> VggNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return VggNet(settings, in_channels, clinical)
