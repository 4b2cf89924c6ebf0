"""Batch normalisation, ReLU and an addition behind it in two passes each way (Triton).

    output = max((image − mean)·scale·weight + bias, 0) + added

PyTorch takes five passes over memory forward (statistics, normalisation, ReLU, addition) and keeps
the normalised image for the backward pass. Here the first pass computes mean and variance and the
second everything else; backward, the first sums Σdy and Σdy·x̂ and the second computes the gradient
(Ioffe and Szegedy 2015, section 3). Only the input is kept. Statistics and sums are float32, by
Welford's algorithm in parallel and then merged (Chan, Golub and LeVeque 1979); nothing is added
atomically, so that the same inputs always give the same bits. Running statistics are those of
:class:`torch.nn.BatchNorm3d`, the variance unbiased.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.training.gpu.rows import rows_of, voxel_stride

ELEMENTS = 8192
"""Elements of a tile."""
WARPS = 8
PROGRAMS = 256
"""Programs that share the voxels of a statistic, about two for each multiprocessor of a Hopper card: one program
merges what they found, and waits for memory as long as there are many."""
MERGED = 1 << 12
"""Largest number of partial results that one program merges."""


SIZES = ["channels", "stride", "other_stride", "programs"]
"""Sizes that are numbers to the compiler, so that one program serves all networks; channels and distances come in
units of `UNIT` elements, a constant, so that it knows how many lie side by side."""


@triton.jit
def _merge(count, mean, spread):
    """Count, mean and sum of squares about it of all rows of partial results, by column."""
    total = tl.sum(count, 0)
    centre = tl.sum(count * mean, 0) / tl.maximum(total, 1.0)
    apart = mean - centre[None, :]
    return total, centre, tl.sum(spread + count * apart * apart, 0)


@triton.jit(do_not_specialize=SIZES)
def _statistics_kernel(
    image, parts, voxels, channels, stride, UNIT: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr
):  # fmt: skip
    C = channels * UNIT
    STRIDE = stride * UNIT
    c = tl.arange(0, COLUMNS)
    seen = tl.zeros((V,), dtype=tl.float32)
    mean = tl.zeros((V, COLUMNS), dtype=tl.float32)
    spread = tl.zeros((V, COLUMNS), dtype=tl.float32)
    for start in range(tl.program_id(0) * V, voxels, tl.num_programs(0) * V):
        v = start + tl.arange(0, V)
        there = (v < voxels)[:, None] & (c < C)[None, :]
        value = tl.load(image + v[:, None] * STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
        seen += tl.where(v < voxels, 1.0, 0.0)
        apart = tl.where(there, value - mean, 0.0)
        mean += apart * (1.0 / tl.maximum(seen, 1.0))[:, None]
        spread += apart * (value - mean)
    total, centre, around = _merge(seen[:, None] + tl.zeros((V, COLUMNS), dtype=tl.float32), mean, spread)
    place = parts + tl.program_id(0) * 3 * COLUMNS + c
    tl.store(place, total)
    tl.store(place + COLUMNS, centre)
    tl.store(place + 2 * COLUMNS, around)


@triton.jit(do_not_specialize=SIZES)
def _merge_kernel(
    parts, statistics, running_mean, running_var, batches, conv_bias, programs, momentum, epsilon, channels,
    COLUMNS: tl.constexpr, P: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    c = tl.arange(0, COLUMNS)
    p = tl.arange(0, P)
    place = parts + p[:, None] * 3 * COLUMNS + c[None, :]
    there = (p < programs)[:, None] & (c < channels)[None, :]
    count = tl.load(place, mask=there, other=0.0)
    mean = tl.load(place + COLUMNS, mask=there, other=0.0)
    spread = tl.load(place + 2 * COLUMNS, mask=there, other=0.0)
    total, centre, around = _merge(count, mean, spread)
    tl.store(statistics + c, centre, mask=c < channels)
    tl.store(
        statistics + channels + c, 1.0 / tl.sqrt(around / tl.maximum(total, 1.0) + epsilon), mask=c < channels
    )
    shifted = centre
    if HAS_BIAS:
        shifted += tl.load(conv_bias + c, mask=c < channels, other=0.0)
    old = tl.load(running_mean + c, mask=c < channels, other=0.0)
    tl.store(running_mean + c, old + momentum * (shifted - old), mask=c < channels)
    old = tl.load(running_var + c, mask=c < channels, other=0.0)
    unbiased = around / tl.maximum(total - 1.0, 1.0)
    tl.store(running_var + c, old + momentum * (unbiased - old), mask=c < channels)
    tl.store(batches, tl.load(batches) + 1)


@triton.jit(do_not_specialize=SIZES)
def _apply_kernel(
    image, added, output, statistics, weight, bias, voxels, channels, stride, other_stride,
    HAS_ADDED: tl.constexpr, UNIT: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    C = channels * UNIT
    STRIDE = stride * UNIT
    OTHER = other_stride * UNIT
    c = tl.arange(0, COLUMNS)
    v = tl.program_id(0) * V + tl.arange(0, V)
    there = (v < voxels)[:, None] & (c < C)[None, :]
    slope = tl.load(statistics + C + c, mask=c < C, other=0.0) * tl.load(weight + c, mask=c < C, other=0.0)
    centre = tl.load(statistics + c, mask=c < C, other=0.0)
    offset = tl.load(bias + c, mask=c < C, other=0.0)
    value = tl.load(image + v[:, None] * STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
    value = (value - centre[None, :]) * slope[None, :] + offset[None, :]
    value = tl.where(value <= 0.0, 0.0, value)  # as PyTorch's ReLU, which keeps NaN
    if HAS_ADDED:
        value += tl.load(added + v[:, None] * OTHER + c[None, :], mask=there, other=0.0).to(tl.float32)
    tl.store(output + v[:, None] * C + c[None, :], value.to(output.dtype.element_ty), mask=there)


@triton.jit
def _rectified(
    image, gradient, statistics, weight, bias, v, there, c, C, STRIDE, OTHER
):  # fmt: skip
    """The gradient behind the ReLU, and the standardised input."""
    scale = tl.load(statistics + C + c, mask=c < C, other=0.0)
    centre = tl.load(statistics + c, mask=c < C, other=0.0)
    slope = scale * tl.load(weight + c, mask=c < C, other=0.0)
    offset = tl.load(bias + c, mask=c < C, other=0.0)
    value = tl.load(image + v[:, None] * STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
    apart = value - centre[None, :]
    g = tl.load(gradient + v[:, None] * OTHER + c[None, :], mask=there, other=0.0).to(tl.float32)
    g = tl.where(there & (apart * slope[None, :] + offset[None, :] > 0.0), g, 0.0)
    return g, apart * scale[None, :]


@triton.jit(do_not_specialize=SIZES)
def _sums_kernel(
    image, gradient, statistics, weight, bias, parts, voxels, channels, stride, other_stride,
    UNIT: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    C = channels * UNIT
    STRIDE = stride * UNIT
    OTHER = other_stride * UNIT
    c = tl.arange(0, COLUMNS)
    by_one = tl.zeros((V, COLUMNS), dtype=tl.float32)
    by_image = tl.zeros((V, COLUMNS), dtype=tl.float32)
    for start in range(tl.program_id(0) * V, voxels, tl.num_programs(0) * V):
        v = start + tl.arange(0, V)
        there = (v < voxels)[:, None] & (c < C)[None, :]
        g, standard = _rectified(image, gradient, statistics, weight, bias, v, there, c, C, STRIDE, OTHER)
        by_one += g
        by_image += g * standard
    place = parts + tl.program_id(0) * 2 * COLUMNS + c
    tl.store(place, tl.sum(by_one, 0))
    tl.store(place + COLUMNS, tl.sum(by_image, 0))


@triton.jit(do_not_specialize=SIZES)
def _gather_kernel(parts, sums, programs, channels, COLUMNS: tl.constexpr, P: tl.constexpr):
    c = tl.arange(0, COLUMNS)
    p = tl.arange(0, P)
    there = (p < programs)[:, None] & (c < channels)[None, :]
    place = parts + p[:, None] * 2 * COLUMNS + c[None, :]
    tl.store(sums + c, tl.sum(tl.load(place, mask=there, other=0.0), 0), mask=c < channels)
    tl.store(
        sums + channels + c, tl.sum(tl.load(place + COLUMNS, mask=there, other=0.0), 0), mask=c < channels
    )


@triton.jit(do_not_specialize=SIZES)
def _gradient_kernel(
    image, gradient, statistics, weight, bias, sums, output, voxels, channels, stride, other_stride,
    UNIT: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    C = channels * UNIT
    STRIDE = stride * UNIT
    OTHER = other_stride * UNIT
    c = tl.arange(0, COLUMNS)
    v = tl.program_id(0) * V + tl.arange(0, V)
    there = (v < voxels)[:, None] & (c < C)[None, :]
    g, standard = _rectified(image, gradient, statistics, weight, bias, v, there, c, C, STRIDE, OTHER)
    slope = tl.load(statistics + C + c, mask=c < C, other=0.0) * tl.load(weight + c, mask=c < C, other=0.0)
    share = 1.0 / voxels
    by_one = tl.load(sums + c, mask=c < C, other=0.0) * share
    by_image = tl.load(sums + C + c, mask=c < C, other=0.0) * share
    g = slope[None, :] * (g - by_one[None, :] - standard * by_image[None, :])
    tl.store(output + v[:, None] * C + c[None, :], g.to(output.dtype.element_ty), mask=there)


@dataclass(frozen=True)
class _Tiles:
    """How an image is cut.

    Attributes:
        voxels: Number of voxels.
        columns: Channels, rounded up to a power of two.
        height: Voxels of a tile.
        most: Largest number of programs that share the tiles.
        programs: Programs that do.
    """

    voxels: int
    columns: int
    height: int
    most: int
    programs: int


def _tiles(image: Tensor) -> _Tiles:
    channels = image.shape[1]
    columns = triton.next_power_of_2(channels)
    height = max(1, ELEMENTS // columns)
    voxels = image.numel() // channels
    most = max(1, min(PROGRAMS, MERGED // columns))
    return _Tiles(voxels, columns, height, most, min(most, triton.cdiv(voxels, height)))


def _sizes(tiles: _Tiles, image: Tensor, other: Tensor) -> dict[str, int]:
    """Arguments of a kernel that reads two images."""
    sizes = (image.shape[1], voxel_stride(image), voxel_stride(other))
    unit = math.gcd(*sizes, 8)
    names = dict(zip(("channels", "stride", "other_stride"), (size // unit for size in sizes), strict=True))
    return {**names, "UNIT": unit, "COLUMNS": tiles.columns, "V": tiles.height, "num_warps": WARPS}


def normalise_rectify_add(
    image: Tensor, norm: torch.nn.BatchNorm3d, conv_bias: Tensor | None = None, added: Tensor | None = None
) -> Tensor:
    """Batch normalisation with the statistics of this batch, ReLU, and what is added: (B, C, Z, Y, X), channels last.

    Args:
        image: Output of a convolution without its bias, bf16 or float16.
        norm: In training mode, with weights and running statistics, which are updated.
        conv_bias: Bias of the convolution. Normalisation takes every constant away again, so that it
            counts only in the running mean, and its gradient is 0.
        added: Image of the same shape, added behind the ReLU.
    """
    result: Tensor = _NormaliseRectify.apply(image, norm.weight, norm.bias, added, norm, conv_bias)
    return result


class _NormaliseRectify(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, added: Tensor | None,
        norm: torch.nn.BatchNorm3d, conv_bias: Tensor | None,
    ) -> Tensor:  # fmt: skip
        image = rows_of(image)
        tiles, channels = _tiles(image), image.shape[1]
        statistics = _statistics(image, tiles, norm, conv_bias)
        batch, _, z, y, x = image.shape
        output = image.new_empty((batch, z, y, x, channels)).permute(0, 4, 1, 2, 3)
        extra = image if added is None else rows_of(added)
        _apply_kernel[(triton.cdiv(tiles.voxels, tiles.height),)](
            image, extra, output, statistics, weight, bias, tiles.voxels,
            HAS_ADDED=added is not None, **_sizes(tiles, image, extra),
        )  # fmt: skip
        ctx.save_for_backward(image, weight, bias, statistics)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, weight, bias, statistics = ctx.saved_tensors
        tiles, channels = _tiles(image), image.shape[1]
        rows = rows_of(gradient)
        sizes = _sizes(tiles, image, rows)
        parts = weight.new_empty((tiles.programs, 2, tiles.columns))
        sums = weight.new_empty((2, channels))
        _sums_kernel[(tiles.programs,)](image, rows, statistics, weight, bias, parts, tiles.voxels, **sizes)
        _gather_kernel[(1,)](
            parts, sums, tiles.programs, channels, COLUMNS=tiles.columns, P=tiles.most
        )  # fmt: skip
        batch, _, z, y, x = image.shape
        output = image.new_empty((batch, z, y, x, channels)).permute(0, 4, 1, 2, 3)
        _gradient_kernel[(triton.cdiv(tiles.voxels, tiles.height),)](
            image, rows, statistics, weight, bias, sums, output, tiles.voxels, **sizes
        )
        return output, sums[1], sums[0], gradient if ctx.needs_input_grad[3] else None, None, None


def _statistics(image: Tensor, tiles: _Tiles, norm: torch.nn.BatchNorm3d, conv_bias: Tensor | None) -> Tensor:
    """Mean and 1 / √(variance + ε) of each channel, float32 (2, C); running statistics are updated."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    channels = image.shape[1]
    parts = norm.weight.new_empty((tiles.programs, 3, tiles.columns))
    sizes = _sizes(tiles, image, image)
    sizes.pop("other_stride")
    _statistics_kernel[(tiles.programs,)](image, parts, tiles.voxels, **sizes)
    statistics = norm.weight.new_empty((2, channels))
    _merge_kernel[(1,)](
        parts, statistics, norm.running_mean, norm.running_var, norm.num_batches_tracked,
        norm.weight if conv_bias is None else conv_bias, tiles.programs, norm.momentum, norm.eps,
        channels, COLUMNS=tiles.columns, P=tiles.most, HAS_BIAS=conv_bias is not None,
    )  # fmt: skip
    return statistics
