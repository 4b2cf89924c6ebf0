"""Polygons of one plane: their area, which repeat each other, and which lie inside others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.volumes.volume import FloatArray

MAX_CORNERS_ASKED = 64
"""Corners of a polygon that are asked whether they lie inside another one."""


@dataclass(frozen=True)
class PlaneAreas:
    """Areas of one plane's polygons, from their corners (shoelace).

    Attributes:
        even_odd: Under the even-odd rule: a polygon inside an odd number of others is a hole. Exact for
            nested and separate polygons and for keyholes, not for ones that cross.
        outer: Of the polygons that lie in no other one, whatever lies inside them.
    """

    even_odd: float
    outer: float


def plane_areas(polygons: Sequence[FloatArray]) -> PlaneAreas:
    """Areas that polygons (n, 2) of one plane enclose."""
    low = np.array([polygon.min(axis=0) for polygon in polygons]).reshape(-1, 2)
    high = np.array([polygon.max(axis=0) for polygon in polygons]).reshape(-1, 2)
    even_odd = outer = 0.0
    for number, polygon in enumerate(polygons):
        # What reaches beyond another's box by more than half of its own is not inside it.
        centre = (low[number] + high[number]) / 2
        near = ((low <= centre) & (centre <= high)).all(axis=1)
        near[number] = False
        depth = sum(_inside(polygon, polygons[i]) for i in np.flatnonzero(near))
        area = shoelace(polygon)
        even_odd += (-1.0) ** depth * area
        outer += 0.0 if depth else area
    return PlaneAreas(abs(even_odd), outer)


def without_repeats(polygons: Sequence[FloatArray], tolerance: float) -> tuple[FloatArray, ...]:
    """Polygons of a plane, each outline once.

    A contour that is stored twice, a fraction of a pixel apart or with other corners, would cancel
    itself under the even-odd rule. Two outlines are the same where no corner of either lies
    further from the other's edges than the tolerance, or where a third one is the same as both: of a
    contour stored three times the outer two may lie twice as far apart.

    Args:
        polygons: Each (n, 2).
        tolerance: In the unit of the corners.
    """
    if len(polygons) < 2:
        return tuple(polygons)
    boxes = np.array([[*polygon.min(axis=0), *polygon.max(axis=0)] for polygon in polygons])
    groups: list[list[int]] = []
    for number, polygon in enumerate(polygons):
        near = np.abs(boxes - boxes[number]).max(axis=1) <= 2 * tolerance
        same = [
            group
            for group in groups
            if any(near[i] and _same_outline(polygon, polygons[i], tolerance) for i in group)
        ]
        joined = sorted([number, *(i for group in same for i in group)])
        groups = [group for group in groups if group not in same] + [joined]
    return tuple(polygons[i] for i in sorted(group[0] for group in groups))


def _same_outline(first: FloatArray, second: FloatArray, tolerance: float) -> bool:
    return bool(
        _distances_to_edges(first, second).max() <= tolerance
        and _distances_to_edges(second, first).max() <= tolerance
    )


def _distances_to_edges(points: FloatArray, polygon: FloatArray) -> FloatArray:
    """Distance of each point (n, 2) to the nearest edge of a polygon."""
    start = polygon
    edge = np.roll(polygon, -1, axis=0) - start
    length = np.maximum((edge**2).sum(axis=1), 1e-30)
    least = np.full(len(points), np.inf)
    step = max(1, 1_000_000 // max(1, len(polygon)))
    for low in range(0, len(points), step):
        offset = points[low : low + step, None] - start[None]
        share = np.clip((offset * edge).sum(axis=2) / length, 0.0, 1.0)
        apart = offset - share[..., None] * edge
        least[low : low + step] = np.sqrt((apart**2).sum(axis=2)).min(axis=1)
    return least


def widest_holders(polygons: Sequence[FloatArray], margin: float) -> list[int]:
    """For each polygon (n, 2) the number of the widest one that it is a hole or an island in; its own if of none.

    Args:
        polygons: Of planes that lie close together.
        margin: One that is nowhere further inside the other's outline is the same outline drawn again.
    """
    low = np.array([polygon.min(axis=0) for polygon in polygons]).reshape(-1, 2)
    high = np.array([polygon.max(axis=0) for polygon in polygons]).reshape(-1, 2)
    extent = (high - low).prod(axis=1)
    holders = []
    for number, polygon in enumerate(polygons):
        around = ((low <= low[number]) & (high >= high[number])).all(axis=1)
        around[number] = False
        holding = [
            i
            for i in np.flatnonzero(around)
            if _inside(polygon, polygons[i]) and _distances_to_edges(polygon, polygons[i]).max() > margin
        ]
        holders.append(max(holding, key=lambda i: (extent[i], -i), default=number))
    return holders


def _inside(polygon: FloatArray, other: FloatArray) -> bool:
    # Several corners are asked, because one may lie on the other's edge.
    corners = polygon[:: max(1, len(polygon) // 5)]
    return sum(_contains(other, corner) for corner in corners) > len(corners) / 2


def outlines_overlap(first: FloatArray, second: FloatArray) -> bool:
    """Whether two polygons (n, 2), of whatever planes, have area in common.

    Told by corners of the one inside the other, at most `MAX_CORNERS_ASKED` of each: what overlaps by
    less than their distance may be missed, which matters only to polygons that hardly touch.
    """
    first_box, second_box = (np.array([p.min(axis=0), p.max(axis=0)]) for p in (first, second))
    if (first_box[0] >= second_box[1]).any() or (second_box[0] >= first_box[1]).any():
        return False
    if np.allclose(first_box, second_box, rtol=0, atol=1e-3):
        return True  # nearly the same outline: corners lie on edges
    return _holds_corner(first, second) or _holds_corner(second, first)


def _holds_corner(polygon: FloatArray, other: FloatArray) -> bool:
    """Whether a polygon holds one of another's corners, of which the lowest is always asked."""
    asked = other[:: -(-len(other) // MAX_CORNERS_ASKED)]
    lowest = other[np.lexsort((other[:, 0], other[:, 1]))[:1]]
    # A little up and to the right of a corner that lies on an edge is what is inside, if anything is.
    points = np.concatenate([lowest, asked]) + 1e-6
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    px, py = points[:, :1], points[:, 1:]
    spans = (y0 <= py) != (y1 <= py)
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = x0 + (py - y0) * (x1 - x0) / (y1 - y0)
    return bool((np.count_nonzero(spans & (px < meets), axis=1) % 2).any())


def shoelace(polygon: FloatArray) -> float:
    """Area of a polygon (n, 2) from its corners."""
    x, y = polygon[:, 0] - polygon[0, 0], polygon[:, 1] - polygon[0, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _contains(polygon: FloatArray, point: FloatArray) -> bool:
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    spans = (y0 <= point[1]) != (y1 <= point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = x0 + (point[1] - y0) * (x1 - x0) / (y1 - y0)
    return bool(np.count_nonzero(spans & (point[0] < meets)) % 2)
