"""SUV in reference regions, which a wrong weight, dose or time shifts in every patient alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dicom.contours.roi import Image, Mask, RoiMask, union
from pipeline.errors import SuvError
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import FloatArray, Volume

BODY_FROM = 0.1
"""SUV (g/mL) above which a voxel counts as body: fat takes up 0.2 to 0.3, noise in air stays below."""
BSA_SHARE = 0.25
"""SUVbsa in cm²/mL over SUVbw in g/mL: body surface (cm²) over weight (g), 0.26 for 70 kg and 1.75 m."""


def body_reference(volume: Volume, normalisation: str) -> dict[str, Any]:
    """Median SUV of the voxels that are body by uptake, which asks for no contour.

    In a whole-body FDG scan the mean over the body is 1 less what was excreted, the median
    somewhat lower; a cut image shifts it with what it shows.

    Returns:
        `rule`, `median` (unit of the image; None without body voxels), `volume_ml`.
    """
    least = BODY_FROM * (BSA_SHARE if normalisation == "bsa" else 1.0)
    body = volume.array > least
    count = int(body.sum())
    return {
        "rule": f"median of voxels with SUV > {least:g}",
        "median": float(np.median(volume.array[body])) if count else None,
        "volume_ml": round(count * volume.grid.voxel_ml(), 1),
    }


def roi_reference(suv: Path, regions: Sequence[RoiMask], image: Image) -> dict[str, Any]:
    """Mean SUV in ROIs drawn on one image: the PET's nearest voxel at each voxel of the mask.

    Args:
        suv: Folder with the one `pet_suv*.nii.gz`.
        regions: ROIs on the same image.
        image: That image.

    Returns:
        `rois` (names), `mean` and `sd` of SUV, `voxels` inside the PET.

    Raises:
        SuvError: There is no SUV image, or the ROIs lie outside it.
    """
    files = sorted(suv.glob("pet_suv*.nii.gz"))
    if len(files) != 1:
        raise SuvError("there must be one SUV image", expected="pet_suv….nii.gz", got=f"{len(files)} files")
    values = _at(read_nifti(files[0], "pet_suvbw"), union(regions), image)
    if not len(values):
        raise SuvError("the reference region lies outside the PET", where="contours.reference_roi")
    return {
        "rois": [region.name for region in regions],
        "mean": round(float(values.mean()), 4),
        "sd": round(float(values.std()), 4),
        "voxels": len(values),
    }


def _at(pet: Volume, mask: Mask, image: Image) -> FloatArray:
    places = image.grid.points(np.argwhere(mask))
    found = np.rint(pet.grid.indices(places)).astype(int)
    inside = ((found >= 0) & (found < pet.grid.shape)).all(axis=1)
    values: FloatArray = pet.array[tuple(found[inside].T)].astype(np.float64)
    return values
