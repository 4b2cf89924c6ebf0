"""3D convolutions that a processor gets wrong or computes slowly in bf16, computed another way.

**Wrong.** oneDNN's bf16 weight gradient of a 3D convolution reads memory that was never written
where the input is thinner along z than the kernel, so that padding meets from both sides: seen
with torch 2.13.0 on AVX512-BF16, kernel 3, padding 1, z = 2, gradients of any size or NaN; all
other gradients and sizes agree with float32 to 0.3 %. A known relative: strided convolutions
whose output is one voxel wide (pytorch issue 169688). Such convolutions are the smallest of a
network, so float32 costs next to nothing there.

**Slow.** oneDNN's bf16 weight gradient works on blocks of 16 × 16 channels. At full resolution
these networks have 8 channels, so three quarters of its work are padding. In channels-last order
two voxels that neighbour along x are one voxel of twice the channels, without a copy: the
gradient of a 3×3×3 convolution of the paired image holds every product that the plain gradient
needs, and fills the blocks.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS = 8
"""Largest number of output channels at which pairs are faster."""
WORTHWHILE = 1 << 18
"""Voxels of a batch below which pairing costs more than it saves."""
ONE, ZERO = [1, 1, 1], [0, 0, 0]


def choose_by_input_size(network: torch.nn.Module) -> None:
    """Let every 3D convolution of a network choose its computation by the size of its input."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.forward = functools.partial(_forward, module)  # type: ignore[method-assign]


def _forward(module: torch.nn.Conv3d, image: Tensor) -> Tensor:
    if not is_thin(module, image):
        learns = torch.is_grad_enabled() and module.weight.requires_grad
        if learns and torch.is_autocast_enabled("cpu") and gains_from_pairs(module, image):
            return convolve_with_paired_gradient(module, image)
        return type(module).forward(module, image)
    with torch.autocast(image.device.type, enabled=False):
        result = type(module).forward(module, image.float())
    # In bf16 as its neighbours, so that tensors joined to it keep one type.
    return result.bfloat16() if torch.is_autocast_enabled(image.device.type) else result


def is_thin(module: torch.nn.Conv3d, image: Tensor) -> bool:
    """Whether the input is thinner than the kernel on an axis, or a strided output one voxel wide."""
    for size, kernel, dilation in zip(image.shape[2:], module.kernel_size, module.dilation, strict=True):
        if kernel > 1 and size < dilation * (kernel - 1) + 1:
            return True
    reach = module.dilation[2] * (module.kernel_size[2] - 1) + 1
    padding = 0 if isinstance(module.padding, str) else module.padding[2]
    width = (image.shape[4] + 2 * padding - reach) // module.stride[2] + 1
    return module.stride[2] > 1 and width <= 1


def gains_from_pairs(module: torch.nn.Conv3d, image: Tensor) -> bool:
    """Whether pairs are faster: 3×3×3 kernel, output of the input's size, few channels, a large even image."""
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


def convolve_with_paired_gradient(module: torch.nn.Conv3d, image: Tensor) -> Tensor:
    """The convolution in bf16; the gradients of its parameters are computed from pairs of voxels.

    Args:
        module: A convolution of which :func:`gains_from_pairs` is true.
        image: (B, C, Z, Y, X).
    """
    bias = module.weight.new_zeros(module.out_channels) if module.bias is None else module.bias
    with torch.autocast("cpu", enabled=False):
        half = image.bfloat16().contiguous(memory_format=torch.channels_last_3d)
        result: Tensor = _Convolve.apply(half, module.weight.bfloat16(), bias.bfloat16())
    return result


def _paired(image: Tensor) -> Tensor:
    """(B, C, Z, Y, X) channels-last → (B, 2C, Z, Y, X/2), channel s·C + c of pair p being voxel 2p + s."""
    batch, channels, z, y, x = image.shape
    return image.permute(0, 2, 3, 4, 1).reshape(batch, z, y, x // 2, 2 * channels).permute(0, 4, 1, 2, 3)


def unpair_gradient(gradient: Tensor, filters: int, channels: int) -> Tensor:
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
    """3×3×3 convolution with padding 1 whose weight gradient is taken from pairs of voxels."""

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
        # The kernel reads only the shape of this weight.
        shape = weight.new_empty(2 * filters, 2 * channels, 3, 3, 3)
        shape = shape.contiguous(memory_format=torch.channels_last_3d)
        _, paired_weight, paired_bias = back(
            _paired(gradient), _paired(image), shape, [2 * filters], ONE, ONE, ONE, False, ZERO, 1,
            [False, True, True],
        )  # fmt: skip
        d_bias = paired_bias.float().view(2, filters).sum(0)
        return (
            d_image,
            unpair_gradient(paired_weight, filters, channels).to(weight.dtype),
            d_bias.to(weight.dtype),
        )
