"""3D convolutions of few channels on an accelerator, without padding to 32 channels (Triton).

The arithmetic is that of :mod:`pipeline.training.gpu.bands`: inputs in bf16 or float16, sums in
float32. Three products: the output, the input's gradient (an output with the mirrored kernel) and
the kernel's gradient. The last is summed over the voxels in two stages: every program adds up its
own share of the segments in a fixed order, then the shares are added in a fixed order. Nothing
is added atomically, so that the same inputs always give the same bits.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.training.gpu.bands import Band, mirrored, next_power, pack, unpack
from pipeline.training.gpu.rows import rows_of, voxel_stride

ONE, ZERO = [1, 1, 1], [0, 0, 0]
PROGRAMS = 528
"""Programs that share the segments of a kernel's gradient: four for each multiprocessor of a Hopper card."""


@triton.jit
def _within(place, side):
    """Whether a place lies on a side. A side of 1 is a plain number to Triton, which has no types to convert."""
    return (place >= 0) & (place < side)


@triton.jit
def _output_kernel(
    image, bands, output, segments, z_side, y_side, x_side,
    C: tl.constexpr, IN_STRIDE: tl.constexpr, F: tl.constexpr, HALO: tl.constexpr,
    FZ: tl.constexpr, FY: tl.constexpr, FX: tl.constexpr,
    BLOCK: tl.constexpr, GROUPS: tl.constexpr, OUTPUTS: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * M + tl.arange(0, M)
    live = m < segments
    x_segments = (x_side + FX - 1) // FX
    y_segments = (y_side + FY - 1) // FY
    z_segments = (z_side + FZ - 1) // FZ
    x0 = (m % x_segments) * FX
    rest = m // x_segments
    y0 = (rest % y_segments) * FY
    rest = rest // y_segments
    z0 = (rest % z_segments) * FZ
    patient = rest // z_segments
    k = tl.arange(0, BLOCK)
    n = tl.arange(0, OUTPUTS)
    total = tl.zeros((M, OUTPUTS), dtype=tl.float32)
    for row in range((FZ + 2 * HALO) * (FY + 2 * HALO)):
        z = z0 + row // (FY + 2 * HALO) - HALO
        y = y0 + row % (FY + 2 * HALO) - HALO
        inside = live & _within(z, z_side) & _within(y, y_side)
        first = ((patient * z_side + z) * y_side + y) * x_side + x0 - HALO
        for group in tl.static_range(GROUPS):
            column = group * BLOCK + k
            x = x0[:, None] - HALO + (column // C)[None, :]
            there = inside[:, None] & _within(x, x_side) & (column < (FX + 2 * HALO) * C)[None, :]
            if IN_STRIDE == C:
                step = column
            else:
                step = (column // C) * IN_STRIDE + column % C
            left = tl.load(image + first[:, None] * IN_STRIDE + step[None, :], mask=there, other=0.0)
            right = tl.load(bands + ((row * GROUPS + group) * BLOCK + k)[:, None] * OUTPUTS + n[None, :])
            total = tl.dot(left, right, total)
    x = x0[:, None] + ((n // F) % FX)[None, :]
    y = y0[:, None] + ((n // (F * FX)) % FY)[None, :]
    z = z0[:, None] + (n // (F * FX * FY))[None, :]
    there = live[:, None] & (x < x_side) & (y < y_side) & (z < z_side) & (n < FZ * FY * FX * F)[None, :]
    voxel = ((patient[:, None] * z_side + z) * y_side + y) * x_side + x
    tl.store(output + voxel * F + (n % F)[None, :], total.to(output.dtype.element_ty), mask=there)


@triton.jit
def _weight_kernel(
    image, gradient, shares, segments, z_side, y_side, x_side,
    C: tl.constexpr, IN_STRIDE: tl.constexpr, F: tl.constexpr, OUT_STRIDE: tl.constexpr, HALO: tl.constexpr,
    FZ: tl.constexpr, FY: tl.constexpr, FX: tl.constexpr,
    BLOCK: tl.constexpr, GROUPS: tl.constexpr, OUTPUTS: tl.constexpr, M: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    ROWS: tl.constexpr = (FZ + 2 * HALO) * (FY + 2 * HALO)
    x_segments = (x_side + FX - 1) // FX
    y_segments = (y_side + FY - 1) // FY
    z_segments = (z_side + FZ - 1) // FZ
    k = tl.arange(0, UNITS * BLOCK)
    n = tl.arange(0, OUTPUTS)
    unit = tl.program_id(1) * UNITS + k // BLOCK
    row = unit // GROUPS
    column = (unit % GROUPS) * BLOCK + k % BLOCK
    down = row // (FY + 2 * HALO) - HALO
    across = row % (FY + 2 * HALO) - HALO
    used = (row < ROWS) & (column < (FX + 2 * HALO) * C)
    along = column // C - HALO
    step = ((down * y_side + across) * x_side + along) * IN_STRIDE + column % C
    if C % 8 == 0 and IN_STRIDE % 8 == 0:
        # The compiler does not see by itself that eight columns lie side by side in one voxel.
        step = tl.max_contiguous(tl.multiple_of(step, 8), 8)
        down, across = tl.max_constancy(down, 8), tl.max_constancy(across, 8)
        along, used = tl.max_constancy(along, 8), tl.max_constancy(used, 8)
    out_x = (n // F) % FX
    out_y = (n // (F * FX)) % FY
    out_z = n // (F * FX * FY)
    total = tl.zeros((UNITS * BLOCK, OUTPUTS), dtype=tl.float32)
    for start in range(tl.program_id(0) * M, segments, tl.num_programs(0) * M):
        m = start + tl.arange(0, M)
        live = m < segments
        x0 = (m % x_segments) * FX
        rest = m // x_segments
        y0 = (rest % y_segments) * FY
        rest = rest // y_segments
        z0 = (rest % z_segments) * FZ
        first = ((rest // z_segments * z_side + z0) * y_side + y0) * x_side + x0
        x = x0[:, None] + along[None, :]
        y = y0[:, None] + across[None, :]
        z = z0[:, None] + down[None, :]
        there = live[:, None] & used[None, :] & _within(x, x_side)
        there = there & _within(y, y_side) & _within(z, z_side)
        left = tl.load(image + first[:, None] * IN_STRIDE + step[None, :], mask=there, other=0.0)
        x = x0[:, None] + out_x[None, :]
        y = y0[:, None] + out_y[None, :]
        z = z0[:, None] + out_z[None, :]
        there = live[:, None] & (x < x_side) & (y < y_side) & (z < z_side) & (n < FZ * FY * FX * F)[None, :]
        voxel = ((rest // z_segments)[:, None] * z_side + z) * y_side + y
        voxel = voxel * x_side + x
        right = tl.load(gradient + voxel * OUT_STRIDE + (n % F)[None, :], mask=there, other=0.0)
        total = tl.dot(tl.trans(left), right, total)
    place = (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)) * UNITS * BLOCK + k
    tl.store(shares + place[:, None] * OUTPUTS + n[None, :], total)


@dataclass(frozen=True)
class Launch:
    """How a product is run; it changes the time, and of weight gradients the order of summation.

    Attributes:
        warps: Warps of a program.
        stages: Loads that are under way at a time; with 1 they pass through the first-level cache, which
            the overlapping windows of narrow blocks profit from.
        segments: Segments that a program multiplies at a time.
    """

    warps: int
    stages: int
    segments: int


def launch_for(band: Band, *, weights: bool) -> Launch:
    """What was fastest on an H200 (`python -m benchmarks.kernels`)."""
    if weights:
        return Launch(8, 2, 128) if band.halo else Launch(4, 2, 64)
    return Launch(4, 1 if band.block < 64 else 3, 128)


def _run(kernel: Any, grid: tuple[int, ...], launch: Launch, *arguments: Any, **sizes: Any) -> None:
    """Run a kernel; with one load under way where the card's shared memory does not hold more (the same bits)."""
    for stages in sorted({launch.stages, 1}, reverse=True):
        try:
            kernel[grid](*arguments, M=launch.segments, num_warps=launch.warps, num_stages=stages, **sizes)
            return
        except triton.runtime.errors.OutOfResources:
            if stages == 1:
                raise


def output_of(image: Tensor, weight: Tensor, band: Band, launch: Launch | None = None) -> Tensor:
    """The convolution without bias: (B, filters, Z, Y, X) channels-last from (B, channels, Z, Y, X).

    Args:
        image: bf16 or float16, channels last; the voxels may lie further apart than their channels.
        weight: (filters, channels, k, k, k), any type.
        band: Sizes of the products.
        launch: How they are run; None: as was fastest.
    """
    launch = launch or launch_for(band, weights=False)
    batch, _, z, y, x = image.shape
    output = image.new_empty((batch, z, y, x, band.filters))
    segments = batch * band.segments((z, y, x))
    _run(
        _output_kernel, (triton.cdiv(segments, launch.segments),), launch,
        image, pack(weight, band, image.dtype), output, segments, z, y, x,
        C=band.channels, IN_STRIDE=voxel_stride(image), F=band.filters, HALO=band.halo,
        FZ=band.fold[0], FY=band.fold[1], FX=band.fold[2],
        BLOCK=band.block, GROUPS=band.groups, OUTPUTS=band.outputs,
    )  # fmt: skip
    return output.permute(0, 4, 1, 2, 3)


def weight_gradient(
    image: Tensor, gradient: Tensor, band: Band, launch: Launch | None = None, units: int = 0
) -> Tensor:
    """Gradient of the kernel, float32 (filters, channels, k, k, k).

    Args:
        image: As in :func:`output_of`.
        gradient: Of the output, in the same layout and type.
        band: Sizes of the products.
        launch: How they are run; None: as was fastest.
        units: Blocks of columns that a program adds up, a power of two; 0: by size.
    """
    launch = launch or launch_for(band, weights=True)
    batch, _, z, y, x = image.shape
    segments = batch * band.segments((z, y, x))
    blocks = band.rows * band.groups
    units = units or max(1, min(next_power(blocks), 8192 // (band.block * band.outputs)))
    parts = triton.cdiv(blocks, units)
    programs = max(1, min(PROGRAMS // parts, triton.cdiv(segments, launch.segments)))
    shares = torch.empty(
        (programs, parts * units * band.block, band.outputs), dtype=torch.float32, device=image.device
    )
    _run(
        _weight_kernel, (programs, parts), launch,
        image, gradient, shares, segments, z, y, x,
        C=band.channels, IN_STRIDE=voxel_stride(image), F=band.filters, OUT_STRIDE=voxel_stride(gradient),
        HALO=band.halo, FZ=band.fold[0], FY=band.fold[1], FX=band.fold[2],
        BLOCK=band.block, GROUPS=band.groups, OUTPUTS=band.outputs, UNITS=units,
    )  # fmt: skip
    return unpack(shares.sum(0)[: band.shape[0]].contiguous(), band)


def band_for(channels: int, filters: int, halo: int, *, weights: bool) -> Band:
    """The products for these channels: as many voxels as make 64 columns of output, at least two along x."""
    rest = max(1, 64 // (2 * filters))
    if halo or weights:
        fold = (1, 1, 2) if rest < 2 else (1, 2, 2) if rest < 4 else (2, 2, 2)
    else:
        fold = (1, 1, 2 if rest < 2 else 4 if rest < 4 else 8)
    columns = (fold[2] + 2 * halo) * channels
    block = min((64, 32, 16), key=lambda size: (-(-columns // size) * size, -size))
    return Band(channels, filters, halo, fold, block)


def convolve(image: Tensor, weight: Tensor) -> Tensor:
    """A 3×3×3 convolution with padding 1, or a 1×1×1 one, without bias, with gradients.

    Args:
        image: (B, C, Z, Y, X), bf16 or float16.
        weight: (F, C, 3, 3, 3) or (F, C, 1, 1, 1), float32.
    """
    result: Tensor = _FewChannels.apply(image, weight)
    return result


class _FewChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor) -> Tensor:
        image = rows_of(image)
        ctx.save_for_backward(image, weight)
        filters, channels, side = weight.shape[:3]
        return output_of(image, weight, band_for(channels, filters, side // 2, weights=False))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        image, weight = ctx.saved_tensors
        filters, channels, side = weight.shape[:3]
        gradient = rows_of(gradient)
        d_image = d_weight = None
        if ctx.needs_input_grad[0]:
            band = band_for(filters, channels, side // 2, weights=False)
            d_image = output_of(gradient, mirrored(weight), band)
        if ctx.needs_input_grad[1]:
            band = band_for(channels, filters, side // 2, weights=True)
            d_weight = weight_gradient(image, gradient, band).to(weight.dtype)
        return d_image, d_weight


def convolve_repeatably(image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution by cuDNN whose gradient of the kernel is computed here, for deterministic mode.

    cuDNN's deterministic kernel for it takes 4.9 ms where the usual one takes 0.2 (H200, 64 → 16 channels).

    Args:
        image: (B, C, Z, Y, X), bf16 or float16.
        weight: (F, C, 3, 3, 3) with padding 1 or (F, C, 1, 1, 1), float32.
        bias: (F) or None.
    """
    result: Tensor = _OwnWeightGradient.apply(image, weight, bias)
    return result


class _OwnWeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        image = rows_of(image)
        half = weight.to(image.dtype, memory_format=torch.channels_last_3d)
        ctx.save_for_backward(image, half)
        ctx.kinds = weight.dtype, None if bias is None else bias.dtype
        padding = [weight.shape[2] // 2] * 3
        output: Tensor = torch.ops.aten.convolution(
            image, half, None if bias is None else bias.to(image.dtype), ONE, padding, ONE, False, ZERO, 1
        )
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        image, half = ctx.saved_tensors
        filters, channels, side = half.shape[:3]
        gradient = rows_of(gradient)
        d_image = None
        if ctx.needs_input_grad[0]:
            padding = [side // 2] * 3
            wanted = [True, False, False]
            d_image = torch.ops.aten.convolution_backward(
                gradient, image, half, None, ONE, padding, ONE, False, ZERO, 1, wanted
            )[0]
        d_weight = weight_gradient(image, gradient, band_for(channels, filters, side // 2, weights=True))
        kind, bias_kind = ctx.kinds
        d_bias = None if bias_kind is None else gradient.sum((0, 2, 3, 4), dtype=torch.float32).to(bias_kind)
        return d_image, d_weight.to(kind), d_bias
