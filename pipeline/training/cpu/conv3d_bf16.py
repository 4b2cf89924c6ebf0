"""Convolutions that a processor gets wrong or does slowly in bf16, run another way.

oneDNN's bf16 weight gradient of a 3D convolution reads memory nobody wrote where the input is
thinner along z than the kernel, so that padding meets from both sides: seen with torch 2.13.0
on AVX512-BF16, kernel 3, padding 1, z = 2, gradients of any size or NaN; all other gradients
and sizes agree with float32 to 0.3 %. A known relative: strided convolutions whose output is
one voxel wide (pytorch issue 169688). Such convolutions are the smallest of a network, so
float32 costs next to nothing there. Convolutions to few channels take the way of `pairs.py`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def guard(net: torch.nn.Module) -> None:
    """Make every 3D convolution of a network choose its way by the size of its input."""
    import torch

    for module in net.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.forward = functools.partial(_forward, module)  # type: ignore[method-assign]


def _forward(module: torch.nn.Conv3d, image: torch.Tensor) -> torch.Tensor:
    import torch

    from pipeline.training.cpu.conv3d_weight_grad import convolve, pays

    if not is_thin(module, image):
        grows = torch.is_grad_enabled() and module.weight.requires_grad
        if grows and torch.is_autocast_enabled("cpu") and pays(module, image):
            return convolve(module, image)
        return type(module).forward(module, image)
    with torch.autocast(image.device.type, enabled=False):
        wide = type(module).forward(module, image.float())
    # In bf16 as its neighbours, so that tensors joined to it keep one type.
    return wide.bfloat16() if torch.is_autocast_enabled(image.device.type) else wide


def is_thin(module: torch.nn.Conv3d, image: torch.Tensor) -> bool:
    """Whether the input is thinner than the kernel on an axis, or a strided output one wide."""
    for size, kernel, dilation in zip(image.shape[2:], module.kernel_size, module.dilation, strict=True):
        if kernel > 1 and size < dilation * (kernel - 1) + 1:
            return True
    reach = module.dilation[2] * (module.kernel_size[2] - 1) + 1
    padding = 0 if isinstance(module.padding, str) else module.padding[2]
    width = (image.shape[4] + 2 * padding - reach) // module.stride[2] + 1
    return module.stride[2] > 1 and width <= 1
