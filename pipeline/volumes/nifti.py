"""Volumes as NIfTI files and as SimpleITK images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import GeometryError
from pipeline.volumes.volume import Grid, Quantity, Volume

if TYPE_CHECKING:
    import SimpleITK


def to_itk(volume: Volume) -> SimpleITK.Image:
    """A SimpleITK image of a volume (copies)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array)
    place(image, volume.grid)
    return image


def place(image: SimpleITK.Image, grid: Grid) -> None:
    """Give a SimpleITK image a grid's geometry."""
    image.SetSpacing([float(s) for s in grid.spacing_mm[::-1]])
    image.SetOrigin([float(o) for o in grid.origin_mm])
    image.SetDirection([float(d) for d in np.asarray(grid.direction).ravel()])


def from_itk(image: SimpleITK.Image, quantity: Quantity = "other") -> Volume:
    """A volume of a SimpleITK image (copies)."""
    import SimpleITK as sitk

    return Volume(sitk.GetArrayFromImage(image), grid_of(image), quantity)


def grid_of(image: SimpleITK.Image) -> Grid:
    """The grid of a SimpleITK image or of an image reader's header."""
    x, y, z = image.GetSize()[:3]
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    sx, sy, sz = image.GetSpacing()
    ox, oy, oz = image.GetOrigin()
    rows = tuple((float(a), float(b), float(c)) for a, b, c in direction)
    return Grid((z, y, x), (sz, sy, sx), (ox, oy, oz), rows)


def read_nifti(path: Path, quantity: Quantity = "other") -> Volume:
    """Read a 3D NIfTI (or any file SimpleITK reads).

    Raises:
        GeometryError: The file cannot be read or is not 3D.
    """
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "unknown"
        raise GeometryError(
            "an image file cannot be read", where=str(path), got=reason, action="check that the file is whole"
        ) from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise GeometryError(
            "an image is not a 3D volume of single values",
            where=str(path),
            expected="3 axes, 1 value per voxel",
            got=f"{image.GetDimension()} axes, {image.GetNumberOfComponentsPerPixel()} values",
        )
    return from_itk(image, quantity)


def read_grid(path: Path) -> Grid:
    """Read only the geometry of an image file."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return grid_of(reader)


def write_nifti(path: Path, volume: Volume, compression_level: int = 1) -> None:
    """Write a volume as NIfTI; `.gz` endings are compressed at the given level."""
    import SimpleITK as sitk

    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_itk(volume), str(path), path.suffix == ".gz", compression_level)
