"""Which voxels features are taken from: the contour, its hot part, or the shell around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import BoolArray, Box, FeatureImage, Spacing, lesion_box, widened
from pipeline.settings.radiomics import Contour, RadiomicsSettings


def with_region(
    pictures: Mapping[str, FeatureImage], contour: Contour, settings: RadiomicsSettings
) -> dict[str, FeatureImage]:
    """Pictures whose masks are the wanted region of the contour they have.

    - `manual`: as it is.
    - `threshold`: its voxels at or above a share of its SUVmax (Boellaard et al., EANM
      guideline 2.0, 2015: 41 %); of the PET, for both images.
    - `peritumoral`: imaged voxels outside it whose centres lie within a distance of its voxels
      (peritumoral region, Braman et al., Breast Cancer Res 2017;19:57).

    Args:
        pictures: By modality, with the contour as mask, not empty.
        contour: Which region.
        settings: Its limits.

    Raises:
        RadiomicsError: The region is empty.
    """
    if contour == "manual":
        return dict(pictures)
    if contour == "threshold":
        pet = pictures["pet"]
        hot = pet.mask & (pet.image >= settings.threshold_share * pet.image[pet.mask].max())
        masks = dict.fromkeys(pictures, hot)
    else:
        masks = {name: _shell(picture, settings.rim_mm) for name, picture in pictures.items()}
    if not all(mask.any() for mask in masks.values()):
        raise RadiomicsError(f"the region `{contour}` is empty", action="look at the contour and at the crop")
    return {name: replace(picture, mask=masks[name]) for name, picture in pictures.items()}


def _shell(picture: FeatureImage, width_mm: float) -> BoolArray:
    box, shell = rim(picture.mask, picture.spacing_mm, width_mm)
    mask = np.zeros_like(picture.mask)
    mask[box] = shell & picture.inside[box]
    return mask


def rim(mask: BoolArray, spacing_mm: Spacing, width_mm: float) -> tuple[Box, BoolArray]:
    """The shell around a lesion: a box (slices z, y, x) and the shell's voxels within it.

    A voxel belongs to it if its centre lies more than 0 and at most `width_mm` from the
    nearest voxel centre of the lesion.
    """
    from scipy import ndimage

    reach = [int(width_mm / s) + 1 for s in spacing_mm]
    box = widened(lesion_box(mask), mask.shape, (reach[0], reach[1], reach[2]))
    distance = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm)
    return box, (distance > 0) & (distance <= width_mm)
