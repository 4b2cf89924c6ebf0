"""Subregions that features are computed from: the contour, its hot part, or the shell around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import BoolArray, FeatureImage, Spacing, lesion_box, widened
from pipeline.settings.radiomics import Contour, RadiomicsSettings
from pipeline.volumes.grids import Slices


@dataclass(frozen=True)
class Shell:
    """The shell around a lesion.

    Attributes:
        box: Slices (z, y, x) of the image.
        mask: The voxels of the shell within the box.
    """

    box: Slices
    mask: BoolArray


def with_subregion(
    images: Mapping[str, FeatureImage], contour: Contour, settings: RadiomicsSettings
) -> dict[str, FeatureImage]:
    """Images whose masks are replaced by a subregion of the contour.

    - `manual`: the contour itself.
    - `threshold`: the voxels of the contour at or above a share of its SUVmax (Boellaard et al.,
      EANM guideline 2.0, 2015: 41 %), taken from the PET for both images.
    - `peritumoral`: imaged voxels outside the contour whose centres lie within a distance of its
      voxels (peritumoral region, Braman et al., Breast Cancer Res 2017;19:57).

    Args:
        images: Images by modality, with the contour as mask, not empty.
        contour: The subregion.
        settings: Threshold and distance.

    Raises:
        RadiomicsError: The subregion is empty.
    """
    if contour == "manual":
        return dict(images)
    if contour == "threshold":
        pet = images["pet"]
        hot = pet.mask & (pet.values >= settings.threshold_share * pet.values[pet.mask].max())
        masks = dict.fromkeys(images, hot)
    else:
        masks = {name: _shell_mask(image, settings.rim_mm) for name, image in images.items()}
    if not all(mask.any() for mask in masks.values()):
        raise RadiomicsError(f"the region `{contour}` is empty", action="look at the contour and at the crop")
    return {name: replace(image, mask=masks[name]) for name, image in images.items()}


def _shell_mask(image: FeatureImage, width_mm: float) -> BoolArray:
    shell = shell_around(image.mask, image.spacing_mm, width_mm)
    mask = np.zeros_like(image.mask)
    mask[shell.box] = shell.mask & image.inside[shell.box]
    return mask


def shell_around(mask: BoolArray, spacing_mm: Spacing, width_mm: float) -> Shell:
    """The shell around a lesion.

    A voxel belongs to it if its centre lies more than 0 and at most `width_mm` from the
    nearest voxel centre of the lesion.
    """
    from scipy import ndimage

    reach = [int(width_mm / s) + 1 for s in spacing_mm]
    box = widened(lesion_box(mask), mask.shape, (reach[0], reach[1], reach[2]))
    distance = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm)
    return Shell(box, (distance > 0) & (distance <= width_mm))
