"""Max pooling in channels-last order whose gradient is gathered, not scattered (Triton).

The forward pass keeps for each output the place of its maximum within the window, one byte. Backward,
each input voxel looks at the windows that hold it, in a fixed order, and takes their gradients where
it was the maximum: no atomic additions, so that the same inputs always give the same bits.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.training.gpu.rows import rows_of, voxel_stride

ELEMENTS = 2048
"""Elements of a tile."""


@triton.jit
def _maximum_kernel(
    image, output, places, voxels, z_side, y_side, x_side, z_out, y_out, x_out,
    C: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr, S: tl.constexpr,
    COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    v = tl.program_id(0) * V + tl.arange(0, V)
    c = tl.arange(0, COLUMNS)
    x = v % x_out * S
    rest = v // x_out
    y = rest % y_out * S
    rest = rest // y_out
    z = rest % z_out * S
    first = ((rest // z_out * z_side + z) * y_side + y) * x_side + x
    best = tl.full((V, COLUMNS), float("-inf"), dtype=tl.float32)
    where = tl.zeros((V, COLUMNS), dtype=tl.int32)
    for place in tl.static_range(K * K * K):
        dz = place // (K * K)
        dy = place // K % K
        dx = place % K
        inside = (v < voxels) & (z + dz < z_side) & (y + dy < y_side) & (x + dx < x_side)
        there = inside[:, None] & (c < C)[None, :]
        source = first + (dz * y_side + dy) * x_side + dx
        value = tl.load(image + source[:, None] * STRIDE + c[None, :], mask=there, other=float("-inf"))
        value = value.to(tl.float32)
        better = (value > best) | (value != value)  # NaN is passed on, as PyTorch does
        best = tl.where(better, value, best)
        where = tl.where(better, place, where)
    there = (v < voxels)[:, None] & (c < C)[None, :]
    target = v[:, None] * C + c[None, :]
    tl.store(output + target, best.to(output.dtype.element_ty), mask=there)
    tl.store(places + target, where.to(tl.uint8), mask=there)


@triton.jit
def _gather_kernel(
    gradient, places, output, voxels, z_side, y_side, x_side, z_out, y_out, x_out,
    C: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr, S: tl.constexpr,
    COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    REACH: tl.constexpr = (K + S - 1) // S
    v = tl.program_id(0) * V + tl.arange(0, V)
    c = tl.arange(0, COLUMNS)
    x = v % x_side
    rest = v // x_side
    y = rest % y_side
    rest = rest // y_side
    z = rest % z_side
    patient = rest // z_side
    total = tl.zeros((V, COLUMNS), dtype=tl.float32)
    for window in tl.static_range(REACH * REACH * REACH):
        wz = z // S - window // (REACH * REACH)
        wy = y // S - window // REACH % REACH
        wx = x // S - window % REACH
        dz = z - wz * S
        dy = y - wy * S
        dx = x - wx * S
        inside = (v < voxels) & (wz >= 0) & (wy >= 0) & (wx >= 0) & (wz < z_out) & (wy < y_out) & (wx < x_out)
        inside = inside & (dz < K) & (dy < K) & (dx < K)
        there = inside[:, None] & (c < C)[None, :]
        source = ((patient * z_out + wz) * y_out + wy) * x_out + wx
        chosen = tl.load(places + source[:, None] * C + c[None, :], mask=there, other=255).to(tl.int32)
        g = tl.load(gradient + source[:, None] * STRIDE + c[None, :], mask=there, other=0.0).to(tl.float32)
        total += tl.where(chosen == ((dz * K + dy) * K + dx)[:, None], g, 0.0)
    there = (v < voxels)[:, None] & (c < C)[None, :]
    tl.store(output + v[:, None] * C + c[None, :], total.to(output.dtype.element_ty), mask=there)


def max_pool(image: Tensor, kernel: int, stride: int, ceil: bool) -> Tensor:
    """Maximum of windows without padding: (B, C, Z, Y, X) channels last; the first of equal maxima gets the gradient.

    Args:
        image: Any type.
        kernel: Side of a window, at most 6.
        stride: Distance between windows, at most the side of a window.
        ceil: Whether a window may reach over the end.
    """
    result: Tensor = _MaxPool.apply(image, kernel, stride, ceil)
    return result


def _pooled(side: int, kernel: int, stride: int, ceil: bool) -> int:
    span = side - kernel
    number = (-(-span // stride) if ceil else span // stride) + 1
    return number - 1 if ceil and (number - 1) * stride >= side else number


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, kernel: int, stride: int, ceil: bool) -> Tensor:
        image = rows_of(image)
        batch, channels, *sides = image.shape
        pooled = [_pooled(side, kernel, stride, ceil) for side in sides]
        output = image.new_empty((batch, *pooled, channels)).permute(0, 4, 1, 2, 3)
        places = torch.empty((batch, *pooled, channels), dtype=torch.uint8, device=image.device)
        voxels, columns = output.numel() // channels, triton.next_power_of_2(channels)
        height = max(1, ELEMENTS // columns)
        _maximum_kernel[(triton.cdiv(voxels, height),)](
            image, output, places, voxels, *sides, *pooled,
            C=channels, STRIDE=voxel_stride(image), K=kernel, S=stride, COLUMNS=columns, V=height,
        )  # fmt: skip
        ctx.save_for_backward(places)
        ctx.shape, ctx.window = image.shape, (kernel, stride)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (places,) = ctx.saved_tensors
        batch, channels, *sides = ctx.shape
        gradient = rows_of(gradient)
        output = gradient.new_empty((batch, *sides, channels)).permute(0, 4, 1, 2, 3)
        voxels, columns = output.numel() // channels, triton.next_power_of_2(channels)
        height = max(1, ELEMENTS // columns)
        kernel, stride = ctx.window
        _gather_kernel[(triton.cdiv(voxels, height),)](
            gradient, places, output, voxels, *sides, *gradient.shape[2:],
            C=channels, STRIDE=voxel_stride(gradient), K=kernel, S=stride, COLUMNS=columns, V=height,
        )  # fmt: skip
        return output, None, None, None
