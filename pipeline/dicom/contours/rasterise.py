"""Planar contours to masks: a voxel is in where more than half of its volume is inside.

Convention. Contours are taken to the grid's own index space, so that oblique grids need no
special case; voxel `i` spans `[i - 1/2, i + 1/2]` on each axis. All contours of one plane
are combined by the even-odd rule (XOR): a contour inside another one is a hole, and the
coinciding edges of a keyhole cancel (DICOM PS3.3 C.8.8.6.3). Along x the covered length is
exact; along y it is sampled by `lines` scan lines per voxel. Each plane stands for a slab that
reaches half way to its neighbours, and a voxel's covered volume is the sum over slabs: where
contours lie on the slices this is the slice's own contour, where they lie between slices, or
more densely or sparsely than slices, it is what the voxel holds of the solid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import ContourError
from pipeline.volumes.volume import FloatArray, Grid

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

PLANE_TOLERANCE_MM = 0.1
"""Contours closer than this along the normal lie in one plane."""
MAX_DISTANCE_MM = 5000.0
"""Coordinates further from the image's centre are damaged."""
MAX_TILT_SLICES = 0.5
"""A contour whose points spread further along the normal is not parallel to the slices."""
MAX_PLANE_GAP_MM = 12.0
"""Planes further apart than this are never joined: two lesions, not one."""
GAP_FACTOR = 1.5
"""Planes further apart than this times the usual distance are not joined either."""


@dataclass(frozen=True)
class Planes:
    """An ROI's contours by plane, in index space.

    Attributes:
        positions: Ascending slice index of each plane (continuous).
        lower: Where each plane's slab begins (slice index).
        upper: Where it ends.
        polygons: Per plane its contours, each (n, 2): x and y index.
        step: Usual distance of planes, in slices.
        gaps: Places where planes are missing in between.
    """

    positions: FloatArray
    lower: FloatArray
    upper: FloatArray
    polygons: tuple[tuple[FloatArray, ...], ...]
    step: float
    gaps: int


@dataclass(frozen=True)
class Rasterised:
    """A mask and what is known of the contours it came from.

    Attributes:
        mask: Boolean (z, y, x).
        polygon_ml: Area of the polygons × thickness of their slabs.
        outside_share: Share of that volume that lies outside the image, 0 to 1.
        crossing_planes: Planes on which contours cross each other or themselves (XOR is then a guess).
        planes: The contours by plane.
    """

    mask: Mask
    polygon_ml: float
    outside_share: float
    crossing_planes: int
    planes: Planes


def rasterise(contours: Sequence[FloatArray], grid: Grid, lines: int) -> Rasterised:
    """Mask of an ROI's closed planar contours on a grid.

    Args:
        contours: Each (n ≥ 3, 3): LPS points in mm; the last point is joined to the first.
        grid: Grid of the mask.
        lines: Scan lines per voxel edge.

    Raises:
        ContourError: A contour is not parallel to the grid's slices, or metres away.
    """
    _require_near(contours, grid)
    planes = group_planes([grid.indices(points)[:, ::-1] for points in contours], grid.spacing_mm[0])
    mask, covered, kept = _covered(planes, grid.shape, lines)
    # A slab's rim beyond the first or last slice is not lost tissue where its plane is on it.
    total = float((covered * _thickness_inside(planes, grid.shape[0])).sum())
    pixel_ml = grid.spacing_mm[1] * grid.spacing_mm[2] * grid.spacing_mm[0] / 1000.0
    areas = np.array([xor_area(polygons) for polygons in planes.polygons])
    return Rasterised(
        mask=mask,
        polygon_ml=float((areas * (planes.upper - planes.lower)).sum()) * pixel_ml,
        outside_share=max(0.0, 1.0 - kept / total) if total > 0 else 0.0,
        crossing_planes=sum(
            _any_cross(polygons) or _areas_differ(polygons, own, even_odd, lines)
            for polygons, own, even_odd in zip(planes.polygons, areas, covered, strict=True)
        ),
        planes=planes,
    )


def _require_near(contours: Sequence[FloatArray], grid: Grid) -> None:
    """Refuse coordinates that no patient reaches: damage, or another unit than mm."""
    farthest = max((float(np.abs(points - grid.centre_mm()).max()) for points in contours), default=0.0)
    if farthest > MAX_DISTANCE_MM:
        raise ContourError(
            "a contour lies metres away from the image",
            expected=f"within {MAX_DISTANCE_MM:g} mm of its centre",
            got=f"{farthest:.4g} mm",
            action="export the contours again",
        )


