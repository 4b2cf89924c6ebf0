"""Parts of an ROI that lie beside each other: each has its own distance of planes, and so its own slabs.

One ROI may hold two lesions, one drawn on every slice and the other on every second one. The
planes of the one say nothing of the other: what a contour stands for along the normal reaches
half way to the next plane that has a contour above or below *it*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.planes import MAX_PLANE_GAP_MM, Planes, is_joined, longest_joined, usual_distance
from pipeline.dicom.contours.polygons import outlines_overlap
from pipeline.volumes.volume import FloatArray

SAME_SLAB = 0.05
"""A slab that differs by less (of a slice, or of the planes' distance) from that of its plane is the same."""
SPARSE_RUN = 3
"""Contours one above the other at one distance, wider than usual, from which on they are drawn so on purpose."""
SAME_STEP = 0.1
"""Distances of planes that part by less (of themselves) are the same."""


@dataclass(frozen=True)
class _PlanePart:
    """Contours of one plane that overlap, such as an outline with its holes.

    Attributes:
        plane: Number of the plane.
        members: Which of the plane's contours.
        polygons: These contours, the widest first.
        box: Least x and y, greatest x and y.
    """

    plane: int
    members: tuple[int, ...]
    polygons: tuple[FloatArray, ...]
    box: FloatArray


@dataclass(frozen=True)
class _Neighbours:
    """The regions of the nearest plane on one side that overlap a region.

    Attributes:
        regions: Their numbers.
        distance: How far that plane is (slices).
    """

    regions: tuple[int, ...]
    distance: float


def with_own_slabs(planes: Planes, slice_mm: float) -> Planes:
    """Planes whose contours have the slabs of the part of the ROI that they belong to.

    A plane whose parts differ is split; `gaps` counts places where planes of a part are missing, too.

    Args:
        planes: All planes of an ROI.
        slice_mm: Distance of the image's slices.
    """
    regions = [region for number in range(len(planes.positions)) for region in _regions(planes, number)]
    boxes = np.array([region.box for region in regions])
    above = [_nearest(number, regions, boxes, planes.positions, 1) for number in range(len(regions))]
    below = [_nearest(number, regions, boxes, planes.positions, -1) for number in range(len(regions))]
    widest = max(MAX_PLANE_GAP_MM / slice_mm, 1.0 + 1e-6)
    steps = _steps(above, below, widest, planes.step)
    slabs: dict[tuple[int, float, float], list[int]] = {}
    for number, region in enumerate(regions):
        slab = _slab(region, steps[number], above[number], below[number], planes)
        slabs.setdefault((region.plane, *slab), []).extend(region.members)
    ordered = sorted(slabs)
    lower, upper = (np.array([slab[side] for slab in ordered]) for side in (1, 2))
    bridged = _bridged_gaps(regions, above, below, steps)
    return replace(
        planes,
        positions=np.array([float(planes.positions[plane]) for plane, *_ in ordered]),
        lower=lower,
        upper=upper,
        polygons=tuple(tuple(planes.polygons[slab[0]][i] for i in sorted(slabs[slab])) for slab in ordered),
        step=planes.step if _unchanged(planes, lower, upper) else float(np.median(steps)),
        gaps=_open_gaps(planes, lower, upper) + bridged,
    )


def _regions(planes: Planes, number: int) -> Iterator[_PlanePart]:
    """Regions of a plane."""
    polygons = planes.polygons[number]
    boxes = np.array([[*polygon.min(axis=0), *polygon.max(axis=0)] for polygon in polygons])
    groups: list[list[int]] = []
    for i, polygon in enumerate(polygons):
        near = _boxes_overlap(boxes, boxes[i])
        same = [
            group
            for group in groups
            if any(near[j] and outlines_overlap(polygon, polygons[j]) for j in group)
        ]
        groups = [group for group in groups if group not in same]
        groups.append(sorted([i, *(j for group in same for j in group)]))
    extent = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for group in groups:
        widest_first = sorted(group, key=lambda j: -float(extent[j]))
        box = np.concatenate([boxes[group, :2].min(axis=0), boxes[group, 2:].max(axis=0)])
        yield _PlanePart(number, tuple(group), tuple(polygons[j] for j in widest_first), box)


def _boxes_overlap(boxes: FloatArray, box: FloatArray) -> npt.NDArray[np.bool_]:
    """Which boxes (n, 4) overlap one."""
    within = (boxes[:, :2] <= box[2:]) & (boxes[:, 2:] >= box[:2])
    overlap: npt.NDArray[np.bool_] = np.logical_and.reduce(within, axis=1)
    return overlap


def _nearest(
    number: int, regions: Sequence[_PlanePart], boxes: FloatArray, positions: FloatArray, side: int
) -> _Neighbours | None:
    """The overlapping regions of the nearest plane above (side 1) or below (-1)."""
    region = regions[number]
    near = np.flatnonzero(_boxes_overlap(boxes, region.box))
    found: list[int] = []
    for other in near[::side]:
        candidate = regions[other]
        if (candidate.plane - region.plane) * side <= 0:
            continue
        if found and candidate.plane != regions[found[0]].plane:
            break
        if any(outlines_overlap(a, b) for a in region.polygons for b in candidate.polygons):
            found.append(int(other))
    if not found:
        return None
    distance = positions[regions[found[0]].plane] - positions[region.plane]
    return _Neighbours(tuple(found), abs(float(distance)))


def _steps(
    above: Sequence[_Neighbours | None], below: Sequence[_Neighbours | None], widest: float, usual: float
) -> FloatArray:
    """The distance of planes of each region's chain (slices).

    A chain is what overlaps from plane to plane. Of two planes the distance may be that of a missing
    one: such a chain's planes are no further apart than those of the ROI's others. Of two lesions one above the
    other, in one chain, the one may be drawn on every slice and the other on every third; each has its own.
    """
    distances = np.array([np.inf if each is None else each.distance for each in above])
    close = distances <= widest
    chain = _linked(above, lambda number, _: bool(close[number]))
    whole = usual_distance(distances[close]) if close.any() else usual
    nearest = np.minimum(distances, [np.inf if each is None else each.distance for each in below])
    steps = np.full(len(above), whole)
    for name in np.unique(chain):
        own = distances[close & (chain == name)]
        if not own.size:
            continue
        step = usual_distance(own)
        steps[chain == name] = step if own.size > 1 else min(step, whole)
        dense = usual_distance(own[own <= step])
        sparse = (chain == name) & (nearest <= widest) & (nearest > longest_joined(dense))
        for members in _sparse_runs(above, nearest, sparse):
            steps[(chain == name) & ~sparse] = dense
            steps[members] = float(np.median(nearest[members]))
    return steps


def _sparse_runs(
    above: Sequence[_Neighbours | None], nearest: FloatArray, sparse: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.int64]]:
    """Sparse regions one above the other at one distance; fewer than `SPARSE_RUN` have planes missing between them."""

    def alike(number: int, other: int) -> bool:
        pair = np.array([number, other])
        neighbours = above[number]
        between = nearest[number] if neighbours is None else neighbours.distance
        return bool(sparse[pair].all() and (np.abs(nearest[pair] - between) <= SAME_STEP * between).all())

    run = _linked(above, alike)
    for name in np.unique(run[sparse]):
        members = np.flatnonzero(sparse & (run == name))
        if len(members) >= SPARSE_RUN:
            yield members


