"""From image planes to one regular grid, or a refusal that says what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DicomError
from pipeline.volumes.nifti_bytes import MAX_POSITION_MM, MAX_SPACING_MM, MIN_SPACING_MM
from pipeline.volumes.volume import FloatArray, Grid

# (0020,0037) is written with 6 digits or fewer; 1e-3 rad moves a corner at 300 mm by 0.3 mm.
_COSINE_TOLERANCE = 1e-3
_SPACING_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Plane:
    """One image plane (PS3.3 C.7.6.2, Image Plane Module).

    Attributes:
        position: (0020,0032) Image Position (Patient), centre of the first voxel, LPS mm.
        orientation: (0020,0037) direction cosines of the rows, then of the columns.
        spacing_mm: (0028,0030) Pixel Spacing: between rows (y), between columns (x).
        shape: Rows, columns.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    shape: tuple[int, int]

    def is_complete(self) -> bool:
        """Whether every part is there, and together they define a plane that a scanner could have imaged."""
        sizes = (len(self.position), len(self.orientation), len(self.spacing_mm)) == (3, 6, 2)
        return (
            sizes
            and all(MIN_SPACING_MM <= value <= MAX_SPACING_MM for value in self.spacing_mm)
            and all(abs(value) <= MAX_POSITION_MM for value in self.position)
            and min(self.shape) > 0
            and _orthonormal(self.orientation)
        )


def _orthonormal(orientation: Sequence[float]) -> bool:
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    products = np.array([row @ row, column @ column, row @ column])
    return bool(np.allclose(products, [1.0, 1.0, 0.0], atol=10 * _COSINE_TOLERANCE))


def axes_of(orientation: Sequence[float]) -> FloatArray:
    """3×3 matrix whose columns are the unit vectors of a plane's x, y axes and its normal.

    The cosines are rounded in the file; they are made exactly orthogonal, the row first.
    """
    row = np.asarray(orientation[:3], dtype=np.float64)
    column = np.asarray(orientation[3:], dtype=np.float64)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def depths_of(planes: Sequence[Plane]) -> FloatArray:
    """Positions of planes along the normal of the first, mm."""
    normal = axes_of(planes[0].orientation)[:, 2]
    depths: FloatArray = np.asarray([p.position for p in planes], dtype=np.float64) @ normal
    return depths


def slice_order(planes: Sequence[Plane]) -> list[int]:
    """Indices of planes in order along the normal; ties keep their order."""
    return [int(i) for i in np.argsort(depths_of(planes), kind="stable")]


@dataclass(frozen=True)
class StackGrid:
    """The regular grid of a stack of planes.

    Attributes:
        grid: The grid on which the first slice lies where its header says.
        shear_mm: How far each slice is shifted sideways from the slice before it, along x and
            y; zeros unless the gantry was tilted.
    """

    grid: Grid
    shear_mm: FloatArray


def grid_of_planes(
    planes: Sequence[Plane], tolerance_mm: float, where: str, allow_shear: bool = False
) -> StackGrid:
    """The regular grid of planes that are already in order along the normal.

    Args:
        planes: At least two, in the order of :func:`slice_order`.
        tolerance_mm: Largest difference of a gap between slices from their typical gap.
        where: Names the series in messages.
        allow_shear: Whether slices may shift sideways, if they do so evenly (gantry tilt).

    Raises:
        DicomError: Planes lack geometry, differ in size, spacing or direction, repeat a
            position, miss slices, are unevenly spaced, or are sheared (gantry tilt).
    """
    _require_same_geometry(planes, where)
    depths = depths_of(planes)
    gap = _even_gap(depths, tolerance_mm, where)
    axes = axes_of(planes[0].orientation)
    shear = _shear(planes, axes, tolerance_mm, where, allow_shear)
    row_mm, column_mm = planes[0].spacing_mm
    rows, columns = planes[0].shape
    x, y, z = (float(v) for v in planes[0].position)
    grid = Grid(
        shape=(len(planes), rows, columns),
        spacing_mm=(gap, float(row_mm), float(column_mm)),
        origin_mm=(x, y, z),
        direction=tuple((float(a), float(b), float(c)) for a, b, c in axes),
    )
    return StackGrid(grid, shear)


