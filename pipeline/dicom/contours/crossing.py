"""Contours of one plane that cross each other or themselves, and which of them are one solid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.polygons import outlines_overlap, shoelace
from pipeline.volumes.volume import FloatArray

PAIRS_AT_ONCE = 500_000
"""Pairs of edges that are held at a time: below 100 MiB."""
HOLE_SHARE = 0.9
"""A contour of whose area this share lies inside another one is a hole in it, though its rim crosses the other's."""
_ANGLES = np.arange(8) * np.pi / 8 + 0.1
"""Directions to sweep along; none is an axis, since contours along pixel edges have many edges of one place."""
_LINES = 64
"""Lines along which the share of one polygon inside another is measured: to about 1 %."""


def solids_of(polygons: Sequence[FloatArray]) -> list[int]:
    """For each polygon (n, 2) of a plane the solid that it belongs to: the number of the first one of it.

    Contours that overlap without one lying inside the other enclose one solid, their union: nobody draws a hole
    across an outline. One that lies inside another by `HOLE_SHARE` or more stays by itself, as a hole or an island.
    """
    solid = list(range(len(polygons)))
    for number, polygon in enumerate(polygons):
        for earlier in range(number):
            first, second = solid[earlier], solid[number]
            if first != second and _partly_overlap(polygons[earlier], polygon):
                solid = [min(first, second) if own in (first, second) else own for own in solid]
    return solid


def _partly_overlap(first: FloatArray, second: FloatArray) -> bool:
    if not outlines_overlap(first, second):
        return False
    smaller, larger = sorted((first, second), key=shoelace)
    return 0.0 < share_inside(smaller, larger) < HOLE_SHARE


def share_inside(polygon: FloatArray, other: FloatArray) -> float:
    """Share of a polygon's area that lies inside another one, 0 to 1; both by the even-odd rule."""
    low, high = float(polygon[:, 1].min()), float(polygon[:, 1].max())
    heights = low + (np.arange(_LINES) + 0.5) / _LINES * (high - low)
    own, others = _line_ends(polygon, heights), _line_ends(other, heights)
    whole = float(-(own.sign * own.x).sum())
    line, x = np.concatenate([own.line, others.line]), np.concatenate([own.x, others.x])
    sign = np.concatenate([own.sign, others.sign])
    order = np.lexsort((x, line))
    inside_both = np.cumsum(sign[order])[:-1] == 2
    common = float(np.diff(x[order])[inside_both].sum())
    return common / whole if whole > 0 else 0.0


@dataclass(frozen=True)
class _LineEnds:
    """Where lines enter (sign 1) and leave (-1) a polygon, sorted by line and x."""

    line: npt.NDArray[np.int64]
    x: FloatArray
    sign: FloatArray


def _line_ends(polygon: FloatArray, heights: FloatArray) -> _LineEnds:
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    line, edge = np.nonzero((y0 <= heights[:, None]) != (y1 <= heights[:, None]))
    x = x0[edge] + (heights[line] - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    order = np.lexsort((x, line))
    return _LineEnds(line[order], x[order], np.tile([1.0, -1.0], len(x) // 2))


def areas_differ(polygons: Sequence[FloatArray], own: float, even_odd: float, lines: int) -> bool:
    """Whether the even-odd area is not that of the corners: contours that cross themselves, or
    that run along each other (drawn along pixel edges) and overlap."""
    width = sum(float(np.ptp(polygon[:, 0])) for polygon in polygons)
    return abs(own - even_odd) > 0.02 * max(own, even_odd) + width / lines


def any_cross(polygons: Sequence[FloatArray]) -> bool:
    """Whether two contours of a plane cross, i.e. overlap without one containing the other.

    Edges are sorted along one direction, and only those that overlap along it are compared (sweep and
    prune), at most `PAIRS_AT_ONCE` pairs at a time: contours of some ten thousand corners would otherwise
    ask for the memory of all pairs.
    """
    near = _overlapping(polygons)
    if len(near) < 2:
        return False
    start = np.concatenate(near)
    end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in near])
    owner = np.repeat(np.arange(len(near)), [len(polygon) for polygon in near])
    sweep = min((_sweep(start, end, angle) for angle in _ANGLES), key=lambda each: int(each.count.sum()))
    start, end, owner = start[sweep.order], end[sweep.order], owner[sweep.order]
    upto = np.cumsum(sweep.count)
    low = 0
    while low < len(start):
        before = int(upto[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(upto, before + PAIRS_AT_ONCE, side="right")))
        one = np.repeat(np.arange(low, high), sweep.count[low:high])
        other = (
            one
            + 1
            + np.arange(len(one))
            - np.repeat(upto[low:high] - sweep.count[low:high] - before, sweep.count[low:high])
        )
        differ = owner[one] != owner[other]
        one, other = one[differ], other[differ]
        if _edges_cross(start[one], end[one], start[other], end[other]):
            return True
        low = high
    return False


def _overlapping(polygons: Sequence[FloatArray]) -> list[FloatArray]:
    """The polygons whose bounding box overlaps another one's."""
    low = np.array([polygon.min(axis=0) for polygon in polygons]).reshape(-1, 2)
    high = np.array([polygon.max(axis=0) for polygon in polygons]).reshape(-1, 2)
    overlap = np.logical_and.reduce((high[:, None] > low[None]) & (high[None] > low[:, None]), axis=2)
    overlap &= ~np.eye(len(polygons), dtype=bool)
    return [polygons[i] for i in np.flatnonzero(np.count_nonzero(overlap, axis=1))]


@dataclass(frozen=True)
class _Sweep:
    """Edges sorted by where they begin along a direction.

    Attributes:
        order: The edges in that order.
        count: For each, how many of those that follow begin before it ends.
    """

    order: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]


def _sweep(start: FloatArray, end: FloatArray, angle: float) -> _Sweep:
    direction = np.array([np.cos(angle), np.sin(angle)])
    first, last = start @ direction, end @ direction
    low, high = np.minimum(first, last), np.maximum(first, last)
    order = np.argsort(low, kind="stable")
    reach = np.searchsorted(low[order], high[order], side="right")
    return _Sweep(order, reach - np.arange(len(order)) - 1)


def _edges_cross(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> bool:
    """Whether an edge a→b crosses its partner c→d; all (n, 2)."""
    parted = _side(a, b, c) * _side(a, b, d) < 0
    a, b, c, d = a[parted], b[parted], c[parted], d[parted]
    return bool((_side(c, d, a) * _side(c, d, b) < 0).any())


def _side(a: FloatArray, b: FloatArray, p: FloatArray) -> FloatArray:
    """Sign of which side of a→b a point lies on; nearly on it counts as on it."""
    u, v = b - a, p - a
    turn: FloatArray = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return np.where(np.abs(turn) < 1e-6, 0.0, np.sign(turn))
