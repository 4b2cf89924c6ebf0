"""SUV in reference regions, which a wrong weight, dose or time shifts in every patient alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.dicom.pet.normalisation import suv_scale
from pipeline.errors import SuvError
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import FloatArray, Grid, Volume

BODY_FROM = 0.1
"""SUV (g/mL) above which a voxel counts as body: fat takes up 0.2 to 0.3, noise in air stays below."""


@dataclass(frozen=True)
class BodyReference:
    """SUV of the body, found by its uptake.

    Attributes:
        rule: Which voxels count, in words.
        median: In the unit of the image; None without any such voxel.
        volume_ml: Volume of these voxels.
    """

    rule: str
    median: float | None
    volume_ml: float


@dataclass(frozen=True)
class RoiReference:
    """SUV in a reference region that was drawn.

    Attributes:
        rois: Names of its ROIs.
        mean: Mean SUV.
        sd: Standard deviation of SUV.
        voxels: Number of its voxels inside the PET.
    """

    rois: tuple[str, ...]
    mean: float
    sd: float
    voxels: int


def body_reference(volume: Volume, normalisation: str) -> BodyReference:
    """Median SUV of the voxels that are body by uptake, which needs no contour.

    In a whole-body FDG scan the mean over the body is 1 less what was excreted, the median
    somewhat lower; in an image of a part of the body it depends on the part.

    Args:
        volume: SUV image.
        normalisation: What the SUV is normalised by (`suv.normalisation`).
    """
    least = BODY_FROM * suv_scale(normalisation)
    body = volume.array > least
    count = int(body.sum())
    return BodyReference(
        rule=f"median of voxels with SUV > {least:g}",
        median=float(np.median(volume.array[body])) if count else None,
        volume_ml=round(count * volume.grid.voxel_ml(), 1),
    )


def roi_reference(suv: Path, rois: tuple[str, ...], mask: npt.NDArray[np.bool_], grid: Grid) -> RoiReference:
    """Mean SUV in a mask on any image's grid: the PET's nearest voxel at each voxel of the mask.

    Args:
        suv: Folder with the one `pet_suv*.nii.gz`.
        rois: Names of the ROIs that the mask contains.
        mask: Boolean (z, y, x).
        grid: Grid of the mask.

    Raises:
        SuvError: There is no SUV image, or the mask lies outside it.
    """
    files = sorted(suv.glob("pet_suv*.nii.gz"))
    if len(files) != 1:
        raise SuvError("there must be one SUV image", expected="pet_suv….nii.gz", got=f"{len(files)} files")
    pet = read_nifti(files[0], "pet_suvbw")
    index = np.rint(pet.grid.indices(grid.points(np.argwhere(mask)))).astype(int)
    inside = ((index >= 0) & (index < pet.grid.shape)).all(axis=1)
    values: FloatArray = pet.array[tuple(index[inside].T)].astype(np.float64)
    if not len(values):
        raise SuvError("the reference region lies outside the PET", where="contours.reference_roi")
    return RoiReference(
        rois, round(float(values.mean()), 4), round(float(values.std()), 4), voxels=len(values)
    )
