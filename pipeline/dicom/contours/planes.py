"""Planar contours by plane, and the slab of the solid that each plane stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.dicom.contours.polygons import widest_holders
from pipeline.errors import ContourError
from pipeline.volumes.volume import FloatArray

PLANE_TOLERANCE_MM = 0.1
"""Contours closer than this along the normal lie in one plane."""
MAX_TILT_SLICES = 0.5
"""A contour whose points spread further along the normal is not parallel to the slices."""
MAX_PLANE_GAP_MM = 12.0
"""Planes further apart than this are never joined: two lesions, not one."""
GAP_FACTOR = 1.5
"""Planes further apart than this times the usual distance are not joined either."""

TWICE_SLICES = 0.3
"""Planes closer than this may be one plane stored twice."""

HOLE_MM = 0.5
"""A hole may be stored this far beside the plane of its outline."""
SAME_OUTLINE_PIXELS = 1.0
"""A contour that is nowhere further inside another one repeats it, and is no hole."""


@dataclass(frozen=True)
class Planes:
    """An ROI's contours by plane, in index space.

    Attributes:
        positions: Ascending slice index of each plane (continuous); twice where parts of it have other slabs.
        lower: Where each plane's slab begins (slice index).
        upper: Where it ends.
        polygons: Per plane its contours, each (n, 2): x and y index.
        step: Usual distance of planes, in slices.
        gaps: Places where planes are missing in between.
        beside: Contours that lie within the outline of a plane much closer than planes usually are, and yet too far
            beside it for a hole of it.
    """

    positions: FloatArray
    lower: FloatArray
    upper: FloatArray
    polygons: tuple[tuple[FloatArray, ...], ...]
    step: float
    gaps: int
    beside: int = 0


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
    polygons = [tuple(contours[i][:, :2] for i in group) for group in groups]
    widest = MAX_PLANE_GAP_MM / slice_mm
    plain = _with_slabs(positions, tuple(polygons), widest, 0)
    return _with_holes(plain, widest, HOLE_MM / slice_mm)


def _with_holes(planes: Planes, widest: float, nearest: float) -> Planes:
    """Planes, with holes that are stored a little beside the plane of their outline put on it.

    Left where they are, a hole would be a plane of its own that adds to the solid. Planes that are close together
    everywhere are left alone: on these a lesion ends in contours ever smaller.

    Args:
        planes: As they are stored.
        widest: Planes further apart than this are never joined (slices).
        nearest: How far beside its outline a hole may lie (slices).
    """
    apart = np.flatnonzero(np.diff(planes.positions) > min(TWICE_SLICES, planes.step / 3)) + 1
    moved: list[list[FloatArray]] = [[] for _ in planes.polygons]
    beside = 0
    for cluster in np.split(np.arange(len(planes.polygons)), apart):
        plane = [number for number in cluster for _ in planes.polygons[number]]
        contours = [polygon for number in cluster for polygon in planes.polygons[number]]
        holders = range(len(plane)) if len(cluster) == 1 else widest_holders(contours, SAME_OUTLINE_PIXELS)
        for contour, own, holder in zip(contours, plane, holders, strict=True):
            near = abs(planes.positions[own] - planes.positions[plane[holder]]) <= nearest
            moved[plane[holder] if near else own].append(contour)
            beside += not near
    filled = [number for number, own in enumerate(moved) if own]
    polygons = tuple(tuple(moved[number]) for number in filled)
    return _with_slabs(planes.positions[filled], polygons, widest, beside)


def _with_slabs(
    positions: FloatArray, polygons: tuple[tuple[FloatArray, ...], ...], widest: float, beside: int
) -> Planes:
    """Planes with slabs that reach half way to neighbours no further than the widest gap (slices)."""
    distances = np.diff(positions)
    close = distances[distances <= max(widest, 1.0 + 1e-6)]
    step = usual_distance(close)
    joined = distances <= longest_joined(step)
    half = np.where(joined, distances / 2, step / 2)
    lower = positions - np.concatenate([[step / 2], half])
    upper = positions + np.concatenate([half, [step / 2]])
    return Planes(positions, lower, upper, polygons, step, int((~joined).sum()), beside)


def is_joined(distance: float, step: float) -> bool:
    """Whether planes of a distance (slices) belong together where they are usually a step apart."""
    return distance <= longest_joined(step)


def longest_joined(step: float) -> float:
    """The longest distance of planes (slices) that belong together where they are usually a step apart."""
    return max(GAP_FACTOR * step, step + 1e-6)


def usual_distance(distances: FloatArray) -> float:
    """The median distance of planes (slices); of planes stored twice, a little apart, that of the pairs."""
    if not distances.size:
        return 1.0
    wide = distances[distances > TWICE_SLICES]
    # Planes that are dense everywhere make up most of the ROI's height, the twins of doubled ones little of it.
    doubled = wide.size and float(wide.sum()) > float(distances.sum()) / 2
    return float(np.median(wide if doubled else distances))
