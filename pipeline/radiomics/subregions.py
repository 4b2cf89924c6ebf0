"""Subregions that features are computed from: the contour, its hot part, or the shell around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import BoolArray, FeatureImage, Spacing, lesion_box, widened
from pipeline.radiomics.native_pet import carried_mask
from pipeline.radiomics.sources import PatientImages
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
    patient: PatientImages, contour: Contour, settings: RadiomicsSettings
) -> dict[str, FeatureImage]:
    """Images whose masks are replaced by a subregion of the contour.

    - `manual`: the contour itself.
    - `threshold`: the voxels of the contour at or above a share of its SUVmax (Boellaard et al.,
      EANM guideline 2.0, 2015: 41 %), taken from the native PET and carried to each image.
    - `peritumoral`: imaged voxels outside the contour whose centres lie within a distance of its
      voxels (peritumoral region, Braman et al., Breast Cancer Res 2017;19:57).

    Args:
        patient: Images with a contour, not empty, and the native PET.
        contour: The subregion.
        settings: Threshold and distance.

    Raises:
        RadiomicsError: The subregion is empty.
    """
    images = patient.images
    if contour == "manual":
        return dict(images)
    if contour == "threshold":
        masks = _hot_masks(patient, settings.threshold_share)
    else:
        masks = {name: _shell_mask(image, settings.rim_mm) for name, image in images.items()}
    if not all(mask.any() for mask in masks.values()):
        raise RadiomicsError(f"the region `{contour}` is empty", action="look at the contour and at the crop")
    return {name: replace(image, mask=masks[name]) for name, image in images.items()}


def _hot_masks(patient: PatientImages, share: float) -> dict[str, BoolArray]:
    """The voxels of the native PET at or above a share of SUVmax, on the grid of each image."""
    assert patient.pet is not None
    pet = patient.pet.image
    if not pet.mask.any():
        return {name: np.zeros_like(image.mask) for name, image in patient.images.items()}
    hot = pet.mask & (pet.values >= share * pet.values[pet.mask].max())
    by_grid = {id(place): carried_mask(patient.pet, hot, place) for place in patient.grids.values()}
    return {name: by_grid[id(patient.grids[name])] for name in patient.images}


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
