"""DLPM: a simplified 3D DenseNet with discrete-time survival (Kim et al. 2020; Meng et al., section 4.4).

Numbers from the authors' public code: BN of the input, 3³ conv 32 without padding or bias;
dense blocks of 2, 2 and 1 layers (BN–3³ conv 32–ReLU); transitions BN–ReLU–1³ conv 48 without
bias–dropout 0.2–average pooling 2; BN–ReLU–global average; a last layer that starts at zero:
8 convolutions. The clinical features join after the pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.nets.blocks import (
    Conv3d,
    Linear,
    at_least_float32,
    channels_last_on_cpu,
    global_mean,
    initialise,
    join_clinical,
)
from pipeline.nets.pooling import MeanPool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.deepmts import Dlpm

LAYERS = (2, 2, 1)
STEM, GROWTH, TRANSITION = 32, 32, 48
SMALLEST_SIDE = 6
"""Stem (6 → 4), two poolings (→ 2 → 1)."""


class DenseLayers(nn.ModuleList):
    """BN–3³ conv–ReLU layers, each joined to all before it."""

    def __init__(self, inputs: int, layers: int, growth: int) -> None:
        super().__init__(
            nn.Sequential(
                nn.BatchNorm3d(inputs + growth * number),
                Conv3d(inputs + growth * number, growth, 3, padding=1),
                nn.ReLU(),
            )
            for number in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs + layers × growth, Z, Y, X)."""
        for layer in self:
            x = torch.cat([x, layer(x)], 1)
        return x


class DlpmNet(nn.Module):
    """Three dense blocks, two transitions, interval logits."""

    def __init__(self, settings: Dlpm, in_channels: int, clinical: int) -> None:
        super().__init__()
        growth, narrow = scaled(GROWTH, settings.width), scaled(TRANSITION, settings.width)
        channels = scaled(STEM, settings.width)
        self.clinical = clinical
        layers: list[nn.Module] = [
            nn.BatchNorm3d(in_channels),
            Conv3d(in_channels, channels, 3, bias=False),
        ]
        for number, count in enumerate(LAYERS):
            layers.append(DenseLayers(channels, count, growth))
            channels += count * growth
            layers += [nn.BatchNorm3d(channels), nn.ReLU(inplace=True)]
            if number < len(LAYERS) - 1:
                layers += [Conv3d(channels, narrow, 1, bias=False), nn.Dropout(settings.dropout)]
                layers.append(MeanPool(2))
                channels = narrow
        self.layers = nn.Sequential(*layers)
        self.last = Linear(channels + clinical, len(settings.losses.interval_edges_days))
        initialise(self)
        nn.init.zeros_(self.last.weight)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "dlpm", SMALLEST_SIDE)
        features = global_mean(self.layers(channels_last_on_cpu(image)))
        logits = self.last(join_clinical(features, clinical, self.clinical))
        return {"interval_logits": at_least_float32(logits), "deep_features": features}


def build(settings: Dlpm, in_channels: int, clinical: int) -> DlpmNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return DlpmNet(settings, in_channels, clinical)
