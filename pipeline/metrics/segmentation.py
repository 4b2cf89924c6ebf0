"""Agreement of two masks: Dice and surface distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the surfaces of two masks, mm.

    Attributes:
        hd95: 95th percentile of all distances of both directions taken together.
        assd: Mean of all distances of both directions taken together.
        hausdorff: Largest distance.
    """

    hd95: float
    assd: float
    hausdorff: float


def dice(first: Mask, second: Mask) -> float:
    """Dice coefficient 2|A∩B| / (|A|+|B|) of two masks of one shape; 1 where both are empty."""
    a, b = _same_shape(first, second)
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def surface_distances(first: Mask, second: Mask, spacing_mm: tuple[float, ...]) -> SurfaceDistances:
    """Distances between boundary voxels (those with a face on the background), centre to centre.

    Args:
        first: Mask (Z, Y, X); outside the array is background.
        second: Mask of the same shape.
        spacing_mm: Voxel size along each axis, mm.

    Returns:
        Zeros where both masks are empty; infinity where one of them is.
    """
    from scipy.ndimage import distance_transform_edt

    a, b = _same_shape(first, second)
    if not a.any() or not b.any():
        value = 0.0 if a.any() == b.any() else float("inf")
        return SurfaceDistances(value, value, value)
    box = _bounding_box(a | b)
    edge_a, edge_b = _boundary(a[box]), _boundary(b[box])
    to_b = distance_transform_edt(~edge_b, sampling=spacing_mm)[edge_a]
    to_a = distance_transform_edt(~edge_a, sampling=spacing_mm)[edge_b]
    both = np.concatenate([to_b, to_a])
    return SurfaceDistances(float(np.percentile(both, 95)), float(both.mean()), float(both.max()))


def _same_shape(first: Mask, second: Mask) -> tuple[Mask, Mask]:
    a, b = np.asarray(first).astype(bool), np.asarray(second).astype(bool)
    if a.shape != b.shape:
        raise ValueError(f"masks of different shapes: {a.shape} and {b.shape}")
    return a, b


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    extents = (
        np.flatnonzero(mask.any(axis=tuple(k for k in range(mask.ndim) if k != axis)))
        for axis in range(mask.ndim)
    )
    return tuple(slice(int(e[0]), int(e[-1]) + 1) for e in extents)


def _boundary(mask: Mask) -> Mask:
    from scipy.ndimage import binary_erosion

    edge: Mask = mask & ~binary_erosion(mask, border_value=0)
    return edge
