"""Elastic deformation of a batch: random free-form deformations that cannot fold an image.

Control points lie symmetrically about an array's centre, `elastic_spacing_voxels` apart on every
axis. Each is displaced, and cubic B-splines interpolate the displacements at the voxels between
(Rueckert et al. 1999, equation 2). Simard et al. 2003, and MONAI's Rand3DElastic after them, draw
noise for every voxel and smooth it; MONAI's Rand2DElastic has control points, as here (normal
displacements, bicubic interpolation). Splines of bounded displacements cannot fold an image;
smoothed noise can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.augment.transfer import sent
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
    """Draw one deformation per sample; None where elastic deformation is switched off.

    Every control point is displaced uniformly in ± `elastic_voxels` along each axis, so that no
    voxel moves further. Over voxels a displacement's SD is elastic_voxels/√3·(151/315)^(d/2): 0.28 of
    the limit in a slice (d = 2), 0.19 in a volume (151/315 = ∫β²: voxels see a weighted mean).

    Args:
        batch: Number of samples, B.
        settings: Limits of the displacements and distance of control points.
        shape: Shape of the output (z, y, x); where Z = 1 nothing moves along z.
        generator: A generator on the CPU, used after :func:`draw_affine`, whose numbers thus do not
            depend on whether there is a deformation.
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
    """Number of control points of an axis of `count` voxels: two around each voxel and one more on either side."""
    return 1 if count == 1 else math.ceil((count - 1) / spacing) + 3


def spline_weights(count: int, spacing: float) -> torch.Tensor:
    """(count, control points) float64: weight of each control point of an axis at each voxel; rows add up to 1."""
    import torch

    points = control_points(count, spacing)
    if points == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    voxels = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    lattice = torch.arange(points, dtype=torch.float64) - (points - 1) / 2
    gap = (voxels[:, None] / spacing - lattice[None, :]).abs()
    near = 2 / 3 - gap**2 + gap**3 / 2
    return torch.where(gap < 1, near, (2 - gap).clamp_min(0) ** 3 / 6)


def deform(grid: torch.Tensor, field: ElasticField, theta: torch.Tensor) -> torch.Tensor:
    """Turn a sampling grid A·x + t into A·(x + u(x)) + t.

    The deformation comes before the rotation, so that the limit of displacements holds along the
    output's axes.

    Args:
        grid: (B, Z, Y, X, 3) float32, PyTorch's coordinates of the input; changed in place.
        field: The deformations u.
        theta: (B, 3, 4) float64, the matrices from which the grid was made, in PyTorch's coordinates.
    """
    import torch

    z, y, x = grid.shape[1:4]
    batch, nz, ny, nx, _ = field.control.shape
    # The few control points, instead of the many voxels, are multiplied by the matrix, in float64.
    full = torch.tensor([x, y, z], dtype=theta.dtype, device=theta.device)
    control = torch.einsum("bzyxj,bij->bzyxi", field.control.to(theta) * 2 / full, theta[:, :, :3])
    over_z, over_y, over_x = (
        sent(spline_weights(count, field.spacing).to(grid.dtype), grid.device) for count in (z, y, x)
    )
    rows = over_x @ sent(control.to(grid.dtype), grid.device).reshape(batch * nz * ny, nx, 3)
    planes = over_y @ rows.reshape(batch * nz, ny, x * 3)
    weights = over_z.expand(batch, z, nz)
    return grid.view(batch, z, -1).baddbmm_(weights, planes.reshape(batch, nz, -1)).view(grid.shape)
