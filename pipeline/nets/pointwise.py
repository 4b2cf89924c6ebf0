"""1×1×1 convolutions, on an accelerator that has to repeat bit for bit as products of matrices.

A deterministic step of DeepMTS at the paper's size spent 137 of its 183 ms in 28 calls of cuDNN's
`wgrad2d_grouped_direct_kernel` (H200, torch 2.11), a gradient of weights without tensor cores; convolutions
of one voxel are the ones that cuDNN can treat as 2D. What products save has not been measured yet.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def must_be_deterministic(x: Tensor) -> bool:
    """Whether a tensor lies on an accelerator that has to give the same bits each time."""
    return x.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()


def point_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.conv3d` with a kernel of one voxel: (B, F, Z, Y, X) from (B, C, Z, Y, X).

    Args:
        x: Image.
        weight: (F, C, 1, 1, 1).
        bias: (F), or None.
    """
    if not must_be_deterministic(x):
        return functional.conv3d(x, weight, bias)
    return by_products(x, weight, bias)


def by_products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same, a product for each slice; arguments as in :func:`point_convolution`.

    In channels-last order nothing is copied. A product for each slice instead of one for all: the
    gradient of the weights is then a product for each slice and their sum, which keeps an accelerator
    busy, where one product would add up millions of voxels for a handful of numbers.
    """
    batch, channels, *sides = x.shape
    rows = x.movedim(1, -1).reshape(batch * sides[0], -1, channels)
    result = torch.bmm(rows, weight.flatten(1).T.expand(len(rows), -1, -1))
    if bias is not None:
        result = result + bias.to(result.dtype)
    return result.view(batch, *sides, -1).movedim(-1, 1)
