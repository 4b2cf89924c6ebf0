"""Planes of contours and frames against the planes of the images that they name, (0008,1155).

A contour names the image it was drawn on. Where it lies on another plane than that image, either its coordinates
or the image's position were changed since: an export moved, or numbered the slices from the other end. Which of
the two is right cannot be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ContourError
from pipeline.volumes.volume import FloatArray

_ROUNDING_MM = 0.05
_OWN_IMAGES = 0.5
"""Contours name images of their own where these are at least this share of the contours' planes; a program that
names the series' first image everywhere says nothing of any plane."""
ACTION = "export contours and images together again; if the coordinates are right, remove the references to instances"


@dataclass(frozen=True)
class SlicePlanes:
    """Planes of a series.

    Attributes:
        normal: Unit normal of the slices (3,), LPS.
        spacing_mm: Distance of neighbouring slices.
        depths_mm: By instance of one plane, or by frame (`planes_named`), its position along the normal.
    """

    normal: tuple[float, float, float]
    spacing_mm: float
    depths_mm: Mapping[str, float]


@dataclass(frozen=True)
class _Distance:
    """A contour or frame against the nearest of the planes that it names.

    Attributes:
        uid: That instance or frame.
        depth_mm: Where the contour lies along the normal of the slices.
        mm: How far it lies above that plane.
        spacing_mm: Distance of neighbouring slices.
    """

    uid: str
    depth_mm: float
    mm: float
    spacing_mm: float

    def is_off(self) -> bool:
        """Whether another slice is nearer than the one that is named."""
        return abs(self.mm) > 0.5 * self.spacing_mm + _ROUNDING_MM


def plane_warnings(
    centres: FloatArray,
    named: Sequence[frozenset[str]],
    images: Iterable[SlicePlanes | None],
    what: str,
    where: str,
) -> list[str]:
    """Hold planes against those of the images that they name.

    One further from its image than half the distance of slices is told. Where they are more than half of those that
    name images of their own, all are refused. Of several images that one contour names the nearest counts; unknown
    instances, and multi-frame ones without a frame's number, do not.

    Args:
        centres: A point of each contour or frame, (n, 3) LPS mm.
        named: By contour or frame, the instances or frames (`planes_named`) that it names.
        images: Planes of the images in use; None where they are not known.
        what: What messages call the region.
        where: The file and element.

    Raises:
        ContourError: More than half lie on other planes than those of their images.
    """
    known = [planes for planes in images if planes is not None and planes.spacing_mm > 0]
    distances = [_nearest(point, uids, known) for point, uids in zip(centres, named, strict=True)]
    compared = [distance for distance in distances if distance is not None]
    off = [distance for distance in compared if distance.is_off()]
    if not off:
        return []
    shift = float(np.median([distance.mm for distance in off]))
    found = f"{len(off)} of {len(compared)}, {shift:+.4g} mm (median) along the slices' normal"
    heights = {round(distance.depth_mm / distance.spacing_mm, 1) for distance in compared}
    own_images = len({distance.uid for distance in compared}) >= _OWN_IMAGES * len(heights)
    if own_images and 2 * len(off) > len(compared):
        raise ContourError(
            f"{what} lies on other planes than the images it names",
            where=where,
            expected="planes within half a slice of those of the images named",
            got=found,
            action=ACTION,
        )
    return [f"{what}: planes are farther than half a slice from those of the images they name ({found})"]


def _nearest(point: FloatArray, uids: frozenset[str], images: Sequence[SlicePlanes]) -> _Distance | None:
    """The nearest of the planes that a point's contour names; None where it names none."""
    found: list[_Distance] = []
    for image in images:
        if own := [uid for uid in sorted(uids) if uid in image.depths_mm]:
            depth = float(np.dot(point, image.normal))
            uid = min(own, key=lambda each: abs(depth - image.depths_mm[each]))
            found.append(_Distance(uid, depth, depth - image.depths_mm[uid], image.spacing_mm))
    return min(found, key=lambda distance: abs(distance.mm), default=None)
