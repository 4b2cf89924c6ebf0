"""Shape features of a mask, from PyRadiomics' surface mesh without comparing all pairs of vertices."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.firstorder import UnknownFeature
from pipeline.radiomics.images import BoolArray, Spacing

FloatVector = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CORNERS = tuple(product((0, 1), repeat=3))
# If there are more candidates than this, their convex hull is taken first.
PAIRS_AT_ONCE = 2000


def shape_features(names: tuple[str, ...], mask: BoolArray, spacing_mm: Spacing) -> dict[str, float]:
    """PyRadiomics' shape features (`radiomics.shape`, 3.0.1) of a lesion's mask.

    Args:
        names: Features by PyRadiomics' names, the deprecated ones included.
        mask: Lesion (z, y, x), not empty.
        spacing_mm: Distance of voxel centres (z, y, x).

    Returns:
        Values by name (mm, mm², mm³ or none); NaN where the formula has no value, e.g. the
        elongation of one voxel.

    Raises:
        UnknownFeature: PyRadiomics has no such feature.
    """
    calculator = _calculator(mask, spacing_mm)
    with np.errstate(all="ignore"):
        return {name: _value(calculator, name) for name in names}


def _value(calculator: Any, name: str) -> float:
    method = getattr(calculator, f"get{name}FeatureValue", None)
    if method is None:
        raise UnknownFeature(name)
    return float(np.squeeze(method()))


def _calculator(mask: BoolArray, spacing_mm: Spacing) -> Any:
    """A PyRadiomics shape object in the state its constructor would leave it in."""
    from radiomics.shape import RadiomicsShape

    padded = np.pad(mask, 1)
    spacing = np.array(spacing_mm)
    shape = RadiomicsShape.__new__(RadiomicsShape)
    shape.logger = logging.getLogger("radiomics")
    shape.pixelSpacing = spacing
    shape.labelledVoxelCoordinates = np.nonzero(padded)
    mesh = mesh_coefficients(padded, spacing_mm)
    shape.SurfaceArea, shape.Volume, shape.diameters = (
        mesh.surface_mm2,
        mesh.volume_mm3,
        mesh.diameters_mm,
    )
    shape.eigenValues = _eigenvalues(np.stack(shape.labelledVoxelCoordinates, axis=1), spacing)
    return shape


def _eigenvalues(index: Any, spacing: Any) -> Any:
    """Eigenvalues (mm²), ascending, of the covariance of voxel centres."""
    points = index * spacing[None, :]
    points -= points.mean(axis=0)
    points /= np.sqrt(len(points))
    # PyRadiomics uses the general solver; for equal axes rounding leaves tiny imaginary parts.
    values = np.real(np.linalg.eigvals(points.T.copy() @ points)).copy()
    # Rounding leaves tiny negative eigenvalues for flat lesions.
    values[(values < 0) & (values > -1e-10)] = 0
    values.sort()
    return values


@dataclass(frozen=True)
class MeshCoefficients:
    """Measures of the surface mesh of a lesion.

    Attributes:
        surface_mm2: Area of the surface.
        volume_mm3: Enclosed volume.
        diameters_mm: Largest diameters within z-, y- and x-planes, and in 3D.
    """

    surface_mm2: float
    volume_mm3: float
    diameters_mm: tuple[float, float, float, float]


@dataclass(frozen=True)
class _CellTable:
    """What a cell of 2×2×2 voxels adds to the mesh, by kind of cell (256 kinds).

    Attributes:
        areas: Area (mm²).
        volumes: Volume (mm³) of a cell at the origin.
        moments: Change of the volume with the position of the cell (mm²; z, y, x).
    """

    areas: FloatVector
    volumes: FloatVector
    moments: FloatVector


def mesh_coefficients(mask: BoolArray, spacing_mm: Spacing) -> MeshCoefficients:
    """The results of PyRadiomics' `cShape.calculate_coefficients` (3.0.1), in a fraction of the time.

    The mesh is a sum over cells of 2×2×2 voxels, whose corners determine their triangles; all
    cells of one kind contribute the same. The diameters are the largest distances of two mesh
    vertices (midpoints between a voxel of the mask and a neighbour outside): in all directions
    from the convex hull, within a plane from the outermost vertices of each line.

    Args:
        mask: Lesion (z, y, x), with at least one empty voxel on every side.
        spacing_mm: Distance of voxel centres (z, y, x).
    """
    vertices = mesh_vertices(mask)
    half = np.asarray(spacing_mm) / 2.0
    planar = [_planar_diameter(vertices, axis, half) for axis in range(3)]
    diameters = (planar[0], planar[1], planar[2], _diameter(vertices * half))
    code = _cell_kinds(mask)
    cells = np.nonzero((code != 0) & (code != 255))
    kinds = code[cells]
    counts = np.bincount(kinds, minlength=256)
    table = _cell_table(spacing_mm)
    volume = float(counts @ table.volumes)
    for axis in range(3):
        positions = np.bincount(kinds, weights=cells[axis] * spacing_mm[axis], minlength=256)
        volume += float(positions @ table.moments[:, axis])
    return MeshCoefficients(float(counts @ table.areas), volume, diameters)


def _cell_kinds(mask: BoolArray) -> npt.NDArray[np.uint8]:
    """The kind of each cell: a bit for each of its corners that lies inside."""
    bits = mask.astype(np.uint8)
    code = np.zeros([n - 1 for n in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(CORNERS):
        part = bits[tuple(slice(c, n - 1 + c) for c, n in zip(corner, mask.shape, strict=True))]
        code |= part << bit
    return code


@lru_cache(maxsize=8)
def _cell_table(spacing_mm: Spacing) -> _CellTable:
    """What each kind of cell adds, measured by passing single cells to PyRadiomics' own mesh.

    The volume is a sum of tetrahedra over the origin of the image, so it is linear in the
    position of the cell. Its slope is measured with a cell whose first face is repeated before it.
    """
    from radiomics import cShape

    spacing = np.asarray(spacing_mm)
    areas, volumes, moments = np.zeros(256), np.zeros(256), np.zeros((256, 3))
    for kind in range(1, 255):
        cell = np.array([(kind >> bit) & 1 for bit in range(8)], dtype=bool).reshape(2, 2, 2)
        areas[kind], volumes[kind], _ = cShape.calculate_coefficients(cell, spacing)
        for axis in range(3):
            face = cell.take([0], axis)
            before = cShape.calculate_coefficients(np.concatenate([face, face], axis), spacing)[1]
            both = cShape.calculate_coefficients(np.concatenate([face, cell], axis), spacing)[1]
            moments[kind, axis] = (both - before - volumes[kind]) / spacing[axis]
    return _CellTable(areas, volumes, moments)


def mesh_vertices(mask: BoolArray) -> IntArray:
    """Mesh vertices (n, 3; z, y, x) in half voxels."""
    vertices = []
    for axis in range(3):
        lower = [slice(None)] * 3
        upper = [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        points = np.argwhere(mask[tuple(lower)] != mask[tuple(upper)]) * 2
        points[:, axis] += 1
        vertices.append(points)
    return np.concatenate(vertices)


def _planar_diameter(vertices: IntArray, axis: int, half: FloatVector) -> float:
    """Largest distance (mm) of two vertices with the same coordinate along an axis.

    Only the two outermost vertices of a line can belong to the widest pair. Planes are tried
    from the widest on, until no remaining plane can hold a wider pair.
    """
    first, second = (a for a in range(3) if a != axis)
    span = int(vertices.max()) + 1
    line = vertices[:, axis] * span + vertices[:, first]
    order = np.argsort(line * span + vertices[:, second])
    line = line[order]
    edge = np.flatnonzero(np.r_[True, line[1:] != line[:-1], True])
    ends = vertices[order[np.concatenate([edge[:-1], edge[1:] - 1])]]
    ends = ends[np.argsort(ends[:, axis], kind="stable")]
    points = ends[:, (first, second)] * half[[first, second]]
    starts = np.flatnonzero(np.r_[True, ends[1:, axis] != ends[:-1, axis]])
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    sizes = np.diff(np.r_[starts, len(points)])
    reach = np.linalg.norm(points - np.repeat((low + high) / 2, sizes, axis=0), axis=1)
    bounds = 2 * np.maximum.reduceat(reach, starts)
    best = 0.0
    for plane in np.argsort(-bounds):
        if bounds[plane] <= best:
            break
        members = points[starts[plane] : starts[plane] + sizes[plane]]
        best = max(best, _widest(members))
    return best


def _diameter(points: FloatVector) -> float:
    """Largest distance of two points (n, 3).

    Two points at distances r and s from a centre are at most r + s apart, so points that are too
    near the centre to belong to a pair wider than one already known are left out.
    """
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    reach = np.linalg.norm(points - centre, axis=1)
    best, start = 0.0, points[np.argmax(reach)]
    for _ in range(4):
        gaps = np.linalg.norm(points - start, axis=1)
        far = int(np.argmax(gaps))
        best, start = max(best, float(gaps[far])), points[far]
    candidates = points[reach >= best * (1 - 1e-12) - reach.max()]
    if len(candidates) > PAIRS_AT_ONCE:
        from scipy.spatial import ConvexHull

        # The hull of all points: the mesh is never flat, but the candidates alone may be.
        candidates = points[ConvexHull(points).vertices]
    return max(best, _widest(candidates))


def _widest(points: FloatVector) -> float:
    """Largest distance of two points (n, d), all pairs compared in blocks."""
    best = 0.0
    for start in range(0, len(points), PAIRS_AT_ONCE):
        block = points[start : start + PAIRS_AT_ONCE]
        squared = sum(np.subtract.outer(block[:, a], points[start:, a]) ** 2 for a in range(points.shape[1]))
        best = max(best, float(np.max(squared)))
    return float(np.sqrt(best))