def group_planes(contours: Sequence[FloatArray], slice_mm: float) -> Planes:
    """Contours (n, 3; x, y, z index) by plane, and the slab that each plane stands for.

    Raises:
        ContourError: A contour is not parallel to the slices, or there is none.
    """
    if not contours:
        raise ContourError("there are no closed contours to rasterise")
    for points in contours:
        tilt = float(np.ptp(points[:, 2]))
        if tilt > MAX_TILT_SLICES:
            raise ContourError(
                "a contour is not parallel to the image's slices",
                expected=f"points within {MAX_TILT_SLICES:g} slice of each other along the slice normal",
                got=f"{tilt:.2f} slices ({tilt * slice_mm:.2f} mm)",
                action="export contours drawn on the slices of this image",
            )
    heights = np.array([float(points[:, 2].mean()) for points in contours])
    order = np.argsort(heights, kind="stable")
    tolerance = min(PLANE_TOLERANCE_MM / slice_mm, 0.2)
    first = np.flatnonzero(np.diff(heights[order], prepend=-np.inf) > tolerance)
    groups = np.split(order, first[1:])
    positions = np.array([float(heights[group].mean()) for group in groups])
    lower, upper, step, gaps = _slabs(positions, MAX_PLANE_GAP_MM / slice_mm)
    polygons = tuple(tuple(contours[i][:, :2] for i in group) for group in groups)
    return Planes(positions, lower, upper, polygons, step, gaps)


def _slabs(positions: FloatArray, widest: float) -> tuple[FloatArray, FloatArray, float, int]:
    distances = np.diff(positions)
    close = distances[distances <= max(widest, 1.0 + 1e-6)]
    step = float(np.median(close)) if close.size else 1.0
    joined = distances <= max(GAP_FACTOR * step, step + 1e-6)
    half = np.where(joined, distances / 2, step / 2)
    lower = positions - np.concatenate([[step / 2], half])
    upper = positions + np.concatenate([half, [step / 2]])
    return lower, upper, step, int((~joined).sum())


def _covered(planes: Planes, shape: tuple[int, int, int], lines: int) -> tuple[Mask, FloatArray, float]:
    """Voxels covered by more than half, each plane's whole area, and area × slices of what lies inside."""
    crossings = _crossings(planes.polygons, lines)
    top, bottom, left, right = box = _box(crossings, shape[1:], lines)
    shares, areas = _coverage(crossings, box, lines, len(planes.polygons))
    # Only the box is held in floating point: a whole-body CT would take a gigabyte.
    first = int(np.clip(np.floor(planes.lower.min() + 0.5), 0, shape[0]))
    last = int(np.clip(np.ceil(planes.upper.max() + 0.5), first, shape[0]))
    volume = np.zeros((last - first, bottom - top, right - left), dtype=np.float64)
    kept = 0.0
    for plane, share in enumerate(shares):
        low, high = planes.lower[plane], planes.upper[plane]
        for k in range(max(first, int(np.floor(low))), min(last, int(np.ceil(high)) + 1)):
            weight = min(high, k + 0.5) - max(low, k - 0.5)
            if weight > 0:
                volume[k - first] += weight * share
                kept += weight * float(share.sum())
    mask = np.zeros(shape, dtype=bool)
    # Coverages of exactly one half come out as one half plus or minus rounding.
    mask[first:last, top:bottom, left:right] = volume > 0.5 + 1e-6
    return mask, areas, kept


def _thickness_inside(planes: Planes, slices: int) -> FloatArray:
    """Thickness that counts as belonging to the image: all of it where the plane is outside."""
    edge_low, edge_high = -0.5, slices - 0.5
    on_image = (planes.positions >= edge_low) & (planes.positions <= edge_high)
    clipped = np.minimum(planes.upper, edge_high) - np.maximum(planes.lower, edge_low)
    thickness: FloatArray = np.where(on_image, clipped, planes.upper - planes.lower)
    return thickness


@dataclass(frozen=True)
class _Crossings:
    """Where scan lines enter (even entries) and leave (odd entries) the polygons."""

    plane: IntArray
    line: IntArray
    x: FloatArray


def _crossings(planes: Sequence[Sequence[FloatArray]], lines: int) -> _Crossings:
    """Crossings of all edges with all scan lines, sorted by plane, line and x.

    Line `t` runs at y = (t + 1/2) / lines - 1/2. An edge meets a line where its lower end is
    at or below and its upper end above it, so that a vertex on a line counts once.
    """
    starts, ends, owner = [], [], []
    for number, polygons in enumerate(planes):
        for polygon in polygons:
            starts.append(polygon)
            ends.append(np.roll(polygon, -1, axis=0))
            owner.append(np.full(len(polygon), number, dtype=np.int64))
    start, end, plane = np.concatenate(starts), np.concatenate(ends), np.concatenate(owner)
    down = start[:, 1] > end[:, 1]
    low = np.where(down[:, None], end, start)
    high = np.where(down[:, None], start, end)
    first = np.ceil((low[:, 1] + 0.5) * lines - 0.5).astype(np.int64)
    count = np.ceil((high[:, 1] + 0.5) * lines - 0.5).astype(np.int64) - first
    edge = np.repeat(np.arange(len(count)), count)
    within = np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count)
    line = first[edge] + within
    slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
    x = low[edge, 0] + ((line + 0.5) / lines - 0.5 - low[edge, 1]) * slope
    order = np.lexsort((x, line, plane[edge]))
    return _Crossings(plane[edge][order], line[order], x[order])


