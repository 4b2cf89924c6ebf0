"""Isotropic resampling where a feature set asks for it."""

from __future__ import annotations

import numpy as np

from pipeline.radiomics.images import BoolArray, FloatArray, Spacing


def resampled(
    image: FloatArray, mask: BoolArray, spacing_mm: Spacing, wanted_mm: float | None
) -> tuple[FloatArray, BoolArray, Spacing]:
    """An image and its mask on an isotropic grid, or as they are.

    PyRadiomics' own resampling (`imageoperations.resampleImage`: B-spline for the image,
    nearest for the mask, around the lesion with five voxels to spare), so that values are
    those of a PyRadiomics call; it is not IBSI's, whose grids share their centre.

    Args:
        image: float (z, y, x).
        mask: Lesion (z, y, x), not empty.
        spacing_mm: Distance of voxel centres (z, y, x).
        wanted_mm: Voxel wanted; None: nothing is done.
    """
    if wanted_mm is None:
        return image, mask, spacing_mm
    import SimpleITK as sitk
    from radiomics import imageoperations

    pictures = [sitk.GetImageFromArray(image), sitk.GetImageFromArray(mask.astype(np.uint8))]
    for picture in pictures:
        picture.SetSpacing([float(s) for s in spacing_mm[::-1]])
    found, region = imageoperations.resampleImage(
        pictures[0],
        sitk.Cast(pictures[1], sitk.sitkUInt32),
        resampledPixelSpacing=[wanted_mm] * 3,
        interpolator=sitk.sitkBSpline,
        padDistance=5,
    )
    return (
        sitk.GetArrayFromImage(found),
        sitk.GetArrayFromImage(region) == 1,
        (wanted_mm, wanted_mm, wanted_mm),
    )
