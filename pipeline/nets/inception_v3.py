"""Inception-v3 in 3D (Szegedy et al. 2016, Table 1; comparator of 001, Table 3).

Every 2D convolution becomes a 3D one: n×n is n×n×n, and the factorised 1×n, n×1 become three,
one along each axis. Convolutions are followed by batch normalisation and ReLU. Padding keeps
the sides, so that images smaller than 299 survive the stem; the auxiliary classifier is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Conv3d, channels_last_on_cpu, global_mean, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import MaxPool, mean_pool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import InceptionV3

SMALLEST_SIDE = 32


class Conv(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, filters: int, kernel: int | tuple[int, ...], stride: int = 1) -> None:
        sides = (kernel,) * 3 if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 for side in sides)
        conv = Conv3d(inputs, filters, sides, stride=stride, padding=padding, bias=False)  # type: ignore[arg-type]
        super().__init__(conv, nn.BatchNorm3d(filters, eps=1e-3), nn.ReLU(inplace=True))


def _factorised(inputs: int, middle: int, filters: int, kernel: int = 7) -> nn.Sequential:
    """n×n×n as three convolutions of n along one axis each."""
    return nn.Sequential(
        Conv(inputs, middle, (1, 1, kernel)),
        Conv(middle, middle, (1, kernel, 1)),
        Conv(middle, filters, (kernel, 1, 1)),
    )


class Branches(nn.Module):
    """Branches side by side, their outputs joined."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Channels of all branches."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class MeanOfNeighbours(nn.Module):
    """Average pooling 3 with stride 1 and zero padding; torch's own refuses images of side 2 or less."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return mean_pool(functional.pad(x, (1,) * 6), 3, stride=1)


def _pooled(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(MeanOfNeighbours(), Conv(inputs, filters, 1))


def _block_a(inputs: int, n: dict[int, int], pooled: int) -> Branches:
    """Figure 5: 1, 1–5, 1–3–3, pool–1."""
    return Branches(
        Conv(inputs, n[64], 1),
        nn.Sequential(Conv(inputs, n[48], 1), Conv(n[48], n[64], 5)),
        nn.Sequential(Conv(inputs, n[64], 1), Conv(n[64], n[96], 3), Conv(n[96], n[96], 3)),
        _pooled(inputs, pooled),
    )


def _block_b(inputs: int, middle: int, n: dict[int, int]) -> Branches:
    """Figure 6: 1, 1–7 factorised, 1–7–7 factorised, pool–1."""
    return Branches(
        Conv(inputs, n[192], 1),
        nn.Sequential(Conv(inputs, middle, 1), _factorised(middle, middle, n[192])),
        nn.Sequential(
            Conv(inputs, middle, 1), _factorised(middle, middle, middle), _factorised(middle, middle, n[192])
        ),
        _pooled(inputs, n[192]),
    )


def _block_c(inputs: int, n: dict[int, int]) -> Branches:
    """Figure 7: expanded 3s, one convolution along each axis side by side."""

    def spread(source: int) -> Branches:
        return Branches(*(Conv(source, n[384], kernel) for kernel in ((1, 1, 3), (1, 3, 1), (3, 1, 1))))

    return Branches(
        Conv(inputs, n[320], 1),
        nn.Sequential(Conv(inputs, n[384], 1), spread(n[384])),
        nn.Sequential(Conv(inputs, n[448], 1), Conv(n[448], n[384], 3), spread(n[384])),
        _pooled(inputs, n[192]),
    )


class Inception3d(nn.Module):
    """Stem, 3 blocks A, reduction, 4 blocks B, reduction, 2 blocks C, global average, outcome."""

    def __init__(self, settings: InceptionV3, in_channels: int, clinical: int) -> None:
        super().__init__()
        used = (32, 48, 64, 80, 96, 128, 160, 192, 320, 384, 448)
        n = {number: scaled(number, settings.width) for number in used}
        pool = MaxPool(3, 2, padding=1)
        layers: list[nn.Module] = [
            Conv(in_channels, n[32], 3, 2),
            Conv(n[32], n[32], 3),
            Conv(n[32], n[64], 3),
            pool,
            Conv(n[64], n[80], 1),
            Conv(n[80], n[192], 3),
            pool,
        ]
        channels = n[192]
        for pooled in (n[32], n[64], n[64]):
            layers.append(_block_a(channels, n, pooled))
            channels = 2 * n[64] + n[96] + pooled
        tower = nn.Sequential(Conv(channels, n[64], 1), Conv(n[64], n[96], 3), Conv(n[96], n[96], 3, 2))
        layers.append(Branches(Conv(channels, n[384], 3, 2), tower, pool))
        channels += n[384] + n[96]
        for middle in (n[128], n[160], n[160], n[192]):
            layers.append(_block_b(channels, middle, n))
            channels = 4 * n[192]
        short = nn.Sequential(Conv(channels, n[192], 1), Conv(n[192], n[320], 3, 2))
        tall = nn.Sequential(
            Conv(channels, n[192], 1), _factorised(n[192], n[192], n[192]), Conv(n[192], n[192], 3, 2)
        )
        layers.append(Branches(short, tall, pool))
        channels += n[320] + n[192]
        for _ in range(2):
            layers.append(_block_c(channels, n))
            channels = n[320] + 6 * n[384] + n[192]
        self.layers = nn.Sequential(*layers)
        self.head = OutcomeHead(channels, clinical, settings.outcome, settings.losses, settings.dropout)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "inception_v3", SMALLEST_SIDE)
        return self.head(global_mean(self.layers(channels_last_on_cpu(image))), clinical)  # type: ignore[no-any-return]


def build(settings: InceptionV3, in_channels: int, clinical: int) -> Inception3d:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return Inception3d(settings, in_channels, clinical)
