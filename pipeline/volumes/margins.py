"""Masks grown, shrunk and hollowed by millimetres."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def grow(mask: Mask, spacing_mm: tuple[float, float, float], margin_mm: float) -> Mask:
    """A mask with a margin.

    A voxel outside joins where its centre is within the margin of the centre of a voxel
    inside; for a negative margin one inside leaves where a centre outside is that near.
    What lies beyond the image counts as outside the lesion but takes nothing from it.

    Args:
        mask: Boolean (z, y, x).
        spacing_mm: Distance of voxel centres (z, y, x).
        margin_mm: Euclidean distance; negative shrinks.
    """
    from scipy.ndimage import distance_transform_edt

    mask = mask.astype(bool)
    if margin_mm == 0 or not mask.any():
        return mask.copy()
    if margin_mm < 0 and mask.all():
        return mask.copy()
    box = _box(mask, spacing_mm, abs(margin_mm))
    part = mask[box]
    # The tolerance keeps voxels at exactly the margin's distance in, whatever the rounding.
    reach = abs(margin_mm) + 1e-6
    if margin_mm > 0:
        grown = distance_transform_edt(~part, sampling=spacing_mm) <= reach
    else:
        grown = part & (distance_transform_edt(part, sampling=spacing_mm) > reach)
    result = np.zeros_like(mask)
    result[box] = grown
    return result


def ring(mask: Mask, spacing_mm: tuple[float, float, float], inner_mm: float, outer_mm: float) -> Mask:
    """The shell around a mask from one margin to another, e.g. peritumoral tissue.

    Args:
        mask: Boolean (z, y, x).
        spacing_mm: Distance of voxel centres (z, y, x).
        inner_mm: Where the shell begins; 0 = the lesion's border, negative = inside it.
        outer_mm: Where it ends, > `inner_mm`.

    Raises:
        ValueError: The shell would have no thickness.
    """
    if outer_mm <= inner_mm:
        raise ValueError(f"outer_mm = {outer_mm:g} must be greater than inner_mm = {inner_mm:g}")
    return grow(mask, spacing_mm, outer_mm) & ~grow(mask, spacing_mm, inner_mm)


def _box(mask: Mask, spacing_mm: tuple[float, float, float], margin_mm: float) -> tuple[slice, ...]:
    """The part of the image that the margin can reach, one voxel wider."""
    found = []
    for axis, spacing in enumerate(spacing_mm):
        other = tuple(a for a in range(mask.ndim) if a != axis)
        hit = np.flatnonzero(mask.any(axis=other))
        reach = int(np.ceil(margin_mm / spacing)) + 1
        found.append(slice(max(0, int(hit[0]) - reach), int(hit[-1]) + 1 + reach))
    return tuple(found)
