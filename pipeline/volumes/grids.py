"""Grids and boxes: how indices of two grids map, parts of a grid, finer and coarser grids."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.volumes.volume import FloatArray, Grid

Slices = tuple[slice, slice, slice]


def index_map(source: Grid, target: Grid, to_source: FloatArray) -> FloatArray:
    """4×4 matrix from target array index (z, y, x, 1) to source array index (z, y, x, 1).

    Args:
        source: Grid that values are read from.
        target: Grid that values are written to.
        to_source: 4×4 that maps target points to source points (LPS mm).
    """
    xyz = np.linalg.solve(source.affine(), to_source @ target.affine())
    order = [2, 1, 0, 3]
    return np.asarray(xyz[np.ix_(order, order)], dtype=np.float64)


def in_field(source: Grid, target: Grid, to_source: FloatArray) -> npt.NDArray[np.bool_]:
    """Target voxels whose centres lie within the source's field of view, outer edges included."""
    matrix = index_map(source, target, to_source)
    inside = np.ones(target.shape, dtype=bool)
    steps = [np.arange(n, dtype=float) for n in target.shape]
    for axis, size in enumerate(source.shape):
        a, b, c, d = matrix[axis]
        position = (
            (a * steps[0])[:, None, None] + (b * steps[1])[None, :, None] + (c * steps[2] + d)[None, None, :]
        )
        inside &= (position > -0.5 + 1e-6) & (position < size - 0.5 - 1e-6)
    return inside


def boxes_overlap(first: Grid, second: Grid) -> bool:
    """Whether the bounding boxes of two grids, along the patient's axes, share space."""
    corners = [grid.points(list(product(*[(-0.5, n - 0.5) for n in grid.shape]))) for grid in (first, second)]
    low = np.max([points.min(axis=0) for points in corners], axis=0)
    high = np.min([points.max(axis=0) for points in corners], axis=0)
    return bool((low < high).all())


def require_overlap(ct: Grid, pet: Grid, action: str) -> None:
    """Refuse a CT and a PET whose bounding boxes, along the patient's axes, share no space.

    Args:
        ct: The CT's grid.
        pet: The PET's grid, in the same frame of reference.
        action: What the message tells to do.

    Raises:
        GeometryError: With both grids.
    """
    if not boxes_overlap(ct, pet):
        raise GeometryError(
            "CT and PET do not overlap in space", expected=ct.describe(), got=pet.describe(), action=action
        )


def needed_region(
    matrix: FloatArray, target_shape: tuple[int, ...], source_shape: tuple[int, ...], pad: npt.ArrayLike
) -> Slices | None:
    """Slices of the source that a target grid touches, widened by `pad` voxels; None if none."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in target_shape])).reshape(3, -1)
    mapped = matrix[:3, :3] @ corners + matrix[:3, 3:4]
    low = np.maximum(np.floor(mapped.min(axis=1)).astype(int) - pad, 0)
    high = np.minimum(np.ceil(mapped.max(axis=1)).astype(int) + 1 + pad, source_shape)
    if np.any(low >= high):
        return None
    a, b, c = (slice(int(i), int(j)) for i, j in zip(low, high, strict=True))
    return (a, b, c)


def target_region(box: Slices, source: Grid, target: Grid, to_source: FloatArray) -> Slices | None:
    """Target slices that a box of the source (one voxel wider) covers."""
    matrix: FloatArray = np.asarray(np.linalg.inv(index_map(source, target, to_source)), dtype=np.float64)
    start = np.array([s.start - 1 for s in box], dtype=float)
    shifted = matrix.copy()
    shifted[:3, 3] += matrix[:3, :3] @ start
    size = tuple(s.stop - s.start + 2 for s in box)
    return needed_region(shifted, size, target.shape, 1)


def bounding_box(array: npt.NDArray[Any]) -> Slices | None:
    """Slices (z, y, x) around the non-zero voxels; None if there are none."""
    slices: list[slice] = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        hit = np.flatnonzero(array.any(axis=axes))
        if not len(hit):
            return None
        slices.append(slice(int(hit[0]), int(hit[-1]) + 1))
        # The slices of the first axis narrow what the other axes have to search.
        if axes == (1, 2):
            array = array[slices[0]]
    return (slices[0], slices[1], slices[2])


def sub_grid(grid: Grid, region: Slices) -> Grid:
    """The part of a grid that slices (z, y, x) select."""
    start = [s.start or 0 for s in region]
    shape = [len(range(*s.indices(n))) for s, n in zip(region, grid.shape, strict=True)]
    x, y, z = (float(v) for v in grid.points(start)[0])
    return Grid((shape[0], shape[1], shape[2]), grid.spacing_mm, (x, y, z), grid.direction)


def subdivide(grid: Grid, steps: tuple[int, ...]) -> Grid:
    """The same field of view with each voxel divided into `steps` (z, y, x) parts."""
    first = [(1 / n - 1) / 2 for n in steps]
    x, y, z = (float(v) for v in grid.points(first)[0])
    shape = [n * k for n, k in zip(grid.shape, steps, strict=True)]
    spacing = [s / k for s, k in zip(grid.spacing_mm, steps, strict=True)]
    return Grid(
        (shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2]), (x, y, z), grid.direction
    )


def coarse_grid(grid: Grid, spacing_mm: float) -> Grid:
    """A grid of the same field of view and axes with cubic voxels of about the given size."""
    shape = [max(1, round(n * s / spacing_mm)) for n, s in zip(grid.shape, grid.spacing_mm, strict=True)]
    corner = grid.points([-0.5 + spacing_mm / 2 / s for s in grid.spacing_mm])[0]
    x, y, z = (float(v) for v in corner)
    size = (spacing_mm, spacing_mm, spacing_mm)
    return Grid((shape[0], shape[1], shape[2]), size, (x, y, z), grid.direction)
