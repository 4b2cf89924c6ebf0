"""Weight gradients of convolutions to few channels, two neighbouring voxels at a time.

oneDNN's bf16 weight gradient works on blocks of 16 × 16 channels. At full resolution these
networks have 8, so three quarters of its work are padding. In channels-last order two voxels
that neighbour along x are one voxel of twice the channels, without a copy: the gradient of a
3×3×3 convolution of the paired image holds every product that the plain gradient needs, and
fills the blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS = 8
"""Most output channels of a convolution that gains."""
WORTHWHILE = 1 << 18
"""Voxels of a batch below which folding costs more than it saves."""
ONE, ZERO = [1, 1, 1], [0, 0, 0]


def pays(module: torch.nn.Conv3d, image: Tensor) -> bool:
    """Whether a convolution is one of those: 3×3×3, same size, few channels, a large even image."""
    return (
        module.out_channels <= CHANNELS
        and module.kernel_size == (3, 3, 3)
        and module.stride == module.dilation == (1, 1, 1)
        and module.padding in ((1, 1, 1), "same")
        and module.padding_mode == "zeros"
        and module.groups == 1
        and image.shape[-1] % 2 == 0
        and image.numel() // image.shape[1] >= WORTHWHILE
    )


def convolve(module: torch.nn.Conv3d, image: Tensor) -> Tensor:
    """The convolution in bf16; parameters get their gradient by pairs.

    Args:
        module: One that :func:`pays`.
        image: (B, C, Z, Y, X).
    """
    bias = module.weight.new_zeros(module.out_channels) if module.bias is None else module.bias
    with torch.autocast("cpu", enabled=False):
        half = image.bfloat16().contiguous(memory_format=torch.channels_last_3d)
        found: Tensor = _Convolve.apply(half, module.weight.bfloat16(), bias.bfloat16())
    return found


def _paired(image: Tensor) -> Tensor:
    """(B, C, Z, Y, X) channels-last → (B, 2C, Z, Y, X/2), channel s·C + c of pair p being voxel 2p + s."""
    batch, channels, z, y, x = image.shape
    return image.permute(0, 2, 3, 4, 1).reshape(batch, z, y, x // 2, 2 * channels).permute(0, 4, 1, 2, 3)


def unpaired(gradient: Tensor, filters: int, channels: int) -> Tensor:
    """(2F, 2C, 3, 3, 3) of the paired image → (F, C, 3, 3, 3), summed in float32.

    Output voxel 2p + t reads input voxel 2(p + j − 1) + s through tap 2j + s − t − 1.
    """
    parts = gradient.float().view(2, filters, 2, channels, 3, 3, 3)
    taps = []
    for tap in range(3):
        pairs = [(j, s, t) for j in range(3) for s in range(2) for t in range(2) if 2 * j + s - t - 1 == tap]
        taps.append(torch.stack([parts[t, :, s, :, :, :, j] for j, s, t in pairs]).sum(0))
    return torch.stack(taps, dim=-1)


class _Convolve(torch.autograd.Function):
    """3×3×3 convolution with padding 1."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(image, weight)
        return torch.ops.aten.convolution(image, weight, bias, ONE, ONE, ONE, False, ZERO, 1)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        image, weight = ctx.saved_tensors
        filters, channels = weight.shape[:2]
        back = torch.ops.aten.convolution_backward
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        d_image = None
        if ctx.needs_input_grad[0]:
            d_image = back(
                gradient, image, weight, None, ONE, ONE, ONE, False, ZERO, 1, [True, False, False]
            )[0]
        # Only the shape of this weight counts.
        shape = weight.new_empty(2 * filters, 2 * channels, 3, 3, 3)
        shape = shape.contiguous(memory_format=torch.channels_last_3d)
        _, grown, by_one = back(
            _paired(gradient), _paired(image), shape, [2 * filters], ONE, ONE, ONE, False, ZERO, 1,
            [False, True, True],
        )  # fmt: skip
        d_bias = by_one.float().view(2, filters).sum(0)
        return d_image, unpaired(grown, filters, channels).to(weight.dtype), d_bias.to(weight.dtype)
