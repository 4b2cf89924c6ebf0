"""Pooling and linear interpolation that give the same bits each time on an accelerator, where that is asked for.

PyTorch has no deterministic gradient on CUDA for some of these and raises an error instead (the
documentation of `torch.use_deterministic_algorithms` lists them; the list shrinks from version to
version). In deterministic mode they are therefore composed of slices, comparisons and matrix
products here; on a CPU and in every other mode PyTorch's own operators run, which are faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import at_least_float32

Slices = tuple[Any, ...]


def must_be_deterministic(x: Tensor) -> bool:
    """Whether a tensor lies on an accelerator that has to give the same bits each time."""
    return x.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()


def max_pool(
    x: Tensor, kernel: int, stride: int | None = None, padding: int = 0, ceil: bool = False
) -> Tensor:
    """Maximum of windows of `kernel` voxels a side; (B, C, *sides) with 2 or 3 sides.

    Args:
        x: Image.
        kernel: Side of a window.
        stride: Distance between windows; None: `kernel`.
        padding: Voxels of minus infinity at each end of each side.
        ceil: Whether a window may reach over the end, so that sides are rounded up.
    """
    stride = stride or kernel
    if not must_be_deterministic(x):
        pool = functional.max_pool3d if x.dim() == 5 else functional.max_pool2d
        return pool(x, kernel, stride, padding, ceil_mode=ceil)  # type: ignore[no-any-return]
    sides = [_pooled_side(side, (kernel, stride, padding), ceil) for side in x.shape[2:]]
    ends = [
        max(0, (out - 1) * stride + kernel - side - padding)
        for out, side in zip(sides, x.shape[2:], strict=True)
    ]
    margins = [margin for end in reversed(ends) for margin in (padding, end)]
    padded = functional.pad(x, margins, value=-torch.inf) if any(margins) else x
    pooled: Tensor = _FirstMaximum.apply(padded, _windows(sides, kernel, stride))  # type: ignore[no-untyped-call]
    return pooled


def _windows(sides: Sequence[int], kernel: int, stride: int) -> list[Slices]:
    """For each place within a window the slices that pick it out of all windows."""
    return [
        (..., *(slice(at, at + (n - 1) * stride + 1, stride) for at, n in zip(offset, sides, strict=True)))
        for offset in product(range(kernel), repeat=len(sides))
    ]


def _pooled_side(side: int, window: tuple[int, int, int], ceil: bool) -> int:
    kernel, stride, padding = window
    span = side + 2 * padding - kernel
    out = (-(-span // stride) if ceil else span // stride) + 1
    # As in PyTorch: no window starts in the padding behind the image.
    return out - 1 if ceil and (out - 1) * stride >= side + padding else out


class _FirstMaximum(torch.autograd.Function):
    """The maximum over slices; its gradient goes to the first of them that has it, as PyTorch's does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: Sequence[Slices]) -> Tensor:
        result = x[windows[0]].clone()
        for window in windows[1:]:
            result = torch.maximum(result, x[window])
        ctx.save_for_backward(x, result)
        ctx.windows = windows
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, result = ctx.saved_tensors
        total = torch.zeros_like(x)
        free = torch.ones_like(result, dtype=torch.bool)
        for window in ctx.windows:
            chosen = free & (x[window] == result)
            total[window] += torch.where(chosen, gradient, 0)
            free &= ~chosen
        return total, None


class MaxPool(nn.Module):
    """:func:`max_pool` as a layer."""

    def __init__(self, kernel: int, stride: int | None = None, padding: int = 0, ceil: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.ceil = kernel, stride or kernel, padding, ceil

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *sides) → (B, C, *fewer)."""
        return max_pool(x, self.kernel, self.stride, self.padding, self.ceil)


def mean_pool(x: Tensor, kernel: int, stride: int | None = None) -> Tensor:
    """Mean of windows of `kernel` voxels a side; (B, C, Z, Y, X)."""
    stride = stride or kernel
    if not must_be_deterministic(x):
        return functional.avg_pool3d(x, kernel, stride)  # type: ignore[no-any-return]
    sides = [(side - kernel) // stride + 1 for side in x.shape[2:]]
    return (
        torch.stack([at_least_float32(x[window]) for window in _windows(sides, kernel, stride)])
        .mean(0)
        .to(x.dtype)
    )


class MeanPool(nn.Module):
    """:func:`mean_pool` as a layer."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Z, Y, X) → (B, C, *fewer)."""
        return mean_pool(x, self.kernel)


def adaptive_max_pool(x: Tensor, bins: int) -> Tensor:
    """Maximum in `bins` parts of each side, whatever the sides: (B, C, bins, bins[, bins])."""
    if not must_be_deterministic(x):
        pool: Callable[..., Any] = (
            functional.adaptive_max_pool3d if x.dim() == 5 else functional.adaptive_max_pool2d
        )
        return pool(x, bins)  # type: ignore[no-any-return]
    parts = [[slice(n * i // bins, -(-n * (i + 1) // bins)) for i in range(bins)] for n in x.shape[2:]]
    cells = [x[:, :, *cell].flatten(2).max(2).values for cell in product(*parts)]
    grid: Tensor = torch.stack(cells, 2).unflatten(2, (bins,) * len(parts))
    return grid


def resize_linear(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Linear interpolation to other sides, corners not aligned; (B, C, *sides) with 2 or 3 sides."""
    if not must_be_deterministic(x):
        mode = "trilinear" if x.dim() == 5 else "bilinear"
        return functional.interpolate(x, tuple(sides), mode=mode)  # type: ignore[no-any-return]
    with torch.autocast(x.device.type, enabled=False):
        grown: Tensor = at_least_float32(x)
        for axis, side in enumerate(sides, 2):
            weights = _linear_weights(grown.shape[axis], side).to(grown)
            grown = (grown.movedim(axis, -1) @ weights.T).movedim(-1, axis)
        result: Tensor = grown.to(x.dtype)
        return result


def _linear_weights(old: int, new: int) -> Tensor:
    """(new, old): the share of each old voxel in each new one, of centres half a voxel from the ends."""
    at = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(min=0.0)
    below = at.floor().long()
    above = (below + 1).clamp(max=old - 1)
    share = at - below
    weights = torch.zeros(new, old, dtype=torch.float64)
    rows = torch.arange(new)
    weights[rows, below] += 1.0 - share
    weights[rows, above] += share
    return weights
