"""Dropout in bf16 on a CPU, four decisions from one random number.

PyTorch draws each element's Bernoulli variable by itself, 6 ns each; a 64-bit number holds four
15-bit ones. The probability is rounded to 1/32768, and the scale is that of the rounded one,
so the expectation is exact.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 1 << 15
LOW_BITS = 0x7FFF7FFF7FFF7FFF
WORTHWHILE = 1 << 14
"""Elements below which PyTorch's own is as fast."""


def speed_up(net: torch.nn.Module) -> None:
    """Let every dropout of a network draw four decisions at a time."""
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.forward = functools.partial(_forward, module)  # type: ignore[method-assign]


def _forward(module: torch.nn.Dropout, image: Tensor) -> Tensor:
    dense = image.is_contiguous() or image.is_contiguous(memory_format=torch.channels_last_3d)
    dropped = round(module.p * LEVELS)
    ours = image.dtype == torch.bfloat16 and image.numel() >= WORTHWHILE and dense
    if not (module.training and ours and 0 < dropped < LEVELS):
        return type(module).forward(module, image)
    found: Tensor = _Drop.apply(image, _kept(image, dropped), LEVELS / (LEVELS - dropped))
    return found


def _kept(image: Tensor, dropped: int) -> Tensor:
    """int16 of the image's shape and memory order: all ones where an element stays, else 0."""
    count = image.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    draws = bits.bitwise_and_(LOW_BITS).view(torch.int16)[:count]
    # The sign of draw − dropped, spread over all bits, marks what falls.
    draws.sub_(dropped).bitwise_right_shift_(15).bitwise_not_()
    return draws.as_strided(image.shape, image.stride())


def _masked(image: Tensor, kept: Tensor, scale: float) -> Tensor:
    return image.view(torch.int16).bitwise_and(kept).view(torch.bfloat16).mul_(scale)


class _Drop(torch.autograd.Function):
    """x·kept·scale; the gradient likewise (Srivastava et al. 2014, scaled at training time)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return _masked(image, kept, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return _masked(gradient, kept, ctx.scale), None, None
