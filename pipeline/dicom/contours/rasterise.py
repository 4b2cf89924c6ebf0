"""Planar contours to masks: a voxel is in where more than half of its volume is inside.

Convention. Contours are taken to the grid's own index space, so that oblique grids need no
special case; voxel `i` spans `[i - 1/2, i + 1/2]` on each axis. All contours of one plane
are combined by the even-odd rule (XOR): a contour inside another one is a hole, and the
coinciding edges of a keyhole cancel (DICOM PS3.3 C.8.8.6.3). Along x the covered length is
exact; along y it is sampled by `lines` scan lines per voxel. Each plane stands for a slab that
reaches half way to the next contours above and below it, and a voxel's covered volume is the sum
over slabs: where contours lie on the slices this is the slice's own contour, where they lie between
slices, or more densely or sparsely than slices, it is what the voxel holds of the solid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.chains import with_own_slabs
from pipeline.dicom.contours.planes import Planes, group_planes
from pipeline.dicom.contours.polygons import any_cross, areas_differ, plane_areas, without_repeats
from pipeline.errors import ContourError
from pipeline.volumes.grids import Slices
from pipeline.volumes.volume import FloatArray, Grid

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

REPEAT_PIXELS = 0.25
"""Outlines of one plane that are nowhere further apart than this are one contour stored twice."""
HOLLOW = 0.5
"""A plane whose even-odd area is a smaller share of its outer contours' area is told of."""
MAX_DISTANCE_MM = 5000.0
"""Coordinates further from the image's centre are damaged."""


