"""Elastic deformation of a batch: random free-form deformations that cannot fold.

Control points lie about an array's centre, `elastic_spacing_voxels` apart on every axis. Each
is displaced, and cubic B-splines carry the displacements to the voxels between (Rueckert et al.
1999, equation 2). Simard et al. 2003, and MONAI's Rand3DElastic after them, draw noise for every
voxel and smooth it; control points, as here, are what MONAI's Rand2DElastic has (displaced
normally, bicubic between). Splines of bounded displacements cannot fold, which noise can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.settings.training import AugmentSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ElasticField:
    """Deformations of a batch.

    Attributes:
        control: (B, nz, ny, nx, 3) displacements of the control points, ordered x, y, z, in
            voxels of the output; float64.
        spacing: Distance of control points in voxels.
    """

    control: torch.Tensor
    spacing: float


def draw_elastic(
    batch: int, settings: AugmentSettings, shape: tuple[int, int, int], generator: torch.Generator
) -> ElasticField | None:
    """Draw one deformation per sample, or None where it is switched off.

    Every control point moves uniformly in ± `elastic_voxels` along each axis, so that no voxel
    moves further. Over voxels a displacement's SD is elastic_voxels/√3·(151/315)^(d/2): 0.28 of
    the limit in a slice (d = 2), 0.19 in a volume (151/315 = ∫β²: voxels see a weighted mean).

    Args:
        batch: Samples, B.
        settings: Limits.
        shape: Of the output (z, y, x); where Z = 1 nothing moves along z.
        generator: On the CPU; drawn from after :func:`draw_affine`, whose numbers stay as they were.
    """
    import torch

    if settings.elastic_voxels == 0:
        return None
    spacing = settings.elastic_spacing_voxels
    points = [control_points(count, spacing) for count in shape]
    uniform = torch.rand(batch, *points, 3, dtype=torch.float64, generator=generator)
    control = (2 * uniform - 1) * settings.elastic_voxels
    if shape[0] == 1:
        control[..., 2] = 0
    return ElasticField(control, spacing)


def control_points(count: int, spacing: float) -> int:
    """Control points of an axis of `count` voxels: each voxel lies between two, with one more on either side."""
    return 1 if count == 1 else math.ceil((count - 1) / spacing) + 3


def spline_weights(count: int, spacing: float) -> torch.Tensor:
    """(count, control points) float64: what each control point of an axis adds to each voxel; rows add up to 1."""
    import torch

    points = control_points(count, spacing)
    if points == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    voxels = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    lattice = torch.arange(points, dtype=torch.float64) - (points - 1) / 2
    gap = (voxels[:, None] / spacing - lattice[None, :]).abs()
    near = 2 / 3 - gap**2 + gap**3 / 2
    return torch.where(gap < 1, near, (2 - gap).clamp_min(0) ** 3 / 6)


def deform(grid: torch.Tensor, bend: ElasticField, theta: torch.Tensor) -> torch.Tensor:
    """A sampling grid A·x + t as A·(x + u(x)) + t: deformed first, so that turning cannot undo the limit.

    Args:
        grid: (B, Z, Y, X, 3) float32, PyTorch's coordinates of the input; changed in place.
        bend: The deformations u.
        theta: (B, 3, 4) float64, the matrices that made the grid, in PyTorch's coordinates.
    """
    import torch

    z, y, x = grid.shape[1:4]
    batch, nz, ny, nx, _ = bend.control.shape
    # The few control points go through the matrix, in float64, instead of the many voxels.
    full = torch.tensor([x, y, z], dtype=theta.dtype, device=theta.device)
    control = torch.einsum("bzyxj,bij->bzyxi", bend.control.to(theta) * 2 / full, theta[:, :, :3])
    over_z, over_y, over_x = (spline_weights(count, bend.spacing).to(grid) for count in (z, y, x))
    rows = over_x @ control.to(grid).reshape(batch * nz * ny, nx, 3)
    planes = over_y @ rows.reshape(batch * nz, ny, x * 3)
    added = over_z.expand(batch, z, nz)
    return grid.view(batch, z, -1).baddbmm_(added, planes.reshape(batch, nz, -1)).view(grid.shape)