def _require_same_geometry(planes: Sequence[Plane], where: str) -> None:
    if len(planes) < 2:
        raise DicomError("a volume needs at least two slices", where=where, got=str(len(planes)))
    broken = sum(not plane.is_complete() for plane in planes)
    if broken:
        raise DicomError(
            "slices lack a usable position, orientation or pixel spacing",
            where=f"{where}, (0020,0032), (0020,0037), (0028,0030)",
            got=f"{broken} of {len(planes)} slices",
        )
    shapes = sorted({plane.shape for plane in planes})
    if len(shapes) > 1:
        raise DicomError(
            "slices of one series differ in matrix size",
            where=f"{where}, (0028,0010) Rows, (0028,0011) Columns",
            expected="one size",
            got=", ".join(f"{r}×{c}" for r, c in shapes[:5]),
        )
    first = planes[0]
    spacings = np.asarray([p.spacing_mm for p in planes])
    if not np.allclose(spacings, first.spacing_mm, rtol=_SPACING_TOLERANCE, atol=0):
        raise DicomError(
            "slices of one series differ in pixel spacing",
            where=f"{where}, (0028,0030) Pixel Spacing",
            got=f"{spacings.min():.5g} to {spacings.max():.5g} mm",
        )
    cosines = np.asarray([p.orientation for p in planes])
    turned = float(np.abs(cosines - cosines[0]).max())
    if turned > _COSINE_TOLERANCE:
        raise DicomError(
            "slices of one series differ in orientation",
            where=f"{where}, (0020,0037) Image Orientation (Patient)",
            expected="one orientation",
            got=f"cosines differ by up to {turned:.3g}",
        )


def _even_gap(depths: FloatArray, tolerance_mm: float, where: str) -> float:
    gaps = np.diff(depths)
    typical = float(np.median(gaps))
    where = f"{where}, (0020,0032) Image Position (Patient)"
    repeated = int((gaps < 1e-3).sum())
    if repeated:
        raise DicomError(
            "several slices lie at one position: a gated, dynamic or repeated acquisition",
            where=where,
            expected="one slice per position",
            got=f"{repeated + 1} slices share a position with a neighbour, of {len(depths)}"
            if repeated > 1
            else f"1 position taken twice, of {len(depths)} slices",
            action="keep one phase or frame per series",
        )
    off = np.abs(gaps - typical)
    worst = int(np.argmax(off))
    if off[worst] > tolerance_mm:
        _refuse_gap(gaps, typical, worst, tolerance_mm, where)
    mean = float((depths[-1] - depths[0]) / (len(depths) - 1))
    drift = float(np.abs(depths - (depths[0] + mean * np.arange(len(depths)))).max())
    if drift > 2 * tolerance_mm:
        raise DicomError(
            "slice positions drift from a regular grid",
            where=where,
            expected=f"within {2 * tolerance_mm:.3g} mm",
            got=f"{drift:.3g} mm",
        )
    return mean


def _refuse_gap(gaps: FloatArray, typical: float, worst: int, tolerance_mm: float, where: str) -> None:
    times = gaps / typical
    holes = np.abs(gaps - typical) > tolerance_mm
    whole = bool(np.all(np.abs(times[holes] - np.round(times[holes])) * typical <= tolerance_mm))
    if whole:
        missing = int((np.round(times[holes]) - 1).sum())
        raise DicomError(
            f"{missing} slice{'s are' if missing > 1 else ' is'} missing inside the series",
            where=where,
            expected=f"a slice every {typical:.4g} mm",
            got=f"a gap of {gaps[worst]:.4g} mm after slice {worst + 1} of {len(gaps) + 1}",
            action="send the whole series",
        )
    raise DicomError(
        "slices are unevenly spaced",
        where=where,
        expected=f"{typical:.4g} mm within {tolerance_mm:.3g} mm",
        got=f"{gaps.min():.4g} to {gaps.max():.4g} mm",
        action="export an evenly spaced reconstruction, or raise convert.spacing_tolerance_mm",
    )


def _shear(
    planes: Sequence[Plane], axes: FloatArray, tolerance_mm: float, where: str, allowed: bool
) -> FloatArray:
    """Sideways shift per slice along x and y, mm; refused, unless it is even (a tilted gantry) and allowed."""
    offsets = np.asarray([p.position for p in planes], dtype=np.float64) - planes[0].position
    beside = offsets @ axes[:, :2]
    limit = max(tolerance_mm, 0.02 * min(planes[0].spacing_mm))
    sideways = float(np.abs(beside).max())
    if sideways <= limit:
        return np.zeros(2)
    step: FloatArray = beside[-1] / (len(planes) - 1)
    even = float(np.abs(beside - step * np.arange(len(planes))[:, None]).max()) <= limit
    if even and allowed:
        return step
    length = float(offsets[-1] @ axes[:, 2])
    raise DicomError(
        "slices shift sideways along the stack: a tilted gantry or a moved table",
        where=f"{where}, (0020,0032) Image Position (Patient)",
        expected="positions along the image normal",
        got=f"{sideways:.3g} mm over {length:.4g} mm (tilt {np.degrees(np.arctan2(sideways, length)):.2g}°)",
        action="export a reconstruction without tilt"
        + (", or set convert.gantry_tilt: resample" if even else ""),
    )
