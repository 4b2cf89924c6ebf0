"""DenseNet-169 in 3D (Huang et al. 2017, Table 1; comparator of 001, Table 3).

7³ convolution stride 2, max pooling, dense blocks of 6, 12, 32, 32 units with growth 32 and
bottleneck 128, transitions that halve channels and sides, global average pooling.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.nets.blocks import Conv3d, channels_last_on_cpu, global_mean, initialise
from pipeline.nets.csn import DenseBlock
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import MaxPool, MeanPool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import DenseNet169

UNITS = (6, 12, 32, 32)
STEM, GROWTH, BOTTLENECK = 64, 32, 128
SMALLEST_SIDE = 32


class Unit(nn.Sequential):
    """BN–ReLU–1³ conv–BN–ReLU–3³ conv, without biases."""

    def __init__(self, inputs: int, bottleneck: int, growth: int) -> None:
        super().__init__(
            nn.BatchNorm3d(inputs),
            nn.ReLU(inplace=True),
            Conv3d(inputs, bottleneck, 1, bias=False),
            nn.BatchNorm3d(bottleneck),
            nn.ReLU(inplace=True),
            Conv3d(bottleneck, growth, 3, padding=1, bias=False),
        )


class DenseNet3d(nn.Module):
    """Stem, four dense blocks with three transitions, outcome."""

    def __init__(self, settings: DenseNet169, in_channels: int, clinical: int) -> None:
        super().__init__()
        width = settings.width
        channels, growth = scaled(STEM, width), scaled(GROWTH, width)
        layers: list[nn.Module] = [
            Conv3d(in_channels, channels, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            MaxPool(3, 2, padding=1),
        ]
        for number, units in enumerate(UNITS):
            sources = [channels + growth * unit for unit in range(units)]
            layers.append(DenseBlock([Unit(s, scaled(BOTTLENECK, width), growth) for s in sources]))
            channels = sources[-1] + growth
            layers += [nn.BatchNorm3d(channels), nn.ReLU(inplace=True)]
            if number < len(UNITS) - 1:
                layers += [Conv3d(channels, channels // 2, 1, bias=False), MeanPool(2)]
                channels //= 2
        self.layers = nn.Sequential(*layers)
        self.head = OutcomeHead(channels, clinical, settings.outcome, settings.losses)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "densenet169", SMALLEST_SIDE)
        return self.head(global_mean(self.layers(channels_last_on_cpu(image))), clinical)  # type: ignore[no-any-return]


def build(settings: DenseNet169, in_channels: int, clinical: int) -> DenseNet3d:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return DenseNet3d(settings, in_channels, clinical)
