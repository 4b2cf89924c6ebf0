"""Volumes as NIfTI files and as SimpleITK images."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import GeometryError
from pipeline.volumes.nifti_bytes import (
    MAX_BYTES,
    MAX_POSITION_MM,
    MAX_SPACING_MM,
    MIN_SPACING_MM,
    check_nifti,
    is_nifti,
    refuse_non_finite,
)
from pipeline.volumes.raster_bytes import check_raster
from pipeline.volumes.volume import Grid, Quantity, Volume

if TYPE_CHECKING:
    import SimpleITK

_BLOCK_BYTES = 4 << 20
# Datatype codes of nifti1.h.
_TYPE_CODES = {
    "uint8": 2,
    "int16": 4,
    "int32": 8,
    "float32": 16,
    "float64": 64,
    "int8": 256,
    "uint16": 512,
    "uint32": 768,
}


def to_itk(volume: Volume) -> SimpleITK.Image:
    """A SimpleITK image of a volume (copies)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array)
    set_geometry(image, volume.grid)
    return image


def set_geometry(image: SimpleITK.Image, grid: Grid) -> None:
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


def read_nifti(
    path: Path, quantity: Quantity = "other", max_bytes: int = MAX_BYTES, label: str = ""
) -> Volume:
    """Read a 3D image of NIfTI, MetaImage or NRRD, only if it is whole.

    Args:
        path: The file.
        quantity: What its values are.
        max_bytes: A file with more bytes of values is refused.
        label: What messages call it, where its name may identify a patient; empty: its name.

    Raises:
        GeometryError: The file cannot be read, is cut or damaged, is not 3D, or lies on a grid
            that no image has.
        OSError: The machine could not read it.
    """
    import SimpleITK as sitk

    name = label or path.name
    if is_nifti(path):
        check_nifti(path, max_bytes, name)
    else:
        _require_readable(path, name)
        check_raster(path, max_bytes, name)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        lines = str(error).replace(str(path), name).strip().splitlines() or ["unknown"]
        raise GeometryError(
            "an image file cannot be read", where=name, got=lines[-1], action="check that the file is whole"
        ) from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise GeometryError(
            "an image is not a 3D volume of single values",
            where=name,
            expected="3 axes, 1 value per voxel",
            got=f"{image.GetDimension()} axes, {image.GetNumberOfComponentsPerPixel()} values",
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise GeometryError("an image holds complex numbers", where=name, expected="real numbers")
    require_possible(grid_of(image), name)
    volume = from_itk(image, quantity)
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        refuse_non_finite(float((~np.isfinite(volume.array)).mean()), name)
    return volume


def _require_readable(path: Path, name: str) -> None:
    """Tell rights and broken disks from broken files, and never wait for a pipe."""
    if not path.is_file():
        raise GeometryError("not a regular file", where=name, expected="an image file")
    with path.open("rb") as stream:
        stream.read(1)


def require_possible(grid: Grid, where: str) -> None:
    """Refuse a grid whose spacing or position no image of a patient has.

    Raises:
        GeometryError: With the limits.
    """
    numbers = [*grid.spacing_mm, *grid.origin_mm, *np.asarray(grid.direction).ravel()]
    spacing = all(MIN_SPACING_MM <= value <= MAX_SPACING_MM for value in grid.spacing_mm)
    position = all(abs(value) <= MAX_POSITION_MM for value in grid.origin_mm)
    if not (np.isfinite(numbers).all() and spacing and position):
        raise GeometryError(
            "a grid that no image has",
            where=where,
            expected=f"spacing of {MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm, positions within "
            f"{MAX_POSITION_MM:g} mm",
            got=f"spacing {', '.join(f'{v:.4g}' for v in grid.spacing_mm)} mm, "
            f"origin {', '.join(f'{v:.4g}' for v in grid.origin_mm)} mm",
            action="write the file again from its source",
        )


def read_grid(path: Path) -> Grid:
    """Read only the geometry of an image file."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return grid_of(reader)


def write_nifti(path: Path, volume: Volume, compression_level: int = 1) -> None:
    """Write a volume as NIfTI; `.nii.gz` endings are compressed at the given level.

    Compressed files are written without SimpleITK: no second copy of the volume in memory,
    no import, and a quarter of the time of ITK's own compressor at the same level. The same
    volume gives the same bytes.

    Raises:
        GeometryError: NIfTI has no type for the volume's values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".gz":
        import SimpleITK as sitk

        sitk.WriteImage(to_itk(volume), str(path))
        return
    array = np.ascontiguousarray(volume.array)
    header = nifti_header(volume.grid, array.dtype)
    values = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    _write_members(path, header, values.data.cast("B"), compression_level)


def nifti_header(grid: Grid, dtype: np.dtype[Any]) -> bytes:
    """Header of a single-file NIfTI-1 image (352 bytes, nifti1.h), its axes in the sform.

    NIfTI's world is RAS: x and y of the grid's LPS change sign.
    """
    code = _TYPE_CODES.get(dtype.name)
    if code is None:
        raise GeometryError("no NIfTI type for the values", expected=", ".join(_TYPE_CODES), got=dtype.name)
    z, y, x = grid.shape
    sform = np.diag([-1.0, -1.0, 1.0]) @ grid.affine()[:3]
    return struct.pack(
        "<i10s18sih2s8h3f4h8f3f4s4f2i104s2h6f12f16s4s4s",
        *(348, b"", b"", 0, 0, b"r\0"),  # historical fields
        *(3, x, y, z, 1, 1, 1, 1),
        *(0.0, 0.0, 0.0, 0, code, dtype.itemsize * 8, 0),
        *(1.0, *grid.spacing_mm[::-1], 0.0, 0.0, 0.0, 0.0),
        *(352.0, 1.0, 0.0),  # offset of the values, slope, intercept
        b"\0\0\0\x02",  # millimetres
        *(0.0, 0.0, 0.0, 0.0, 0, 0, b""),
        *(0, 1),  # no quaternion; the sform holds the scanner's coordinates
        *(0.0,) * 6,
        *sform.ravel(),
        *(b"", b"n+1\0", b""),
    )


def _write_members(path: Path, header: bytes, values: memoryview, level: int) -> None:
    """Compress as a chain of gzip members (RFC 1952 2.2), without date or name, two at a time."""
    import gzip
    from concurrent.futures import ThreadPoolExecutor

    pieces = [bytes(header), *(values[i : i + _BLOCK_BYTES] for i in range(0, len(values), _BLOCK_BYTES))]
    with path.open("wb") as sink, ThreadPoolExecutor(2) as pool:
        for start in range(0, len(pieces), 4):
            batch = pieces[start : start + 4]
            sink.writelines(pool.map(lambda piece: gzip.compress(piece, level, mtime=0), batch))
