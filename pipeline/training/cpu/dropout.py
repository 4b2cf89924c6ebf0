"""Dropout in bf16 on a CPU, four decisions from one random number.

PyTorch draws each element's Bernoulli variable separately, 6 ns each; one 64-bit random number
holds four of 15 bits. The probability is rounded to a multiple of 1/32768 and the output is scaled
for the rounded probability, so that the expectation is exact.
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
"""Number of elements below which PyTorch's own dropout is as fast."""


def draw_four_at_a_time(network: torch.nn.Module) -> None:
    """Let every dropout layer of a network take four decisions from one random number."""
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.forward = functools.partial(_forward, module)  # type: ignore[method-assign]


def _forward(module: torch.nn.Dropout, image: Tensor) -> Tensor:
    dense = image.is_contiguous() or image.is_contiguous(memory_format=torch.channels_last_3d)
    dropped = round(module.p * LEVELS)
    suitable = image.dtype == torch.bfloat16 and image.numel() >= WORTHWHILE and dense
    if not (module.training and suitable and 0 < dropped < LEVELS):
        return type(module).forward(module, image)
    result: Tensor = _Dropout.apply(image, _keep_mask(image, dropped), LEVELS / (LEVELS - dropped))
    return result


def _keep_mask(image: Tensor, dropped: int) -> Tensor:
    """int16 of the image's shape and memory order: all bits set where an element stays, else 0."""
    count = image.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    draws = bits.bitwise_and_(LOW_BITS).view(torch.int16)[:count]
    # The sign of draw − dropped, spread over all bits, marks what is dropped.
    draws.sub_(dropped).bitwise_right_shift_(15).bitwise_not_()
    return draws.as_strided(image.shape, image.stride())


def _apply_mask(image: Tensor, keep_mask: Tensor, scale: float) -> Tensor:
    return image.view(torch.int16).bitwise_and(keep_mask).view(torch.bfloat16).mul_(scale)


class _Dropout(torch.autograd.Function):
    """x · mask · scale; its gradient likewise (Srivastava et al. 2014, scaled at training time)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, keep_mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep_mask)
        ctx.scale = scale
        return _apply_mask(image, keep_mask, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (keep_mask,) = ctx.saved_tensors
        return _apply_mask(gradient, keep_mask, ctx.scale), None, None
