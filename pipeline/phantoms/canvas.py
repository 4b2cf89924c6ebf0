"""Solids of template space with soft edges, painted on the grid of a rotated and shifted patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.phantoms.tumour import FloatArray
from pipeline.volumes.volume import Grid

Box = tuple[slice, slice, slice]


class Solid(Protocol):
    """A solid in template space."""

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """Centre (x, y, z) of a ball that holds the solid."""

    @property
    def reach_mm(self) -> float:
        """Radius of that ball; infinite: the whole image."""

    def distance(self, points: FloatArray) -> FloatArray:
        """Approximate distance (mm) of points (3, …; x, y, z) from the surface; negative inside."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with axes along the template's: centre and semi-axes (x, y, z) in mm."""

    centre_mm: tuple[float, float, float]
    radii: tuple[float, float, float]

    @property
    def reach_mm(self) -> float:
        """Radius of the ball that holds it."""
        return max(self.radii)

    def distance(self, points: FloatArray) -> FloatArray:
        """First-order distance: exact on the surface, with the correct slope along the axes."""
        scaled = sum(
            ((points[i] - points.dtype.type(self.centre_mm[i])) / points.dtype.type(self.radii[i])) ** 2
            for i in range(3)
        )
        distance: FloatArray = (np.sqrt(scaled) - 1) * points.dtype.type(min(self.radii))
        return distance


@dataclass(frozen=True)
class Column:
    """An elliptic cylinder along z, open below, that ends at `top_mm`."""

    centre_xy: tuple[float, float]
    radii: tuple[float, float]
    top_mm: float

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """A point on its axis."""
        return (*self.centre_xy, self.top_mm)

    @property
    def reach_mm(self) -> float:
        """Infinite: the column leaves the image below."""
        return float("inf")

    def distance(self, points: FloatArray) -> FloatArray:
        """First-order distance from the wall or the top."""
        scaled = sum(
            ((points[i] - points.dtype.type(self.centre_xy[i])) / points.dtype.type(self.radii[i])) ** 2
            for i in range(2)
        )
        wall = (np.sqrt(scaled) - 1) * points.dtype.type(min(self.radii))
        distance: FloatArray = np.maximum(wall, points[2] - points.dtype.type(self.top_mm))
        return distance


def share_inside(distance_mm: FloatArray, edge_mm: float) -> FloatArray:
    """Share (0 to 1) of a voxel that lies inside, from its distance to an edge `edge_mm` wide."""
    share: FloatArray = np.clip(0.5 - distance_mm / distance_mm.dtype.type(edge_mm), 0, 1)
    return share


class VoxelCanvas:
    """An image under construction.

    Args:
        grid: The image's grid (its axes are those of the scanner).
        rigid: 4×4, template points to patient points (LPS mm).
        edge_mm: Width of soft edges.
        fill: Value of the empty image.
    """

    def __init__(self, grid: Grid, rigid: FloatArray, edge_mm: float, fill: float) -> None:
        self.grid, self.rigid, self.edge_mm = grid, rigid, edge_mm
        self.array = np.full(grid.shape, fill, dtype=np.float32)
        affine = grid.affine()
        # Axes of the phantom's scanners are LPS, so each coordinate varies along one array axis.
        self.axes = [
            (affine[i, 3] + affine[i, i] * np.arange(grid.shape[2 - i])).astype(np.float32) for i in range(3)
        ]

    def box(self, solid: Solid, margin_mm: float) -> Box:
        """Part of the array that can hold a solid with a margin."""
        if not np.isfinite(solid.reach_mm):
            return slice(None), slice(None), slice(None)
        centre = self.rigid[:3, :3] @ np.asarray(solid.centre_mm) + self.rigid[:3, 3]
        spans = []
        for axis, middle in zip(self.axes, centre, strict=True):
            low, high = middle - solid.reach_mm - margin_mm, middle + solid.reach_mm + margin_mm
            spans.append(slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high))))
        return spans[2], spans[1], spans[0]

    def points(self, box: Box) -> FloatArray:
        """Template points (3, z, y, x) of a part of the array, float32."""
        z, y, x = (self.axes[2 - i][box[i]] for i in range(3))
        turn = self.rigid[:3, :3].T.astype(np.float32)
        shift = (-self.rigid[:3, :3].T @ self.rigid[:3, 3]).astype(np.float32)
        return np.stack(
            [
                turn[i, 0] * x[None, None, :]
                + (turn[i, 1] * y[None, :, None] + (turn[i, 2] * z[:, None, None] + shift[i]))
                for i in range(3)
            ]
        )

    def paint(self, solid: Solid, value: float) -> None:
        """Set the voxels inside a solid to a value."""
        box = self.box(solid, self.edge_mm)
        weight = share_inside(solid.distance(self.points(box)), self.edge_mm)
        self.array[box] += weight * (np.float32(value) - self.array[box])

    def raise_to(self, solid: Solid, value: float) -> None:
        """Raise the voxels inside a solid to a value; higher voxels stay."""
        box = self.box(solid, self.edge_mm)
        weight = share_inside(solid.distance(self.points(box)), self.edge_mm)
        self.array[box] += weight * np.maximum(np.float32(value) - self.array[box], 0)
