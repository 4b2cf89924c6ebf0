"""Images that the stages `convert` and `suv` leave of a patient, for all stages that read voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.resample_masks import resample_mask
from pipeline.volumes.volume import FloatArray, Grid, Volume

CT_IMAGED, PET_IMAGED = "ct_imaged.nii.gz", "pet_imaged.nii.gz"
"""Masks (1 = imaged) of images that are padded."""


def suv_file(suv: Path) -> Path:
    """The SUV image of a patient; its name says the normalisation.

    Args:
        suv: Folder of `suv`.

    Raises:
        GeometryError: There is none, or more than one.
    """
    files = sorted(suv.glob("pet_suv*.nii.gz"))
    if len(files) != 1:
        raise GeometryError(
            "there must be one SUV image",
            where="stage suv",
            expected="pet_suv….nii.gz",
            got=", ".join(path.name for path in files) or "none",
        )
    return files[0]


def read_suv(suv: Path) -> Volume:
    """The SUV image of a patient on its native voxels.

    Args:
        suv: Folder of `suv`.

    Raises:
        GeometryError: There is not one SUV image, or it cannot be read.
    """
    return read_nifti(suv_file(suv), "pet_suvbw")


def imaged_voxels(path: Path, grid: Grid, matrix: FloatArray) -> npt.NDArray[np.bool_]:
    """Voxels of a grid that are not padding of an image; all where the image has none.

    Args:
        path: `ct_imaged.nii.gz` or `pet_imaged.nii.gz` of the folder `convert`, which may be absent.
        grid: The grid.
        matrix: 4×4 from the grid's points to those of the image (LPS mm).
    """
    if not path.is_file():
        return np.ones(grid.shape, dtype=bool)
    return resample_mask(read_nifti(path, "mask"), grid, matrix, "nearest").astype(bool)
