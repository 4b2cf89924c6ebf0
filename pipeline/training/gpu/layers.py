"""Layers of the networks that run as kernels on an accelerator; everything else runs as PyTorch has it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from pipeline.nets.blocks import Conv3d, ConvNormRelu, NormRelu, UpsampleAndJoin
from pipeline.nets.pooling import MaxPool
from pipeline.training.gpu.conv import convolve, convolve_repeatably
from pipeline.training.gpu.join import upsample_and_join
from pipeline.training.gpu.norm import normalise_rectify_add
from pipeline.training.gpu.pool import max_pool

WORTHWHILE = 1 << 12
"""Elements of an image below which PyTorch's operators are as fast, and need not be compiled."""
LARGEST = 1 << 31
"""Elements above which 32-bit numbers cannot count them."""
DEVICES = frozenset({"cuda"})
FEW_CHANNELS = 48
FEW_FILTERS = 16
"""Channels and filters up to which the own convolution is faster than cuDNN's, which pads them to 32."""
FEW_FILTERS_DETERMINISTIC = 32
"""The same in deterministic mode, where cuDNN's gradients of weights take several times longer."""
MOST_FILTERS = 64
"""Filters up to which the own gradient of weights serves deterministic mode."""
CONVOLVED = 1 << 17
"""Voxels of a batch from which on it is (measured on an H200)."""


def replace(network: nn.Module) -> None:
    """Replace the forward methods of the layers that have kernels, in place."""
    for module in network.modules():
        if isinstance(module, ConvNormRelu) and _learns(module[1]):
            module.forward = functools.partial(_conv_norm_relu, module)  # type: ignore[method-assign]
        elif isinstance(module, NormRelu) and _learns(module):
            module.forward = functools.partial(_norm_relu, module)  # type: ignore[method-assign]
        elif isinstance(module, UpsampleAndJoin):
            module.forward = functools.partial(_upsample_and_join, module)  # type: ignore[method-assign]
        elif isinstance(module, MaxPool) and not module.padding:
            module.forward = functools.partial(_max_pool, module)  # type: ignore[method-assign]
        elif isinstance(module, Conv3d) and _keeps_size(module):
            module.forward = functools.partial(_convolution, module)  # type: ignore[method-assign]


def _learns(norm: nn.Module) -> bool:
    return (
        isinstance(norm, nn.BatchNorm3d)
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
    )


def half_type(image: Tensor, channels: int = 0) -> torch.dtype | None:
    """bf16 or float16 where this image is computed in it by a kernel; None: PyTorch's own operators run.

    Args:
        image: (B, C, Z, Y, X).
        channels: Channels of what comes out, where these may be more than the image's.
    """
    device = image.device.type
    if device not in DEVICES or image.dim() != 5 or image.numel() < WORTHWHILE:
        return None
    if _reach(image, channels) >= LARGEST:
        return None
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return image.dtype if image.dtype in (torch.bfloat16, torch.float16) else None


def _reach(image: Tensor, channels: int) -> int:
    """Elements that 32-bit places must count: of an image that may be part of a wider one, or of what comes out."""
    return image.numel() // image.shape[1] * max(image.shape[1], image.stride(4), channels)


def _conv_norm_relu(module: ConvNormRelu, x: Tensor, added: Tensor | None = None) -> Tensor:
    conv, norm = module[0], module[1]
    dtype = half_type(x, norm.num_features) if isinstance(norm, nn.BatchNorm3d) else None
    if dtype is None or not module.training or not isinstance(conv, nn.Conv3d):
        return type(module).forward(module, x, added)
    assert isinstance(norm, nn.BatchNorm3d)
    if has_few_channels(conv, x):
        convolved = convolve(x.to(dtype), conv.weight)
    else:
        convolved = conv._conv_forward(x, conv.weight, None)
    return normalise_rectify_add(convolved, norm, conv.bias, added)


def has_few_channels(conv: nn.Conv3d, image: Tensor) -> bool:
    """Whether the own convolution is the faster one."""
    strict = torch.are_deterministic_algorithms_enabled()
    return (
        conv.in_channels <= FEW_CHANNELS
        and conv.out_channels <= (FEW_FILTERS_DETERMINISTIC if strict else FEW_FILTERS)
        and image.numel() // image.shape[1] >= CONVOLVED
    )


def _keeps_size(conv: nn.Conv3d) -> bool:
    """Whether it is a plain 3×3×3 convolution with padding 1 or a plain 1×1×1 one."""
    side = conv.kernel_size[0]
    return (
        side in (1, 3)
        and conv.kernel_size == (side,) * 3
        and conv.padding == (side // 2,) * 3
        and conv.stride == conv.dilation == (1, 1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def _convolution(module: Conv3d, x: Tensor) -> Tensor:
    dtype = half_type(x, module.out_channels)
    strict = torch.are_deterministic_algorithms_enabled()
    learns = torch.is_grad_enabled() and module.weight.requires_grad
    if dtype is None or not strict or not learns or module.out_channels > MOST_FILTERS:
        return type(module).forward(module, x)
    return convolve_repeatably(x.to(dtype), module.weight, module.bias)


def _norm_relu(module: NormRelu, x: Tensor) -> Tensor:
    if half_type(x) is None or not module.training or x.dtype == torch.float32:
        return type(module).forward(module, x)
    return normalise_rectify_add(x, module)


def _upsample_and_join(module: UpsampleAndJoin, x: Tensor, fine: Tensor) -> Tensor:
    if half_type(fine, x.shape[1] + fine.shape[1]) is None or x.dtype != fine.dtype:
        return type(module).forward(module, x, fine)
    return upsample_and_join(x, fine)


def _max_pool(module: MaxPool, x: Tensor) -> Tensor:
    if half_type(x) is None:
        return type(module).forward(module, x)
    return max_pool(x, module.kernel, module.stride, module.ceil)
