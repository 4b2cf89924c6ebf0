"""Chen's multi-task U-Net in 3D (Chen, Bai and Rueckert 2018; comparator of 001, Table 5).

A U-Net of five poolings, 64 to 512 filters, two Conv–BN–ReLU per level; the class comes from the
maps after the fourth pooling by spatial pyramid pooling (4, 2 and 1 bins a side) and two fully
connected layers of 512 and the outcome. Filters, bins and the linear upsampling are those of the
authors' public code. 001 made its 2D comparators 3D and does not say how: kernel by kernel here, and
64 + 8 + 1 bins. Its two tables (pathology, outcome) are two logits of the same head. Dropout 0.5 is
on the fully connected layer, as the paper says.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import ConvNormRelu, Linear, channels_last_on_cpu, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.mask_head import MaskHead, mask_outputs
from pipeline.nets.pooling import adaptive_max_pool, max_pool, resize_linear
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import ChenNet

FILTERS = (64, 128, 256, 512, 512, 512)
DECODER = (512, 256, 128, 64, 64)
BINS = (4, 2, 1)
LEVEL = 4
"""Poolings before the maps that are classified."""
DENSE = 512
DIVISOR = 32


def _double(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(ConvNormRelu(inputs, filters), ConvNormRelu(filters, filters))


def pyramid(maps: Tensor) -> Tensor:
    """Maxima on grids of 4³, 2³ and 1 bins (He et al. 2014, Figure 3): (B, 73 F) from (B, F, Z, Y, X)."""
    return torch.cat([adaptive_max_pool(maps, bins).flatten(1) for bins in BINS], 1)


class ChenUNet(nn.Module):
    """Contracting path of six levels, expanding path of five, classification by a pyramid."""

    def __init__(self, settings: ChenNet, in_channels: int, clinical: int) -> None:
        super().__init__()
        f = [scaled(number, settings.width) for number in FILTERS]
        up = [scaled(number, settings.width) for number in DECODER]
        dense = scaled(DENSE, settings.width)
        self.down = nn.ModuleList(_double(s, t) for s, t in zip((in_channels, *f[:-1]), f, strict=True))
        skips = tuple(reversed(f[:-1]))
        below = (f[-1], *up[:-1])
        self.up = nn.ModuleList(_double(b + s, t) for b, s, t in zip(below, skips, up, strict=True))
        self.probability = MaskHead(up[-1], settings.losses)
        self.dense = Linear(f[LEVEL] * sum(bins**3 for bins in BINS), dense)
        self.head = OutcomeHead(dense, clinical, settings.outcome, settings.losses, settings.dropout)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, DIVISOR, "chen_net")
        levels = [self.down[0](channels_last_on_cpu(image))]
        for level in self.down[1:]:
            levels.append(level(max_pool(levels[-1], 2)))
        x = levels[-1]
        for join, skip in zip(self.up, reversed(levels[:-1]), strict=True):
            grown = resize_linear(x, skip.shape[2:])
            x = join(torch.cat([grown, skip], 1))
        features = functional.relu(self.dense(pyramid(levels[LEVEL])))
        return {**mask_outputs(self.probability(x)), **self.head(features, clinical)}


def build(settings: ChenNet, in_channels: int, clinical: int) -> ChenUNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return ChenUNet(settings, in_channels, clinical)
