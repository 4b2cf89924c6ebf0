"""Parts of R-net, SR-net and SthenR-net (Multi-Task Deep Learning, MIDL 2020, section 2 and Figure 1).

Filters, the size of the first fully connected layer and the grid of the last pooling are not
published. The U-Net's are the original's (64 to 1024, Ronneberger et al. 2015) times `width`,
R-net's a quarter of them; feature maps are max-pooled to 5 × 5 (15 × 15 maps of a 240 × 240
image, by 3), which makes the layers fit any image size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Linear, at_least_float32, initialise, join_clinical, upsample_nearest
from pipeline.nets.mask_head import mask_channels, mask_probabilities
from pipeline.nets.pooling import MaxPool, adaptive_max_pool, max_pool
from pipeline.nets.sizes import scaled
from pipeline.settings.networks.disks import DisksNetwork

UNET_FILTERS = (64, 128, 256, 512, 1024)
RESIDUAL_FILTERS = (16, 32, 64, 128, 256)
GRID = 5
HIDDEN = 128
DIVISOR = 16
SMALL_OUTPUT = 0.01
"""Factor of the last layer's initial weights."""


def _norm(filters: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(filters) if batch_norm else nn.Identity()


class DoubleConv(nn.Sequential):
    """Two 3×3 convolutions with ReLU, padded; batch normalisation between on request."""

    def __init__(self, inputs: int, filters: int, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for source in (inputs, filters):
            conv = nn.Conv2d(source, filters, 3, padding=1)
            layers += [conv, _norm(filters, batch_norm), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions plus the input, projected by 1×1 (He et al. 2015, Figure 2)."""

    def __init__(self, inputs: int, filters: int, batch_norm: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, filters, 3, padding=1)
        self.second = nn.Conv2d(filters, filters, 3, padding=1)
        self.project = nn.Conv2d(inputs, filters, 1)
        self.norms = nn.ModuleList(_norm(filters, batch_norm) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, filters, Y, X)."""
        hidden = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(hidden)) + self.project(x))


class UNet(nn.Module):
    """Contracting path of five levels, expanding path of four."""

    def __init__(self, in_channels: int, settings: DisksNetwork) -> None:
        super().__init__()
        width, batch_norm = settings.width, settings.batch_norm and settings.unet_batch_norm
        filters = [scaled(number, width) for number in UNET_FILTERS]
        self.filters = filters
        sources = (in_channels, *filters[:-1])
        self.down = nn.ModuleList(DoubleConv(s, f, batch_norm) for s, f in zip(sources, filters, strict=True))
        pairs = list(zip(reversed(filters[1:]), reversed(filters[:-1]), strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(below, width, 1) for below, width in pairs)
        self.up = nn.ModuleList(DoubleConv(2 * width, width, batch_norm) for _, width in pairs)
        self.losses = settings.losses
        self.last = nn.Conv2d(filters[0], mask_channels(self.losses), 1)

    def contract(self, image: Tensor) -> list[Tensor]:
        """The output of every level, the first at full resolution."""
        levels = [self.down[0](image)]
        for level in self.down[1:]:
            levels.append(level(max_pool(levels[-1], 2)))
        return levels

    def expand(self, levels: list[Tensor]) -> Tensor:
        """The feature map (B, F, Y, X) before the last convolution.

        Upsampling is nearest-neighbour and a 1×1 convolution, in place of the original's 2×2.
        """
        x = levels[-1]
        for shrink, block, skip in zip(self.shrink, self.up, reversed(levels[:-1]), strict=True):
            x = block(torch.cat([upsample_nearest(shrink(x), like=skip), skip], 1))
        return x

    def probability(self, features: Tensor) -> Tensor:
        """Probabilities of `pipeline.nets.mask_head`, (B, 1, Y, X) of the disk."""
        return mask_probabilities(self.last(features), self.losses)


class Regression(nn.Module):
    """Max pooling and two fully connected layers, dropout before the last (sections 2 and 3)."""

    def __init__(self, channels: int, clinical: int, dropout: float) -> None:
        super().__init__()
        self.clinical = clinical
        self.hidden = Linear(channels * GRID**2, HIDDEN)
        self.last = Linear(HIDDEN + clinical, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor, clinical: Tensor | None) -> tuple[Tensor, Tensor]:
        """Log-hazard (B,), higher = worse, and the features before the last layer (B, 128)."""
        pooled = adaptive_max_pool(maps, GRID).flatten(1)
        features = functional.relu(self.hidden(pooled))
        joined = join_clinical(self.dropout(features), clinical, self.clinical)
        return at_least_float32(self.last(joined).squeeze(1)), at_least_float32(features)


def initialise_small_output(net: nn.Module, regression: Regression) -> None:
    """Initialise a network in place so that all log-hazards are near 0 at first.

    Maxima of noisy maps are large inputs of the fully connected layers: with weights of the usual
    size initial log-hazards have an SD of 6 to 37, and in SthenR-net the gradient of the Cox loss is
    a thousand times that of the segmentation, whose maps then stop learning.
    """
    initialise(net)
    with torch.no_grad():
        regression.last.weight.mul_(SMALL_OUTPUT)


class ResidualPath(nn.Sequential):
    """R-net's blocks, each followed by max pooling but the last."""

    def __init__(self, inputs: int, filters: Sequence[int], batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for source, number in zip((inputs, *filters[:-1]), filters, strict=True):
            layers += [ResidualBlock(source, number, batch_norm), MaxPool(2)]
        super().__init__(*layers[:-1])
