"""Nearest-neighbour upsampling by 2 and concatenation in one pass, channels last (Triton).

PyTorch copies the coarse image into another memory order, upsamples it, copies it back and
concatenates: five passes over memory. Here the joined image is written once; backward, the
gradients of the eight fine voxels of a coarse one are added in a fixed order, and the finer
image's gradient is a slice of the joined one's, without a copy.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.training.gpu.rows import rows_of, voxel_stride

ELEMENTS = 4096
"""Elements of a tile."""


@triton.jit
def _join_kernel(
    coarse, fine, output, voxels, z_side, y_side, x_side, z_coarse, y_coarse, x_coarse,
    C: tl.constexpr, STRIDE: tl.constexpr, F: tl.constexpr, FINE_STRIDE: tl.constexpr,
    COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    v = tl.program_id(0) * V + tl.arange(0, V)
    c = tl.arange(0, COLUMNS)
    x = v % x_side
    rest = v // x_side
    y = rest % y_side
    rest = rest // y_side
    z = rest % z_side
    source = ((rest // z_side * z_coarse + z // 2) * y_coarse + y // 2) * x_coarse + x // 2
    live = (v < voxels)[:, None]
    lower = live & (c < C)[None, :]
    upper = live & (c >= C)[None, :] & (c < C + F)[None, :]
    value = tl.load(coarse + source[:, None] * STRIDE + c[None, :], mask=lower, other=0.0)
    other = tl.load(fine + v[:, None] * FINE_STRIDE + (c - C)[None, :], mask=upper, other=0.0)
    value = tl.where((c < C)[None, :], value, other)
    tl.store(output + v[:, None] * (C + F) + c[None, :], value, mask=lower | upper)


@triton.jit
def _gather_kernel(
    gradient, output, voxels, z_side, y_side, x_side, z_coarse, y_coarse, x_coarse,
    C: tl.constexpr, STRIDE: tl.constexpr, COLUMNS: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    v = tl.program_id(0) * V + tl.arange(0, V)
    c = tl.arange(0, COLUMNS)
    x = v % x_coarse * 2
    rest = v // x_coarse
    y = rest % y_coarse * 2
    rest = rest // y_coarse
    z = rest % z_coarse * 2
    first = ((rest // z_coarse * z_side + z) * y_side + y) * x_side + x
    total = tl.zeros((V, COLUMNS), dtype=tl.float32)
    for dz in tl.static_range(2):
        for dy in tl.static_range(2):
            for dx in tl.static_range(2):
                inside = (v < voxels) & (z + dz < z_side) & (y + dy < y_side) & (x + dx < x_side)
                place = first + (dz * y_side + dy) * x_side + dx
                there = inside[:, None] & (c < C)[None, :]
                value = tl.load(gradient + place[:, None] * STRIDE + c[None, :], mask=there, other=0.0)
                total += value.to(tl.float32)
    there = (v < voxels)[:, None] & (c < C)[None, :]
    tl.store(output + v[:, None] * C + c[None, :], total.to(output.dtype.element_ty), mask=there)


def upsample_and_join(coarse: Tensor, fine: Tensor) -> Tensor:
    """(B, C + F, Z, Y, X) channels-last: the coarse image upsampled and cut to the fine one, then the fine one.

    Args:
        coarse: (B, C, ⌈Z/2⌉, ⌈Y/2⌉, ⌈X/2⌉).
        fine: (B, F, Z, Y, X), of the same type.
    """
    result: Tensor = _Join.apply(coarse, fine)
    return result


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coarse: Tensor, fine: Tensor) -> Tensor:
        coarse, fine = rows_of(coarse), rows_of(fine)
        channels, filters = coarse.shape[1], fine.shape[1]
        ctx.coarse = coarse.shape
        batch, _, *sides = fine.shape
        output = fine.new_empty((batch, *sides, channels + filters)).permute(0, 4, 1, 2, 3)
        voxels, columns = fine.numel() // filters, triton.next_power_of_2(channels + filters)
        height = max(1, ELEMENTS // columns)
        _join_kernel[(triton.cdiv(voxels, height),)](
            coarse, fine, output, voxels, *sides, *coarse.shape[2:],
            C=channels, STRIDE=voxel_stride(coarse), F=filters, FINE_STRIDE=voxel_stride(fine),
            COLUMNS=columns, V=height,
        )  # fmt: skip
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        batch, channels, *sides = ctx.coarse
        d_fine = gradient[:, channels:]
        if not ctx.needs_input_grad[0]:
            return None, d_fine
        gradient = rows_of(gradient)
        output = gradient.new_empty((batch, *sides, channels)).permute(0, 4, 1, 2, 3)
        voxels, columns = output.numel() // channels, triton.next_power_of_2(channels)
        height = max(1, ELEMENTS // columns)
        _gather_kernel[(triton.cdiv(voxels, height),)](
            gradient, output, voxels, *gradient.shape[2:], *sides,
            C=channels, STRIDE=voxel_stride(gradient), COLUMNS=columns, V=height,
        )  # fmt: skip
        return output, d_fine
