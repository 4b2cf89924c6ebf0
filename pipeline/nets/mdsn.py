"""MDSN: a 3D DenseNet with Cox loss (Jing et al. 2020, as Meng et al., section 4.4, use it).

Three dense blocks and 53 convolutions are what is printed. Ours: the stem, growth and
bottleneck of DeepMTS' cascaded network, 5 + 8 + 12 units of two convolutions, two transitions
of one: 1 + 50 + 2 = 53. The clinical features join after global average pooling.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import (
    Conv3d,
    Linear,
    at_least_float32,
    channels_last_on_cpu,
    global_mean,
    initialise,
    join_clinical,
)
from pipeline.nets.csn import BOTTLENECK, GROWTH, SMALLEST_SIDE, STEM, DenseBlock, DenseUnit
from pipeline.nets.pooling import MeanPool, max_pool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.deepmts import Mdsn

UNITS = (5, 8, 12)


class MdsnNet(nn.Module):
    """Stem, dense blocks with transitions that halve the channels, global average, linear."""

    def __init__(self, settings: Mdsn, in_channels: int, clinical: int) -> None:
        super().__init__()
        growth, bottleneck = scaled(GROWTH, settings.width), scaled(BOTTLENECK, settings.width)
        channels = scaled(STEM, settings.width)
        self.clinical = clinical
        self.stem = Conv3d(in_channels, channels, 3, stride=2)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for number, units in enumerate(UNITS):
            sources = [channels + growth * unit for unit in range(units)]
            dense = [DenseUnit(source, bottleneck, growth, settings.dropout) for source in sources]
            self.blocks.append(DenseBlock(dense))
            channels = sources[-1] + growth
            if number < len(UNITS) - 1:
                half = channels // 2
                self.transitions.append(
                    nn.Sequential(
                        nn.BatchNorm3d(channels),
                        nn.ReLU(inplace=True),
                        Conv3d(channels, half, 1),
                        MeanPool(2),
                    )
                )
                channels = half
        self.norm = nn.BatchNorm3d(channels)
        self.last = Linear(channels + clinical, 1)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "mdsn", SMALLEST_SIDE)
        x = max_pool(self.stem(channels_last_on_cpu(image)), 3, stride=2)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number < len(self.transitions):
                x = self.transitions[number](x)
        features = global_mean(functional.relu(self.norm(x)))
        hazard = self.last(join_clinical(features, clinical, self.clinical)).squeeze(1)
        return {"log_hazard": at_least_float32(hazard), "deep_features": features}


def build(settings: Mdsn, in_channels: int, clinical: int) -> MdsnNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return MdsnNet(settings, in_channels, clinical)
