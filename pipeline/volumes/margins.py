"""Margins in millimetres: masks grown and shrunk, and shells around them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.volumes.grids import bounding_box

Mask = npt.NDArray[np.bool_]


def grow(mask: Mask, spacing_mm: tuple[float, float, float], margin_mm: float) -> Mask:
    """A mask with a margin.

    A voxel outside the mask is added if its centre lies within the margin of the centre of a
    voxel inside. For a negative margin, a voxel inside is removed if the centre of a voxel
    outside lies that near. Beyond the image there are no voxels that could remove any.

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
    box = _reachable_box(mask, spacing_mm, abs(margin_mm))
    part = mask[box]
    # The tolerance includes voxels at exactly the margin's distance, whatever the rounding.
    reach = abs(margin_mm) + 1e-6
    if margin_mm > 0:
        grown = distance_transform_edt(~part, sampling=spacing_mm) <= reach
    else:
        grown = part & (distance_transform_edt(part, sampling=spacing_mm) > reach)
    result = np.zeros_like(mask)
    result[box] = grown
    return result


def shell(mask: Mask, spacing_mm: tuple[float, float, float], inner_mm: float, outer_mm: float) -> Mask:
    """The shell around a mask from one margin to another, e.g. peritumoral tissue.

    Args:
        mask: Boolean (z, y, x).
        spacing_mm: Distance of voxel centres (z, y, x).
        inner_mm: Where the shell begins; 0: at the border of the mask; negative: inside it.
        outer_mm: Where it ends, > `inner_mm`.

    Raises:
        ValueError: The shell would have no thickness.
    """
    if outer_mm <= inner_mm:
        raise ValueError(f"outer_mm = {outer_mm:g} must be greater than inner_mm = {inner_mm:g}")
    return grow(mask, spacing_mm, outer_mm) & ~grow(mask, spacing_mm, inner_mm)


def _reachable_box(mask: Mask, spacing_mm: tuple[float, float, float], margin_mm: float) -> tuple[slice, ...]:
    """The part of the image that the margin of a mask that is not empty can reach, one voxel wider."""
    box = bounding_box(mask)
    assert box is not None
    reaches = [int(np.ceil(margin_mm / spacing)) + 1 for spacing in spacing_mm]
    return tuple(slice(max(0, s.start - n), s.stop + n) for s, n in zip(box, reaches, strict=True))
