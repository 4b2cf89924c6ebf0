"""A convolution of few channels as products of dense matrices: several voxels share one row.

Tensor cores multiply tiles of at least 16 × 16. A 3×3×3 convolution from 8 to 8 channels, taken
voxel by voxel, fills a quarter of them; cuDNN pads such channels to 32. Here a **segment** of
`fold` neighbouring output voxels (along z, y, x) is one row of a matrix product. For each row of
voxels (z, y) that the segment sees, its window along x lies in memory in one piece (channels last):
`fold_x + 2` voxels of C channels are the row's columns of the left matrix. The right matrix holds
the kernel once for each output voxel of the segment, shifted: a band matrix with zeros beside it.

    output[segment, (oz, oy, ox, f)] = Σ over rows (iz, iy) and columns (w, c) of
        window[segment, iz, iy, (w, c)] · weight[f, c, iz − oz, iy − oy, w − ox]

The gradient of the input is such a convolution with the mirrored kernel. The gradient of the band
matrices is one more product; a weight's gradient is the sum over its places in the bands, taken
in a fixed order.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

SMALLEST = 16
"""Smallest side of a tensor core's tile for bf16 and float16."""


@dataclass(frozen=True)
class Band:
    """Sizes of one convolution's products.

    Attributes:
        channels: Channels in.
        filters: Channels out.
        halo: 1 for 3×3×3 kernels, 0 for 1×1×1 kernels; the padding keeps the image's size.
        fold: Output voxels of a segment along z, y and x.
        block: Columns that are multiplied at a time, a power of two.
    """

    channels: int
    filters: int
    halo: int
    fold: tuple[int, int, int]
    block: int

    @property
    def rows(self) -> int:
        """Rows of voxels that a segment sees."""
        return (self.fold[0] + 2 * self.halo) * (self.fold[1] + 2 * self.halo)

    @property
    def window(self) -> int:
        """Voxels of each row that a segment sees."""
        return self.fold[2] + 2 * self.halo

    @property
    def groups(self) -> int:
        """Blocks of columns of each row."""
        return -(-self.window * self.channels // self.block)

    @property
    def outputs(self) -> int:
        """Output voxels of a segment times filters, rounded up to a power of two."""
        return next_power(self.fold[0] * self.fold[1] * self.fold[2] * self.filters)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the band matrices, all rows and blocks one below the other."""
        return self.rows * self.groups * self.block, self.outputs

    def segments(self, sides: torch.Size | tuple[int, ...]) -> int:
        """Number of segments of one image with these sides (z, y, x); the last ones may reach over the end."""
        number = 1
        for side, fold in zip(sides, self.fold, strict=True):
            number *= -(-side // fold)
        return number


def next_power(number: int) -> int:
    """The least power of two, at least 16, that is not below the number."""
    return max(SMALLEST, 1 << (number - 1).bit_length())


def pack(weight: Tensor, band: Band, dtype: torch.dtype) -> Tensor:
    """The band matrices (`band.shape`) of a kernel (filters, channels, k, k, k), zeros where it does not reach."""
    places = _places(band, weight.device)
    flat = torch.nn.functional.pad(weight.detach().reshape(-1), (0, 1))
    return flat[places].to(dtype)


def unpack(gradient: Tensor, band: Band) -> Tensor:
    """Gradient of the kernel, float32 (filters, channels, k, k, k), from that of the band matrices."""
    side = 2 * band.halo + 1
    total = gradient.reshape(-1)[_uses(band, gradient.device)].sum(0)
    return total.view(band.filters, band.channels, side, side, side)


def mirrored(weight: Tensor) -> Tensor:
    """The kernel of the input's gradient: (channels, filters, k, k, k), every side reversed."""
    return weight.detach().transpose(0, 1).flip(2, 3, 4)


@functools.lru_cache(maxsize=256)
def _places(band: Band, device: torch.device) -> Tensor:
    """For each element of the band matrices the number of its weight; one behind the last where it is 0."""
    side = 2 * band.halo + 1
    size = band.filters * band.channels * side**3
    places = torch.full(band.shape, size, dtype=torch.int64)
    numbers = torch.arange(size).view(band.filters, band.channels, side, side, side)
    tall = band.fold[1] + 2 * band.halo
    for oz, oy, ox, dz, dy, dx in product(*map(range, band.fold), range(side), range(side), range(side)):
        row = (oz + dz) * tall + oy + dy
        first = row * band.groups * band.block + (ox + dx) * band.channels
        column = ((oz * band.fold[1] + oy) * band.fold[2] + ox) * band.filters
        places[first : first + band.channels, column : column + band.filters] = numbers[:, :, dz, dy, dx].T
    return places.to(device)


@functools.lru_cache(maxsize=256)
def _uses(band: Band, device: torch.device) -> Tensor:
    """For each weight the numbers of its elements in the band matrices: (voxels of a segment, weights)."""
    places = _places(band, torch.device("cpu")).reshape(-1)
    used = torch.nonzero(places < places.max()).squeeze(1)
    order = torch.argsort(places[used], stable=True)
    count = band.fold[0] * band.fold[1] * band.fold[2]
    return used[order].view(-1, count).T.contiguous().to(device)
