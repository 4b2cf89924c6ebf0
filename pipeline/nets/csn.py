"""The cascaded survival network of DeepMTS: a small 3D DenseNet (Meng et al., section 3.2, Figure 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.nets.blocks import Conv3d, NormRelu, global_mean
from pipeline.nets.pooling import MaxPool, mean_pool
from pipeline.nets.sizes import scaled

STEM = 24
UNITS = (4, 8, 16)
BOTTLENECK = 64
GROWTH = 16
TRANSITIONS = (16, 32, 64)
SMALLEST_SIDE = 19
"""Stem (19 → 9), max pooling (→ 4) and two average poolings (→ 2 → 1) leave one voxel."""


class DenseUnit(nn.Module):
    """BN–ReLU–1³ conv–dropout–BN–ReLU–3³ conv–dropout; the output is joined to the input."""

    def __init__(self, inputs: int, bottleneck: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.norm_in, self.reduce = NormRelu(inputs), Conv3d(inputs, bottleneck, 1)
        self.norm_mid, self.grow = NormRelu(bottleneck), Conv3d(bottleneck, growth, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """The new channels (B, growth, Z, Y, X)."""
        x = self.dropout(self.reduce(self.norm_in(x)))
        return self.dropout(self.grow(self.norm_mid(x)))  # type: ignore[no-any-return]


class DenseBlock(nn.ModuleList):
    """Units that each see the block's input and all units before them."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs + units × growth, Z, Y, X)."""
        for unit in self:
            x = torch.cat([x, unit(x)], 1)
        return x


class Transition(nn.Module):
    """BN–ReLU–1³ conv–dropout, and BN–ReLU–global average of its output as features."""

    def __init__(self, inputs: int, filters: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.conv = NormRelu(inputs), Conv3d(inputs, filters, 1)
        self.dropout = nn.Dropout(dropout)
        self.feature_norm = NormRelu(filters)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, filters, Z, Y, X), before pooling, and features (B, filters)."""
        x = self.dropout(self.conv(self.norm(x)))
        return x, global_mean(self.feature_norm(x))


class CascadedSurvivalNetwork(nn.Module):
    """Stem, three dense blocks, features of each transition.

    Args:
        in_channels: Image channels, plus one for the tumour map where there is one.
        width: Multiplies every number of filters.
        dropout: After every convolution.
    """

    def __init__(self, in_channels: int, width: float, dropout: float) -> None:
        super().__init__()
        bottleneck, growth = scaled(BOTTLENECK, width), scaled(GROWTH, width)
        channels = scaled(STEM, width)
        self.stem = Conv3d(in_channels, channels, 3, stride=2)
        self.dropout, self.pool = nn.Dropout(dropout), MaxPool(3, stride=2)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for units, filters in zip(UNITS, TRANSITIONS, strict=True):
            sources = [channels + growth * number for number in range(units)]
            self.blocks.append(DenseBlock([DenseUnit(s, bottleneck, growth, dropout) for s in sources]))
            channels = scaled(filters, width)
            self.transitions.append(Transition(sources[-1] + growth, channels, dropout))
        self.size = sum(scaled(filters, width) for filters in TRANSITIONS)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, 112) at width 1 from (B, channels, Z, Y, X), every side at least 19."""
        x = self.pool(self.dropout(self.stem(x)))
        features = []
        for number, (block, transition) in enumerate(zip(self.blocks, self.transitions, strict=True)):
            x, pooled = transition(block(x if number == 0 else mean_pool(x, 2)))
            features.append(pooled)
        return torch.cat(features, 1)
