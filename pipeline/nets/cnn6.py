"""A 3D network of six convolutions (comparator of 001, section 4, experiment 3).

The paper gives the number of layers only. Ours: 32, 32, 64, 64, 128, 128 filters of 3³ with
ReLU, max pooling after every two, global average pooling, a dense layer of 128 with dropout.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Conv3d, Linear, channels_last_on_cpu, global_mean, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import MaxPool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import Cnn6

FILTERS = (32, 64, 128)
DENSE = 128
SMALLEST_SIDE = 8


class SixLayers(nn.Module):
    """Six convolutions, one dense layer, outcome."""

    def __init__(self, settings: Cnn6, in_channels: int, clinical: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        source = in_channels
        for number in FILTERS:
            for _ in range(2):
                target = scaled(number, settings.width)
                layers += [Conv3d(source, target, 3, padding=1), nn.ReLU(inplace=True)]
                source = target
            layers.append(MaxPool(2))
        self.convolutions = nn.Sequential(*layers)
        self.dense = Linear(source, DENSE)
        self.head = OutcomeHead(DENSE, clinical, settings.outcome, settings.losses, settings.dropout)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "cnn6", SMALLEST_SIDE)
        features = functional.relu(self.dense(global_mean(self.convolutions(channels_last_on_cpu(image)))))
        return self.head(features, clinical)  # type: ignore[no-any-return]


def build(settings: Cnn6, in_channels: int, clinical: int) -> SixLayers:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return SixLayers(settings, in_channels, clinical)