def _linked(above: Sequence[_Neighbours | None], joins: Callable[[int, int], bool]) -> npt.NDArray[np.int64]:
    """For each region the group that it belongs to, joined from plane to plane where two regions may be."""
    group = np.arange(len(above))
    for number, neighbours in enumerate(above):
        others = [] if neighbours is None else [i for i in neighbours.regions if joins(number, i)]
        if others:
            linked = np.unique(group[[number, *others]])
            group[np.isin(group, linked)] = linked[0]
    return group


def _slab(
    region: _PlanePart, step: float, above: _Neighbours | None, below: _Neighbours | None, planes: Planes
) -> tuple[float, float]:
    """Where a region's slab begins and ends."""
    middle = float(planes.positions[region.plane])
    lower, upper = middle - _half(step, below), middle + _half(step, above)
    usual = float(planes.lower[region.plane]), float(planes.upper[region.plane])
    if max(abs(lower - usual[0]), abs(upper - usual[1])) <= SAME_SLAB * min(1.0, step):
        return usual
    return round(lower, 6), round(upper, 6)


def _half(step: float, neighbours: _Neighbours | None) -> float:
    """How far a slab reaches to one side: half way to its neighbours, not across a gap."""
    if neighbours is None or not is_joined(neighbours.distance, step):
        return step / 2
    return neighbours.distance / 2


def _unchanged(planes: Planes, lower: FloatArray, upper: FloatArray) -> bool:
    return np.array_equal(lower, planes.lower) and np.array_equal(upper, planes.upper)


def _open_gaps(planes: Planes, lower: FloatArray, upper: FloatArray) -> int:
    """Places between planes where those of the whole ROI are too far apart and no slab reaches half way."""
    apart = [i for i, d in enumerate(np.diff(planes.positions)) if not is_joined(float(d), planes.step)]
    middles = [(planes.positions[i] + planes.positions[i + 1]) / 2 for i in apart]
    return sum(not ((lower < m) & (upper >= m - 1e-5)).any() for m in middles)


def _bridged_gaps(
    regions: Sequence[_PlanePart],
    above: Sequence[_Neighbours | None],
    below: Sequence[_Neighbours | None],
    steps: FloatArray,
) -> int:
    """Places where planes of a part are missing while other parts have contours at that height.

    Only regions that are each other's nearest are asked: a lobe that ends below a bulge misses nothing.
    """
    count = 0
    for number, neighbours in enumerate(above):
        if neighbours is None or is_joined(neighbours.distance, float(steps[number])):
            continue
        other = neighbours.regions[0]
        back = below[other]
        mutual = back is not None and number in back.regions
        count += mutual and regions[other].plane - regions[number].plane > 1
    return count
