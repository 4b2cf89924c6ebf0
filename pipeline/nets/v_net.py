"""V-Net (Milletari et al. 2016, Figure 2) and, with a classification branch, Zhou et al.'s network.

Levels of 1, 2, 3, 3, 3 convolutions of 5³ with 16 to 256 filters, each level's input added to
its output; strided 2³ convolutions down, transposed ones up; PReLU. The original has no
normalisation. Comparators of 001 (Tables 2 and 5). Zhou's branch: global averages of the three
coarsest encoder levels, a dense layer, the outcome.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import (
    Conv3d,
    Linear,
    channels_last_on_cpu,
    global_mean,
    initialise,
)
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.mask_head import MaskHead, mask_outputs
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import VNet

FILTERS = (16, 32, 64, 128, 256)
DOWN = (1, 2, 3, 3, 3)
UP = (3, 3, 2, 1)
SCALES = 3
DENSE = 128
DIVISOR = 16


class Level(nn.Module):
    """Convolutions of 5³ with PReLU before the last addition; the input is added to the output."""

    def __init__(self, inputs: int, filters: int, convolutions: int) -> None:
        super().__init__()
        sources = (inputs, *[filters] * (convolutions - 1))
        self.convolutions = nn.ModuleList(Conv3d(s, filters, 5, padding=2) for s in sources)
        self.activations = nn.ModuleList(nn.PReLU(filters) for _ in sources)

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        """(B, filters, …): PReLU(last convolution + added), `added` with one channel or `filters`."""
        for number, (convolution, activation) in enumerate(
            zip(self.convolutions, self.activations, strict=True)
        ):
            x = convolution(x)
            x = activation(x + added if number == len(self.convolutions) - 1 else x)
        return x


class VNet3d(nn.Module):
    """Five levels down, four up, the map; optionally the classification branch."""

    def __init__(self, settings: VNet, in_channels: int, clinical: int) -> None:
        super().__init__()
        filters = [scaled(number, settings.width) for number in FILTERS]
        pairs = list(pairwise(filters))
        self.first = Level(in_channels, filters[0], DOWN[0])
        self.widen = Conv3d(in_channels, filters[0], 1)
        self.shrink = nn.ModuleList(
            nn.Sequential(Conv3d(above, below, 2, stride=2), nn.PReLU(below)) for above, below in pairs
        )
        self.down = nn.ModuleList(Level(w, w, n) for w, n in zip(filters[1:], DOWN[1:], strict=True))
        self.grow = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose3d(below, above, 2, stride=2), nn.PReLU(above))
            for above, below in reversed(pairs)
        )
        self.up = nn.ModuleList(Level(2 * w, w, n) for w, n in zip(reversed(filters[:-1]), UP, strict=True))
        self.probability = MaskHead(filters[0], settings.losses)
        self.dense = Linear(sum(filters[-SCALES:]), DENSE) if settings.classify else None
        self.head = (
            OutcomeHead(DENSE, clinical, settings.outcome, settings.losses, settings.dropout)
            if settings.classify
            else None
        )
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, DIVISOR, "v_net")
        x = channels_last_on_cpu(image)
        levels = [self.first(x, self.widen(x))]
        for shrink, level in zip(self.shrink, self.down, strict=True):
            x = shrink(levels[-1])
            levels.append(level(x, x))
        x = levels[-1]
        for grow, level, skip in zip(self.grow, self.up, reversed(levels[:-1]), strict=True):
            grown = grow(x)
            x = level(torch.cat([grown, skip], 1), grown)
        outputs = mask_outputs(self.probability(x))
        if self.head is not None and self.dense is not None:
            scales = torch.cat([global_mean(level) for level in levels[-SCALES:]], 1)
            outputs |= self.head(functional.relu(self.dense(scales)), clinical)
        return outputs


def build(settings: VNet, in_channels: int, clinical: int) -> VNet3d:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return VNet3d(settings, in_channels, clinical)
