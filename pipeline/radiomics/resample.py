"""Isotropic resampling where a feature set asks for it."""

from __future__ import annotations

import numpy as np

from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import Picture


def resampled(picture: Picture, wanted_mm: float | None) -> Picture:
    """A picture on an isotropic grid around its lesion, or as it is.

    PyRadiomics' own resampling (`imageoperations.resampleImage`: B-spline for the image,
    nearest for the mask, around the lesion with five voxels to spare), so that values are
    those of a PyRadiomics call; it is not IBSI's, whose grids share their centre. What was
    imaged is not resampled: all of the result counts as imaged.

    Args:
        picture: Image with a mask that is not empty.
        wanted_mm: Voxel wanted; None: nothing is done.

    Raises:
        RadiomicsError: No voxel of the coarser grid falls into the lesion.
    """
    if wanted_mm is None:
        return picture
    import SimpleITK as sitk
    from radiomics import imageoperations

    image, mask = (
        sitk.GetImageFromArray(picture.image),
        sitk.GetImageFromArray(picture.mask.astype(np.uint32)),
    )
    for one in (image, mask):
        one.SetSpacing([float(s) for s in picture.spacing_mm[::-1]])
    found, region = imageoperations.resampleImage(
        image,
        mask,
        resampledPixelSpacing=[wanted_mm] * 3,
        interpolator=sitk.sitkBSpline,
        padDistance=5,
    )
    lesion = sitk.GetArrayFromImage(region) == 1
    if not lesion.any():
        raise RadiomicsError("the lesion vanishes at the feature set's voxel size", got=f"{wanted_mm} mm")
    spacing = (wanted_mm, wanted_mm, wanted_mm)
    return Picture(sitk.GetArrayFromImage(found), lesion, np.ones_like(lesion), spacing)
