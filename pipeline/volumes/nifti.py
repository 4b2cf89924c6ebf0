"""Volumes as NIfTI files and as SimpleITK images."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import GeometryError
from pipeline.volumes.volume import Grid, Quantity, Volume

if TYPE_CHECKING:
    import SimpleITK

_BLOCK_BYTES = 4 << 20


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
    if path.suffix != ".gz":
        sitk.WriteImage(to_itk(volume), str(path))
        return
    # ITK's own compressor takes four times as long as zlib's at the same level.
    plain = path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.nii')}.plain.nii")
    try:
        sitk.WriteImage(to_itk(volume), str(plain))
        _compress(plain, path, compression_level)
    finally:
        plain.unlink(missing_ok=True)


def _compress(plain: Path, target: Path, level: int) -> None:
    """Compress a file as a chain of gzip members (RFC 1952 2.2), two at a time.

    The same bytes come out every time: members carry no date and no name.
    """
    import gzip
    from concurrent.futures import ThreadPoolExecutor

    with plain.open("rb") as source, target.open("wb") as sink, ThreadPoolExecutor(2) as pool:
        blocks = iter(lambda: source.read(_BLOCK_BYTES), b"")
        waiting = [pool.submit(gzip.compress, b, level, mtime=0) for b in itertools.islice(blocks, 4)]
        while waiting:
            sink.write(waiting.pop(0).result())
            waiting += [pool.submit(gzip.compress, b, level, mtime=0) for b in itertools.islice(blocks, 1)]
