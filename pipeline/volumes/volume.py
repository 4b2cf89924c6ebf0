"""Volumes: arrays of voxels on a grid in the patient's coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError

Quantity = Literal["ct_hu", "pet_stored", "activity_bqml", "pet_suvbw", "mask", "other"]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """A regular grid in the patient's coordinates (LPS, mm; DICOM PS3.3 C.7.6.2.1.1).

    Attributes:
        shape: Voxels (z, y, x).
        spacing_mm: Distance of voxel centres (z, y, x).
        origin_mm: Centre of voxel (0, 0, 0), as an LPS point (x, y, z).
        direction: 3×3; its columns are the unit vectors (LPS) of the array's x, y and z axes
            (ITK's convention).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def affine(self) -> FloatArray:
        """4×4 matrix from array index (x, y, z, 1) to LPS mm."""
        matrix: FloatArray = np.zeros((4, 4), dtype=np.float64)
        matrix[:3, :3] = np.asarray(self.direction) @ np.diag(self.spacing_mm[::-1])
        matrix[:3, 3] = self.origin_mm
        matrix[3, 3] = 1.0
        return matrix

    def points(self, index_zyx: npt.ArrayLike) -> FloatArray:
        """LPS points (n, 3; x, y, z) of array indices (n, 3; z, y, x)."""
        index = np.atleast_2d(np.asarray(index_zyx, dtype=float))[:, ::-1]
        matrix = self.affine()
        points: FloatArray = index @ matrix[:3, :3].T + matrix[:3, 3]
        return points

    def indices(self, points_lps: npt.ArrayLike) -> FloatArray:
        """Continuous array indices (n, 3; z, y, x) of LPS points (n, 3; x, y, z)."""
        matrix = self.affine()
        points = np.atleast_2d(np.asarray(points_lps, dtype=float)) - matrix[:3, 3]
        return np.asarray(np.linalg.solve(matrix[:3, :3], points.T).T[:, ::-1], dtype=np.float64)

    def centre_mm(self) -> FloatArray:
        """LPS point (x, y, z) of the grid's centre."""
        centre: FloatArray = self.points([(n - 1) / 2 for n in self.shape])[0]
        return centre

    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def matches(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """Same shape, and every corner within a tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        gap = np.abs(self.points(corners) - other.points(corners)).max()
        return bool(gap <= tolerance_mm)

    def describe(self) -> str:
        """The geometry in one line, for messages."""
        size = "×".join(str(n) for n in self.shape)
        space = "×".join(f"{s:.4g}" for s in self.spacing_mm)
        origin = ", ".join(f"{o:.2f}" for o in self.origin_mm)
        rotated = "" if np.allclose(self.direction, np.eye(3), atol=1e-4) else ", rotated axes"
        return f"{size} voxels (z,y,x) of {space} mm, origin ({origin}) mm LPS{rotated}"


@dataclass(frozen=True)
class Volume:
    """An array (z, y, x) on a grid, with what its values mean."""

    array: npt.NDArray[Any]
    grid: Grid
    quantity: Quantity = "other"

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise GeometryError(
                "array and grid differ in shape", expected=str(self.grid.shape), got=str(self.array.shape)
            )

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxel centres (z, y, x)."""
        return self.grid.spacing_mm

    def with_array(self, array: npt.NDArray[Any], quantity: Quantity | None = None) -> Volume:
        """The same grid with other values."""
        return replace(self, array=array, quantity=quantity or self.quantity)


def require_same_grid(first: Grid, second: Grid, what: str, where: str = "") -> None:
    """Raise a GeometryError that prints both geometries where two grids differ."""
    if not first.matches(second):
        raise GeometryError(
            f"{what} do not share a grid",
            where=where,
            expected=first.describe(),
            got=second.describe(),
            action="export both from the same series, or resample one of them on purpose",
        )
