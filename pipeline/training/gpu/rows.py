"""Images as rows of voxels: how the kernels see memory in channels-last order."""

from __future__ import annotations

import torch
from torch import Tensor


def voxel_stride(image: Tensor) -> int:
    """Distance of neighbouring voxels in elements, at least the number of channels; 0: these are no rows.

    The channels of a voxel must lie side by side and the voxels at one distance, as in channels-last
    order or in a slice of the channels of such an image (B, C, Z, Y, X).
    """
    batch, channels, z, y, x = image.shape
    if channels > 1 and image.stride(1) != 1:
        return 0
    sizes, strides = (x, y, z, batch), [image.stride(axis) for axis in (4, 3, 2, 0)]
    distance, length = 0, 1
    for size, stride in zip(sizes, strides, strict=True):
        if size > 1:
            if stride == 0:
                # An expanded tensor: the same memory for every voxel.
                return 0
            distance = distance or stride // length
            if stride != distance * length:
                return 0
        length *= size
    return max(distance, channels) if distance == 0 or distance >= channels else 0


def rows_of(image: Tensor) -> Tensor:
    """The image itself if it consists of rows, else a copy in channels-last order."""
    if voxel_stride(image):
        return image
    return image.contiguous(memory_format=torch.channels_last_3d)
