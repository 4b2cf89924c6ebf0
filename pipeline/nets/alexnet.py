"""AlexNet in 3D (Krizhevsky et al. 2012, section 3.5; comparator of 001, Table 3).

Convolutions 11 (stride 4), 5, 3, 3, 3 with 96, 256, 384, 384, 256 filters, overlapping max
pooling 3 stride 2 after the first, second and fifth, two fully connected layers of 4096 with
dropout. The grouped convolutions of its two graphics cards are whole, local response
normalisation is kept, and the last maps are max-pooled to 2³, which fits any image size.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets import pooling
from pipeline.nets.blocks import Conv3d, Linear, channels_last_on_cpu, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import adaptive_max_pool, max_pool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import AlexNet

DENSE = 4096
GRID = 2
SMALLEST_SIDE = 31
"""First convolution (31 → 7 with padding 2), poolings (→ 3 → 1)."""


def normalise(x: Tensor) -> Tensor:
    """Local response normalisation over five channels (Krizhevsky et al. 2012, section 3.3)."""
    if not pooling.must_be_deterministic(x):
        return functional.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
    # PyTorch's own pools means over channels, which has no gradient that repeats bit for bit.
    squares = functional.pad(x * x, (0, 0) * 3 + (2, 2))
    mean = torch.stack([squares[:, at : at + x.shape[1]] for at in range(5)]).mean(0)
    return x / (2.0 + 5e-4 * mean) ** 0.75


class AlexNet3d(nn.Module):
    """Five convolutions and three fully connected layers."""

    def __init__(self, settings: AlexNet, in_channels: int, clinical: int) -> None:
        super().__init__()
        f = [scaled(number, settings.width) for number in (96, 256, 384, 384, 256)]
        dense = scaled(DENSE, settings.width)
        self.first = Conv3d(in_channels, f[0], 11, stride=4, padding=2)
        self.second = Conv3d(f[0], f[1], 5, padding=2)
        self.rest = nn.ModuleList(Conv3d(a, b, 3, padding=1) for a, b in pairwise(f[1:]))
        self.dense = nn.Sequential(
            nn.Dropout(settings.dropout),
            Linear(f[4] * GRID**3, dense),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            Linear(dense, dense),
            nn.ReLU(),
        )
        self.head = OutcomeHead(dense, clinical, settings.outcome, settings.losses)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "alexnet", SMALLEST_SIDE)
        x = channels_last_on_cpu(image)
        for convolution in (self.first, self.second):
            x = max_pool(normalise(functional.relu(convolution(x))), 3, stride=2)
        for layer in self.rest:
            x = functional.relu(layer(x))
        features = self.dense(adaptive_max_pool(x, GRID).flatten(1))
        return self.head(features, clinical)  # type: ignore[no-any-return]


def build(settings: AlexNet, in_channels: int, clinical: int) -> AlexNet3d:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return AlexNet3d(settings, in_channels, clinical)