def _box(found: _Crossings, shape: tuple[int, ...], lines: int) -> tuple[int, int, int, int]:
    """Rows and columns (first, one past the last) of the image that the polygons touch."""
    if not found.x.size:
        return 0, 0, 0, 0
    rows = int(found.line.min()) // lines, int(found.line.max()) // lines + 1
    columns = int(np.floor(found.x.min() + 0.5)), int(np.floor(found.x.max() + 0.5)) + 1
    top, bottom = np.clip(rows, 0, shape[0])
    left, right = np.clip(columns, 0, shape[1])
    return int(top), int(bottom), int(left), int(right)


def _coverage(
    found: _Crossings, box: tuple[int, int, int, int], lines: int, planes: int
) -> tuple[FloatArray, FloatArray]:
    """Covered share (plane, y, x) of the box's voxels, and each plane's whole area (voxels).

    Every entry adds, and every exit takes away, one to all voxels on its right and the covered
    rest of the voxel it lies in; the running sum along x is the coverage.
    """
    sign = np.tile([1.0, -1.0], found.x.size // 2)
    areas = -np.bincount(found.plane, weights=sign * found.x, minlength=planes) / lines
    top, bottom, left, right = box
    height, width = bottom - top, right - left
    row = found.line // lines - top
    keep = (row >= 0) & (row < height)
    x = np.clip(found.x[keep] + 0.5 - left, 0.0, float(width))
    column = np.floor(x).astype(np.int64)
    rest = x - column
    flat = (found.plane[keep] * height + row[keep]) * (width + 2) + column
    size = planes * height * (width + 2)
    change = np.bincount(flat, weights=sign[keep] * (1.0 - rest), minlength=size)
    change += np.bincount(flat + 1, weights=sign[keep] * rest, minlength=size)
    shares = np.cumsum(change.reshape(planes, height, width + 2), axis=2)[:, :, :width] / lines
    return shares, areas


def xor_area(polygons: Sequence[FloatArray]) -> float:
    """Area of polygons (n, 2) under the even-odd rule, from their corners (shoelace).

    A polygon inside an odd number of others is a hole. Exact for nested and separate
    polygons and for keyholes, not for ones that cross.
    """
    total = 0.0
    for number, polygon in enumerate(polygons):
        depth = sum(_inside(polygon, other) for i, other in enumerate(polygons) if i != number)
        total += (-1.0) ** depth * _shoelace(polygon)
    return abs(total)


def _inside(polygon: FloatArray, other: FloatArray) -> bool:
    # Several corners are asked, because one may lie on the other's edge.
    corners = polygon[:: max(1, len(polygon) // 5)]
    return sum(_contains(other, corner) for corner in corners) > len(corners) / 2


def _shoelace(polygon: FloatArray) -> float:
    x, y = polygon[:, 0] - polygon[0, 0], polygon[:, 1] - polygon[0, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _contains(polygon: FloatArray, point: FloatArray) -> bool:
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    spans = (y0 <= point[1]) != (y1 <= point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = x0 + (point[1] - y0) * (x1 - x0) / (y1 - y0)
    return bool(np.count_nonzero(spans & (point[0] < meets)) % 2)


def _areas_differ(polygons: Sequence[FloatArray], own: float, even_odd: float, lines: int) -> bool:
    """Whether the even-odd area is not that of the corners: contours that cross themselves, or
    that run along each other (drawn along pixel edges) and overlap."""
    width = sum(float(np.ptp(polygon[:, 0])) for polygon in polygons)
    return abs(own - even_odd) > 0.02 * max(own, even_odd) + width / lines


def _any_cross(polygons: Sequence[FloatArray]) -> bool:
    """Whether two contours of a plane cross, i.e. overlap without one containing the other."""
    return any(
        _cross(polygons[i], polygons[j]) for i in range(len(polygons)) for j in range(i + 1, len(polygons))
    )


def _cross(first: FloatArray, second: FloatArray) -> bool:
    if (first.max(axis=0) <= second.min(axis=0)).any() or (second.max(axis=0) <= first.min(axis=0)).any():
        return False
    a, b = first[:, None], np.roll(first, -1, axis=0)[:, None]
    c, d = second[None], np.roll(second, -1, axis=0)[None]
    sides = _side(a, b, c) * _side(a, b, d) < 0
    return bool((sides & (_side(c, d, a) * _side(c, d, b) < 0)).any())


def _side(a: FloatArray, b: FloatArray, p: FloatArray) -> FloatArray:
    """Sign of which side of a→b a point lies on; nearly on it counts as on it."""
    u, v = b - a, p - a
    turn: FloatArray = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return np.where(np.abs(turn) < 1e-6, 0.0, np.sign(turn))
