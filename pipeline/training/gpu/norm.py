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

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.training.gpu.rows import rows_of, voxel_stride

ELEMENTS = 4096
"""Elements of a tile."""
PROGRAMS = 1056
"""Programs that share the voxels of a statistic: eight for each multiprocessor of a Hopper card."""
MERGED = 1 << 14
"""Largest number of partial results that one program merges at a time."""


@triton.jit
def _merge(count, mean, spread):
    """Count, mean and sum of squares about it of all rows of partial results, by column."""
    total = tl.sum(count, 0)
    centre = tl.sum(count * mean, 0) / tl.maximum(total, 1.0)
    apart = mean - centre[None, :]
    return total, centre, tl.sum(spread + count * apart * apart, 0)


@triton.jit
def _statistics_kernel(
    image, parts, voxels, C: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr
):  # fmt: skip
    c = tl.arange(0, COLUMNS)
    count = tl.zeros((V, COLUMNS), dtype=tl.float32)
    mean = tl.zeros((V, COLUMNS), dtype=tl.float32)
    spread = tl.zeros((V, COLUMNS), dtype=tl.float32)
    for start in range(tl.program_id(0) * V, voxels, tl.num_programs(0) * V):
        v = start + tl.arange(0, V)
        there = (v < voxels)[:, None] & (c < C)[None, :]
        value = tl.load(image + v[:, None] * STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
        count += tl.where(there, 1.0, 0.0)
        apart = tl.where(there, value - mean, 0.0)
        mean += apart / tl.maximum(count, 1.0)
        spread += apart * (value - mean)
    total, centre, around = _merge(count, mean, spread)
    place = parts + tl.program_id(0) * 3 * COLUMNS + c
    tl.store(place, total)
    tl.store(place + COLUMNS, centre)
    tl.store(place + 2 * COLUMNS, around)


@triton.jit
def _merge_kernel(
    parts, statistics, running_mean, running_var, conv_bias, programs, momentum, epsilon,
    C: tl.constexpr, COLUMNS: tl.constexpr, P: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    c = tl.arange(0, COLUMNS)
    p = tl.arange(0, P)
    place = parts + p[:, None] * 3 * COLUMNS + c[None, :]
    there = (p < programs)[:, None] & (c < C)[None, :]
    count = tl.load(place, mask=there, other=0.0)
    mean = tl.load(place + COLUMNS, mask=there, other=0.0)
    spread = tl.load(place + 2 * COLUMNS, mask=there, other=0.0)
    total, centre, around = _merge(count, mean, spread)
    tl.store(statistics + c, centre, mask=c < C)
    tl.store(statistics + C + c, 1.0 / tl.sqrt(around / tl.maximum(total, 1.0) + epsilon), mask=c < C)
    shifted = centre
    if HAS_BIAS:
        shifted += tl.load(conv_bias + c, mask=c < C, other=0.0)
    old = tl.load(running_mean + c, mask=c < C, other=0.0)
    tl.store(running_mean + c, old + momentum * (shifted - old), mask=c < C)
    old = tl.load(running_var + c, mask=c < C, other=0.0)
    unbiased = around / tl.maximum(total - 1.0, 1.0)
    tl.store(running_var + c, old + momentum * (unbiased - old), mask=c < C)


@triton.jit
def _apply_kernel(
    image, added, output, statistics, weight, bias, voxels,
    C: tl.constexpr, STRIDE: tl.constexpr, ADDED_STRIDE: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    c = tl.arange(0, COLUMNS)
    v = tl.program_id(0) * V + tl.arange(0, V)
    there = (v < voxels)[:, None] & (c < C)[None, :]
    slope = tl.load(statistics + C + c, mask=c < C, other=0.0) * tl.load(weight + c, mask=c < C, other=0.0)
    centre = tl.load(statistics + c, mask=c < C, other=0.0)
    offset = tl.load(bias + c, mask=c < C, other=0.0)
    value = tl.load(image + v[:, None] * STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
    value = (value - centre[None, :]) * slope[None, :] + offset[None, :]
    value = tl.where(value <= 0.0, 0.0, value)  # as PyTorch's ReLU, which keeps NaN
    if ADDED_STRIDE > 0:
        value += tl.load(added + v[:, None] * ADDED_STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
    tl.store(output + v[:, None] * C + c[None, :], value.to(output.dtype.element_ty), mask=there)


@triton.jit
def _rectified(
    image, gradient, statistics, weight, bias, v, there, c,
    C: tl.constexpr, STRIDE: tl.constexpr, G_STRIDE: tl.constexpr,
):  # fmt: skip
    """The gradient behind the ReLU, and the standardised input."""
    scale = tl.load(statistics + C + c, mask=c < C, other=0.0)
    centre = tl.load(statistics + c, mask=c < C, other=0.0)
    slope = scale * tl.load(weight + c, mask=c < C, other=0.0)
    offset = tl.load(bias + c, mask=c < C, other=0.0)
    value = tl.load(image + v[:, None] * STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
    apart = value - centre[None, :]
    g = tl.load(gradient + v[:, None] * G_STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
    g = tl.where(there & (apart * slope[None, :] + offset[None, :] > 0.0), g, 0.0)
    return g, apart * scale[None, :]


@triton.jit
def _sums_kernel(
    image, gradient, statistics, weight, bias, parts, voxels,
    C: tl.constexpr, STRIDE: tl.constexpr, G_STRIDE: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    c = tl.arange(0, COLUMNS)
    by_one = tl.zeros((V, COLUMNS), dtype=tl.float32)
    by_image = tl.zeros((V, COLUMNS), dtype=tl.float32)
    for start in range(tl.program_id(0) * V, voxels, tl.num_programs(0) * V):
        v = start + tl.arange(0, V)
        there = (v < voxels)[:, None] & (c < C)[None, :]
        g, standard = _rectified(image, gradient, statistics, weight, bias, v, there, c, C, STRIDE, G_STRIDE)
        by_one += g
        by_image += g * standard
    place = parts + tl.program_id(0) * 2 * COLUMNS + c
    tl.store(place, tl.sum(by_one, 0))
    tl.store(place + COLUMNS, tl.sum(by_image, 0))


@triton.jit
def _gather_kernel(parts, sums, programs, C: tl.constexpr, COLUMNS: tl.constexpr, P: tl.constexpr):
    c = tl.arange(0, COLUMNS)
    p = tl.arange(0, P)
    there = (p < programs)[:, None] & (c < C)[None, :]
    place = parts + p[:, None] * 2 * COLUMNS + c[None, :]
    tl.store(sums + c, tl.sum(tl.load(place, mask=there, other=0.0), 0), mask=c < C)
    tl.store(sums + C + c, tl.sum(tl.load(place + COLUMNS, mask=there, other=0.0), 0), mask=c < C)


@triton.jit
def _gradient_kernel(
    image, gradient, statistics, weight, bias, sums, output, voxels,
    C: tl.constexpr, STRIDE: tl.constexpr, G_STRIDE: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    c = tl.arange(0, COLUMNS)
    v = tl.program_id(0) * V + tl.arange(0, V)
    there = (v < voxels)[:, None] & (c < C)[None, :]
    g, standard = _rectified(image, gradient, statistics, weight, bias, v, there, c, C, STRIDE, G_STRIDE)
    slope = tl.load(statistics + C + c, mask=c < C, other=0.0) * tl.load(weight + c, mask=c < C, other=0.0)
    share = 1.0 / voxels
    by_one = tl.load(sums + c, mask=c < C, other=0.0) * share
    by_image = tl.load(sums + C + c, mask=c < C, other=0.0) * share
    g = slope[None, :] * (g - by_one[None, :] - standard * by_image[None, :])
    tl.store(output + v[:, None] * C + c[None, :], g.to(output.dtype.element_ty), mask=there)


@dataclass(frozen=True)
class _Tiles:
    """How an image is cut: voxels, channels rounded up, voxels of a tile, programs that share the tiles."""

    voxels: int
    columns: int
    height: int
    programs: int


def _tiles(image: Tensor) -> _Tiles:
    channels = image.shape[1]
    columns = triton.next_power_of_2(channels)
    height = max(1, ELEMENTS // columns)
    voxels = image.numel() // channels
    programs = max(1, min(PROGRAMS, MERGED // columns, triton.cdiv(voxels, height)))
    return _Tiles(voxels, columns, height, programs)


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
            C=channels, STRIDE=voxel_stride(image), ADDED_STRIDE=0 if added is None else voxel_stride(extra),
            COLUMNS=tiles.columns, V=tiles.height,
        )  # fmt: skip
        ctx.save_for_backward(image, weight, bias, statistics)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, weight, bias, statistics = ctx.saved_tensors
        tiles, channels = _tiles(image), image.shape[1]
        rows = rows_of(gradient)
        sizes = {
            "C": channels, "STRIDE": voxel_stride(image), "G_STRIDE": voxel_stride(rows),
            "COLUMNS": tiles.columns, "V": tiles.height,
        }  # fmt: skip
        parts = weight.new_empty((tiles.programs, 2, tiles.columns))
        sums = weight.new_empty((2, channels))
        _sums_kernel[(tiles.programs,)](image, rows, statistics, weight, bias, parts, tiles.voxels, **sizes)
        _gather_kernel[(1,)](
            parts, sums, tiles.programs,
            C=channels, COLUMNS=tiles.columns, P=triton.next_power_of_2(tiles.programs),
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
    _statistics_kernel[(tiles.programs,)](
        image,
        parts,
        tiles.voxels,
        C=channels,
        STRIDE=voxel_stride(image),
        COLUMNS=tiles.columns,
        V=tiles.height,
    )
    statistics = norm.weight.new_empty((2, channels))
    _merge_kernel[(1,)](
        parts, statistics, norm.running_mean, norm.running_var,
        norm.weight if conv_bias is None else conv_bias, tiles.programs, norm.momentum, norm.eps,
        C=channels, COLUMNS=tiles.columns, P=triton.next_power_of_2(tiles.programs),
        HAS_BIAS=conv_bias is not None,
    )  # fmt: skip
    norm.num_batches_tracked.add_(1)
    return statistics