@dataclass(frozen=True)
class VoxelShares:
    """Shares of voxels that lie inside contours, or that a segment fills; outside the box they are 0.

    Attributes:
        box: Slices (z, y, x) of the image.
        values: float32 (z, y, x), 0 to 1.
    """

    box: Slices
    values: npt.NDArray[np.float32]

    def whole(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
        """The shares of all voxels of an image."""
        image = np.zeros(shape, dtype=np.float32)
        image[self.box] = self.values
        return image

    def volume_ml(self, grid: Grid) -> float:
        """The volume that the shares add up to on their image's grid."""
        return float(self.values.sum(dtype=np.float64)) * grid.voxel_ml()


@dataclass(frozen=True)
class Rasterised:
    """A mask and what is known of the contours it came from.

    Attributes:
        mask: Boolean (z, y, x).
        shares: Shares of voxels that lie inside, in the box that the contours touch.
        polygon_ml: Area of the polygons, holes taken off × thickness of their slabs.
        outer_ml: The same of the outer contours alone.
        outside_share: Share of that volume that lies outside the image, 0 to 1.
        crossing_planes: Planes on which contours cross each other or themselves (XOR is then a guess).
        hollow_planes: Planes whose even-odd area is far below that of their outer contours.
        repeated: Contours that repeat another one of their plane; they count once.
        planes: The contours by plane.
    """

    mask: Mask
    shares: VoxelShares
    polygon_ml: float
    outer_ml: float
    outside_share: float
    crossing_planes: int
    hollow_planes: int
    repeated: int
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
    slice_mm = grid.spacing_mm[0]
    planes = group_planes([grid.indices(points)[:, ::-1] for points in contours], slice_mm)
    planes = with_own_slabs(planes, slice_mm)
    planes = replace(planes, polygons=tuple(without_repeats(p, REPEAT_PIXELS) for p in planes.polygons))
    solid = _solid_of(planes, grid.shape, lines)
    # A slab's rim beyond the first or last slice is not lost tissue where its plane is on it.
    total = float((solid.plane_areas * _thickness_inside(planes, grid.shape[0])).sum())
    pixel_ml = grid.spacing_mm[1] * grid.spacing_mm[2] * grid.spacing_mm[0] / 1000.0
    by_plane = [plane_areas(polygons) for polygons in planes.polygons]
    areas = np.array([plane.even_odd for plane in by_plane])
    outer = np.array([plane.outer for plane in by_plane])
    thickness = planes.upper - planes.lower
    return Rasterised(
        mask=solid.mask,
        shares=solid.shares,
        polygon_ml=float((areas * thickness).sum()) * pixel_ml,
        outer_ml=float((outer * thickness).sum()) * pixel_ml,
        outside_share=max(0.0, 1.0 - solid.inside / total) if total > 0 else 0.0,
        crossing_planes=sum(
            any_cross(polygons) or areas_differ(polygons, own, even_odd, lines)
            for polygons, own, even_odd in zip(planes.polygons, areas, solid.plane_areas, strict=True)
        ),
        hollow_planes=int((solid.plane_areas < HOLLOW * outer).sum()),
        repeated=len(contours) - sum(len(polygons) for polygons in planes.polygons),
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


@dataclass(frozen=True)
class _Solid:
    """The solid that planes with their slabs enclose.

    Attributes:
        mask: Voxels (z, y, x) covered by more than half.
        shares: Covered shares of voxels.
        plane_areas: Even-odd area of each plane in voxels, whether inside the image or not.
        inside: Volume inside the image in voxels.
    """

    mask: Mask
    shares: VoxelShares
    plane_areas: FloatArray
    inside: float


def _solid_of(planes: Planes, shape: tuple[int, int, int], lines: int) -> _Solid:
    crossings = _crossings(planes.polygons, lines)
    box = _box(crossings, shape[1:], lines)
    coverage = _coverage(crossings, box, lines, len(planes.polygons))
    # Only the box is held in floating point: a whole-body CT would take a gigabyte.
    first = int(np.clip(np.floor(planes.lower.min() + 0.5), 0, shape[0]))
    last = int(np.clip(np.ceil(planes.upper.max() + 0.5), first, shape[0]))
    volume = np.zeros((last - first, box.height, box.width), dtype=np.float64)
    inside = 0.0
    for plane, share in enumerate(coverage.shares):
        low, high = planes.lower[plane], planes.upper[plane]
        for k in range(max(first, int(np.floor(low))), min(last, int(np.ceil(high)) + 1)):
            weight = min(high, k + 0.5) - max(low, k - 0.5)
            if weight > 0:
                volume[k - first] += weight * share
                inside += weight * float(share.sum())
    mask = np.zeros(shape, dtype=bool)
    place = slice(first, last), slice(box.top, box.bottom), slice(box.left, box.right)
    # Coverages of exactly one half come out as one half plus or minus rounding.
    mask[place] = volume > 0.5 + 1e-6
    shares = VoxelShares(place, np.clip(volume, 0.0, 1.0).astype(np.float32))
    return _Solid(mask, shares, coverage.areas, inside)


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


@dataclass(frozen=True)
class _Box:
    """Rows and columns of the image: from top and left up to, not including, bottom and right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


def _box(crossings: _Crossings, shape: tuple[int, ...], lines: int) -> _Box:
    """The part of the image (rows, columns) that the polygons touch."""
    if not crossings.x.size:
        return _Box(0, 0, 0, 0)
    rows = int(crossings.line.min()) // lines, int(crossings.line.max()) // lines + 1
    columns = int(np.floor(crossings.x.min() + 0.5)), int(np.floor(crossings.x.max() + 0.5)) + 1
    top, bottom = np.clip(rows, 0, shape[0])
    left, right = np.clip(columns, 0, shape[1])
    return _Box(int(top), int(bottom), int(left), int(right))


@dataclass(frozen=True)
class _Coverage:
    """What the polygons of each plane cover.

    Attributes:
        shares: Covered share (plane, y, x) of the box's voxels.
        areas: Whole area of each plane in voxels, inside the box or not.
    """

    shares: FloatArray
    areas: FloatArray


def _coverage(crossings: _Crossings, box: _Box, lines: int, planes: int) -> _Coverage:
    """Coverage of the box's voxels.

    Every entry adds, and every exit takes away, one to all voxels on its right and the covered
    rest of the voxel it lies in; the running sum along x is the coverage.
    """
    sign = np.tile([1.0, -1.0], crossings.x.size // 2)
    areas = -np.bincount(crossings.plane, weights=sign * crossings.x, minlength=planes) / lines
    row = crossings.line // lines - box.top
    in_box = (row >= 0) & (row < box.height)
    x = np.clip(crossings.x[in_box] + 0.5 - box.left, 0.0, float(box.width))
    column = np.floor(x).astype(np.int64)
    rest = x - column
    flat = (crossings.plane[in_box] * box.height + row[in_box]) * (box.width + 2) + column
    size = planes * box.height * (box.width + 2)
    change = np.bincount(flat, weights=sign[in_box] * (1.0 - rest), minlength=size)
    change += np.bincount(flat + 1, weights=sign[in_box] * rest, minlength=size)
    by_voxel = change.reshape(planes, box.height, box.width + 2)
    return _Coverage(np.cumsum(by_voxel, axis=2)[:, :, : box.width] / lines, areas)
