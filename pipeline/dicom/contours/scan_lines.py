"""Scan lines through the polygons of planes: where lines enter and leave them, and what that covers of voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.volumes.volume import FloatArray

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Crossings:
    """Where scan lines enter (even entries) and leave (odd entries) what the polygons enclose."""

    plane: IntArray
    line: IntArray
    x: FloatArray


def crossings_of(
    planes: Sequence[Sequence[FloatArray]], lines: int, solids: Mapping[int, Sequence[int]]
) -> Crossings:
    """Crossings of all edges with all scan lines, sorted by plane, line and x.

    Line `t` runs at y = (t + 1/2) / lines - 1/2. An edge meets a line where its lower end is
    at or below and its upper end above it, so that a vertex on a line counts once.

    Args:
        planes: Polygons by plane, each (n, 2): x and y index.
        lines: Scan lines per voxel edge.
        solids: Of planes with polygons to be united, the solid that each polygon belongs to.
    """
    polygons = [polygon for own in planes for polygon in own]
    plane_of = np.repeat(np.arange(len(planes)), [len(own) for own in planes])
    start = np.concatenate(polygons)
    end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    polygon_of = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
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
    polygon = polygon_of[edge]
    crossings = Crossings(plane_of[polygon], line, x)
    if solids:
        kept = _rim(crossings, polygon, _solid_numbers(planes, solids)[polygon])
        crossings = Crossings(crossings.plane[kept], line[kept], x[kept])
    order = np.lexsort((crossings.x, crossings.line, crossings.plane))
    return Crossings(crossings.plane[order], crossings.line[order], crossings.x[order])


def _solid_numbers(planes: Sequence[Sequence[FloatArray]], solids: Mapping[int, Sequence[int]]) -> IntArray:
    """For each polygon of all planes its solid, counted over all planes."""
    by_plane = [list(solids.get(number, range(len(own)))) for number, own in enumerate(planes)]
    before = np.cumsum([0, *(len(own) for own in by_plane)])
    numbers = [first + solid for first, own in zip(before[:-1], by_plane, strict=True) for solid in own]
    return np.array(numbers, dtype=np.int64)


def _rim(crossings: Crossings, polygon: IntArray, solid: IntArray) -> IntArray:
    """Which crossings are where a line enters the first, or leaves the last, of a solid's polygons."""
    by_polygon = np.lexsort((crossings.x, crossings.line, polygon))
    sign = np.empty(len(polygon), dtype=np.int64)
    sign[by_polygon] = np.tile([1, -1], len(polygon) // 2)
    order = np.lexsort((-sign, crossings.x, crossings.line, solid))
    depth = np.cumsum(sign[order])  # back at 0 at the end of every line of a solid
    rim: IntArray = order[(depth == 0) | ((depth == 1) & (sign[order] == 1))]
    return rim


@dataclass(frozen=True)
class Box:
    """Rows and columns of the image: from top and left up to, not including, bottom and right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.right - self.left


def box_of(crossings: Crossings, shape: tuple[int, ...], lines: int) -> Box:
    """The part of the image (rows, columns) that the polygons touch."""
    if not crossings.x.size:
        return Box(0, 0, 0, 0)
    rows = int(crossings.line.min()) // lines, int(crossings.line.max()) // lines + 1
    columns = int(np.floor(crossings.x.min() + 0.5)), int(np.floor(crossings.x.max() + 0.5)) + 1
    top, bottom = np.clip(rows, 0, shape[0])
    left, right = np.clip(columns, 0, shape[1])
    return Box(int(top), int(bottom), int(left), int(right))


@dataclass(frozen=True)
class PlaneCoverage:
    """What the polygons of each plane cover.

    Attributes:
        shares: Covered share (plane, y, x) of the box's voxels.
        areas: Whole area of each plane in voxels, inside the box or not.
    """

    shares: FloatArray
    areas: FloatArray


def coverage_of(crossings: Crossings, box: Box, lines: int, planes: int) -> PlaneCoverage:
    """PlaneCoverage of the box's voxels.

    Every entry adds, and every exit takes away, one to all voxels on its right and the covered
    rest of the voxel it lies in; the running sum along x is the coverage.
    """
    sign = np.tile([1.0, -1.0], crossings.x.size // 2)
    areas = areas_of(crossings, lines, planes)
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
    return PlaneCoverage(np.cumsum(by_voxel, axis=2)[:, :, : box.width] / lines, areas)


def areas_of(crossings: Crossings, lines: int, planes: int) -> FloatArray:
    """Area of each plane in voxels, inside the image or not."""
    sign = np.tile([1.0, -1.0], crossings.x.size // 2)
    return np.asarray(-np.bincount(crossings.plane, weights=sign * crossings.x, minlength=planes) / lines)
