"""Planar contours to masks: a voxel is in where more than half of its volume is inside.

Convention. Contours are taken to the grid's own index space, so that oblique grids need no
special case; voxel `i` spans `[i - 1/2, i + 1/2]` on each axis. All contours of one plane
are combined by the even-odd rule (XOR): a contour inside another one is a hole, and the
coinciding edges of a keyhole cancel (DICOM PS3.3 C.8.8.6.3). Contours that overlap without one lying
inside the other are united first, unless their type says XOR (CLOSEDPLANAR_XOR). Along x the covered length is
exact; along y it is sampled by `lines` scan lines per voxel. Each plane stands for a slab that
reaches half way to the next contours above and below it, and a voxel's covered volume is the sum
over slabs: where contours lie on the slices this is the slice's own contour, where they lie between
slices, or more densely or sparsely than slices, it is what the voxel holds of the solid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.chains import with_own_slabs
from pipeline.dicom.contours.crossing import any_cross, areas_differ, solids_of
from pipeline.dicom.contours.planes import Planes, group_planes
from pipeline.dicom.contours.polygons import plane_areas, without_repeats
from pipeline.dicom.contours.scan_lines import areas_of, box_of, coverage_of, crossings_of
from pipeline.errors import ContourError
from pipeline.volumes.grids import Slices
from pipeline.volumes.volume import FloatArray, Grid

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
        polygon_ml: Area that the polygons enclose, holes taken off, × thickness of their slabs.
        outer_ml: The same of the outer contours alone.
        outside_share: Share of that volume that lies outside the image, 0 to 1.
        crossing_planes: Planes on which contours cross each other or themselves.
        united_planes: Those of them on which contours that overlap were united.
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
    united_planes: int
    hollow_planes: int
    repeated: int
    planes: Planes


def rasterise(contours: Sequence[FloatArray], grid: Grid, lines: int, unite: bool = True) -> Rasterised:
    """Mask of an ROI's closed planar contours on a grid.

    Args:
        contours: Each (n ≥ 3, 3): LPS points in mm; the last point is joined to the first.
        grid: Grid of the mask.
        lines: Scan lines per voxel edge.
        unite: Contours that overlap without one lying inside the other enclose their union; else XOR is taken.

    Raises:
        ContourError: A contour is not parallel to the grid's slices, or metres away.
    """
    _require_near(contours, grid)
    slice_mm = grid.spacing_mm[0]
    planes = group_planes([grid.indices(points)[:, ::-1] for points in contours], slice_mm)
    planes = with_own_slabs(planes, slice_mm)
    planes = replace(planes, polygons=tuple(without_repeats(p, REPEAT_PIXELS) for p in planes.polygons))
    filled = _filled(planes, grid.shape, lines, unite)
    solid = filled.solid
    # A slab's rim beyond the first or last slice is not lost tissue where its plane is on it.
    total = float((solid.plane_areas * _thickness_inside(planes, grid.shape[0])).sum())
    pixel_ml = grid.spacing_mm[1] * grid.spacing_mm[2] * grid.spacing_mm[0] / 1000.0
    thickness = planes.upper - planes.lower
    return Rasterised(
        mask=solid.mask,
        shares=solid.shares,
        polygon_ml=float((filled.areas * thickness).sum()) * pixel_ml,
        outer_ml=float((filled.outer * thickness).sum()) * pixel_ml,
        outside_share=max(0.0, 1.0 - solid.inside / total) if total > 0 else 0.0,
        crossing_planes=filled.crossing,
        united_planes=filled.united,
        hollow_planes=int((solid.plane_areas < HOLLOW * filled.outer).sum()),
        repeated=len(contours) - sum(len(polygons) for polygons in planes.polygons),
        planes=planes,
    )


@dataclass(frozen=True)
class _Filled:
    """Planes filled, contours that overlap united.

    Attributes:
        solid: What they enclose.
        areas: Area of each plane in voxels, holes taken off: by corners, where contours cross by scan lines.
        outer: The same of its outer contours alone.
        crossing: Planes on which contours cross each other or themselves.
        united: Planes on which some were united.
    """

    solid: _Solid
    areas: FloatArray
    outer: FloatArray
    crossing: int
    united: int


def _filled(planes: Planes, shape: tuple[int, int, int], lines: int, unite: bool) -> _Filled:
    solid = _solid_of(planes, shape, lines, {})
    by_plane = [plane_areas(polygons) for polygons in planes.polygons]
    crossing = [
        number
        for number, (polygons, own) in enumerate(zip(planes.polygons, by_plane, strict=True))
        if any_cross(polygons) or areas_differ(polygons, own.even_odd, solid.plane_areas[number], lines)
    ]
    solids = {number: solids_of(planes.polygons[number]) for number in crossing if unite}
    united = {plane: own for plane, own in solids.items() if len(set(own)) < len(own)}
    if united:
        solid = _solid_of(planes, shape, lines, united)
    areas = np.array([plane.even_odd for plane in by_plane])
    outer = np.array([plane.outer for plane in by_plane])
    if crossing:
        areas[crossing] = solid.plane_areas[crossing]
    if united:
        outer[list(united)] = _united_areas([planes.polygons[number] for number in united], lines)
    return _Filled(solid, areas, outer, len(crossing), len(united))


def _united_areas(planes: Sequence[Sequence[FloatArray]], lines: int) -> FloatArray:
    """The area that any contour of each plane encloses, in voxels."""
    whole = {number: [0] * len(polygons) for number, polygons in enumerate(planes)}
    crossings = crossings_of(planes, lines, whole)
    return areas_of(crossings, lines, len(planes))


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


def _solid_of(
    planes: Planes, shape: tuple[int, int, int], lines: int, solids: Mapping[int, Sequence[int]]
) -> _Solid:
    crossings = crossings_of(planes.polygons, lines, solids)
    box = box_of(crossings, shape[1:], lines)
    coverage = coverage_of(crossings, box, lines, len(planes.polygons))
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
