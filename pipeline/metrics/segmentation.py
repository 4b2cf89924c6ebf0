"""Agreement of two masks: Dice, surface distances, lesions."""

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


@dataclass(frozen=True)
class LesionAgreement:
    """Predicted against manual mask of a patient, lesion by lesion.

    Attributes:
        found: Number of manual lesions that the predicted mask touches.
        missed: Number of those that it does not.
        false: Number of predicted lesions that no manual one touches.
        predicted_ml: Volume of the predicted mask, mL.
        manual_ml: Volume of the manual mask, mL.
    """

    found: int
    missed: int
    false: int
    predicted_ml: float
    manual_ml: float

    def columns(self) -> tuple[float, ...]:
        """Values of :data:`pipeline.tables.predictions.LESIONS`."""
        return (self.found, self.missed, self.false, self.predicted_ml, self.manual_ml)


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


def lesion_agreement(predicted: Mask, manual: Mask, spacing_mm: tuple[float, ...]) -> LesionAgreement:
    """Compare two masks of one shape by their connected components, voxels that share a corner together.

    A manual lesion is found where it shares a voxel with the predicted mask, and a predicted one is false where it
    shares none with the manual mask: the false negatives and false positives of autoPET (Gatidis et al., Nat Mach
    Intell 2024; 6: 1396), counted by lesions.

    Args:
        predicted: Mask (Z, Y, X).
        manual: Mask of the same shape.
        spacing_mm: Voxel size along each axis, mm.
    """
    predicted, manual = _same_shape(predicted, manual)
    found, missed = _touched(manual, predicted)
    false = _touched(predicted, manual)[1]
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    volumes = (float(mask.sum()) * voxel_ml for mask in (predicted, manual))
    return LesionAgreement(found, missed, false, *volumes)


def _touched(mask: Mask, other: Mask) -> tuple[int, int]:
    """How many components of a mask share a voxel with another mask, and how many do not."""
    from scipy.ndimage import label

    if not mask.any():
        return 0, 0
    numbers, count = label(mask, np.ones((3,) * mask.ndim))
    touched = len(np.unique(numbers[mask & other]))
    return touched, int(count) - touched


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
