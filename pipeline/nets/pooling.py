"""Pooling and linear interpolation that give the same bits each time on an accelerator, where that is asked for.

PyTorch has no deterministic gradient on CUDA for some of these and raises an error instead (the
documentation of `torch.use_deterministic_algorithms` lists them; the list shrinks from version to
version). In deterministic mode they are therefore composed of slices, comparisons and matrix
products here; on a CPU and in every other mode PyTorch's own operators run, which are faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import at_least_float32
from pipeline.nets.pointwise import must_be_deterministic as must_be_deterministic

Slices = tuple[Any, ...]


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
    pooled: Tensor = _MaxPool.apply(x, _Window(kernel, stride, padding, ceil))  # type: ignore[no-untyped-call]
    return pooled


@dataclass(frozen=True)
class _Window:
    """Arguments of a max pooling, as in :func:`max_pool`."""

    kernel: int
    stride: int
    padding: int
    ceil: bool


class _MaxPool(torch.autograd.Function):
    """PyTorch's max pooling; each window's gradient goes to its maximum, in the same order each time.

    PyTorch adds the gradients of windows by atomic additions, whose order varies. Where windows do
    not overlap a voxel has one gradient at most, and there is no order: PyTorch's own kernel may run.
    Overlapping windows are added one place of the window after the other.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: _Window) -> Tensor:
        pool: Callable[..., Any] = functional.max_pool3d if x.dim() == 5 else functional.max_pool2d
        size = (window.kernel, window.stride, window.padding)
        result, chosen = pool(x, *size, ceil_mode=window.ceil, return_indices=True)
        ctx.window, ctx.apart = window, window.stride >= window.kernel
        if ctx.apart:
            ctx.save_for_backward(x, chosen)
        else:
            ctx.shape = x.shape
            ctx.save_for_backward(_place_in_window(chosen, x.shape[2:], window))
        return result  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        window: _Window = ctx.window
        if not ctx.apart:
            return _add_windows(gradient, ctx.saved_tensors[0], ctx.shape, window), None
        x, chosen = ctx.saved_tensors
        kernel, stride, padding = (
            [n] * (x.dim() - 2) for n in (window.kernel, window.stride, window.padding)
        )
        spread = torch.ops.aten.max_pool3d_with_indices_backward
        if x.dim() == 4:
            spread = torch.ops.aten.max_pool2d_with_indices_backward
        with _any_kernel():
            ones = [1] * (x.dim() - 2)
            return spread(gradient, x, kernel, stride, padding, ones, window.ceil, chosen), None


@contextmanager
def _any_kernel() -> Iterator[None]:
    """Let PyTorch run a kernel that it does not know to be deterministic here."""
    strict = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(strict)


def _place_in_window(chosen: Tensor, sides: Sequence[int], window: _Window) -> Tensor:
    """Which place of its window each maximum has, numbered as :func:`product` does; uint8.

    Args:
        chosen: (B, C, *fewer) int64 places in the flattened image, as PyTorch returns them.
        sides: Sides of the image.
        window: The window.
    """
    place = torch.zeros((), dtype=torch.int64, device=chosen.device)
    below = 1
    for axis in range(len(sides), 0, -1):
        at = chosen // below % sides[axis - 1]
        starts = torch.arange(chosen.shape[axis + 1], device=chosen.device) * window.stride - window.padding
        starts = starts.view(-1, *[1] * (len(sides) - axis))
        place = place + (at - starts) * window.kernel ** (len(sides) - axis)
        below *= sides[axis - 1]
    return place.to(torch.uint8)


def _add_windows(gradient: Tensor, place: Tensor, shape: torch.Size, window: _Window) -> Tensor:
    """Gradient of the image (B, C, *sides) from those of the windows, added place by place."""
    fewer = gradient.shape[2:]
    padded = [(n - 1) * window.stride + window.kernel for n in fewer]
    covered = [max(p, s + 2 * window.padding) for p, s in zip(padded, shape[2:], strict=True)]
    total = torch.zeros(*shape[:2], *covered, dtype=gradient.dtype, device=gradient.device)
    for number, region in enumerate(_windows(fewer, window.kernel, window.stride)):
        total[region] += torch.where(place == number, gradient, 0)
    inner: Slices = (..., *(slice(window.padding, window.padding + side) for side in shape[2:]))
    return total[inner]


def _windows(sides: Sequence[int], kernel: int, stride: int) -> list[Slices]:
    """For each place within a window the slices that pick it out of all windows."""
    return [
        (..., *(slice(at, at + (n - 1) * stride + 1, stride) for at, n in zip(offset, sides, strict=True)))
        for offset in product(range(kernel), repeat=len(sides))
    ]


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
            weights = _linear_weights(grown.shape[axis], side, grown.device).to(grown.dtype)
            grown = (grown.movedim(axis, -1) @ weights.T).movedim(-1, axis)
        result: Tensor = grown.to(x.dtype)
        return result


def _linear_weights(old: int, new: int, device: torch.device) -> Tensor:
    """(new, old): the share of each old voxel in each new one, of centres half a voxel from the ends; float64."""
    at = ((torch.arange(new, dtype=torch.float64, device=device) + 0.5) * old / new - 0.5).clamp(min=0.0)
    below = at.floor()
    above = (below + 1).clamp(max=old - 1)
    share = (at - below)[:, None]
    voxels = torch.arange(old, dtype=torch.float64, device=device)
    return (voxels == below[:, None]) * (1.0 - share) + (voxels == above[:, None]) * share
