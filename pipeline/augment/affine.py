"""Translation, rotation, mirroring and elastic deformation of a batch in one resampling.

All voxel coordinates are offsets from an array's centre, ordered x, y, z, in voxels;
arrays are (..., Z, Y, X). A matrix maps an output voxel to the input voxel it is read from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.augment.elastic import ElasticField, deform
from pipeline.augment.transfer import sent
from pipeline.settings.training import AugmentSettings

if TYPE_CHECKING:
    import torch

DRAWS = 7
"""Random numbers per sample: three translations, three angles, the mirror."""


def draw_affine(
    batch: int,
    settings: AugmentSettings,
    spacing_mm: tuple[float, float, float],
    *,
    flat: bool,
    generator: torch.Generator,
) -> torch.Tensor:
    """Draw one rigid transform and mirroring per sample.

    Translations are uniform in ± `translation_voxels` on each axis, angles uniform in
    ± `rotation_deg` about each axis, the sagittal mirror (x) has probability one half
    (DeepMTS: "translations up to 10 pixels, rotations up to 5 degrees, flip in the
    sagittal axis"; drawn uniformly, not the extremes only). Seven numbers are drawn per sample
    whatever the settings are, so that switching one transformation off leaves the others as they were.

    Args:
        batch: Number of samples, B.
        settings: Ranges of translations and angles.
        spacing_mm: Voxel spacing (z, y, x); rotations are rigid in mm, also on anisotropic voxels.
        flat: Whether arrays have Z = 1: they are then rotated about z and moved in the plane only.
        generator: A generator on the CPU; the same state gives the same transforms.

    Returns:
        (B, 3, 4) float64, on the CPU.
    """
    import torch

    uniform = torch.rand(batch, DRAWS, dtype=torch.float64, generator=generator)
    shift = (2 * uniform[:, 0:3] - 1) * settings.translation_voxels
    angle = (2 * uniform[:, 3:6] - 1) * math.radians(settings.rotation_deg)
    mirror = torch.where((uniform[:, 6] < 0.5) & settings.flip_sagittal, -1.0, 1.0).double()
    if flat:
        shift[:, 2] = 0
        angle[:, :2] = 0
    millimetres = torch.tensor(spacing_mm[::-1], dtype=torch.float64)
    linear = rotation(angle) * millimetres[None, None, :] / millimetres[None, :, None]
    linear[:, :, 0] *= mirror[:, None]
    return torch.cat([linear, shift[:, :, None]], dim=2)


def rotation(angle: torch.Tensor) -> torch.Tensor:
    """Rz·Ry·Rx of angles (B, 3) in radians about x, y, z; (B, 3, 3)."""
    import torch

    def about(axis: int) -> torch.Tensor:
        cosine, sine = angle[:, axis].cos(), angle[:, axis].sin()
        first, second = [i for i in range(3) if i != axis]
        # A right-handed turn: y→z about x, z→x about y, x→y about z.
        sign = -1.0 if axis == 1 else 1.0
        matrix = torch.eye(3, dtype=angle.dtype).repeat(len(angle), 1, 1)
        matrix[:, first, first] = matrix[:, second, second] = cosine
        matrix[:, first, second], matrix[:, second, first] = -sign * sine, sign * sine
        return matrix

    return about(2) @ about(1) @ about(0)


def identity(batch: int) -> torch.Tensor:
    """The transform that leaves every sample where it is; (B, 3, 4) float64."""
    import torch

    return torch.eye(3, 4, dtype=torch.float64).repeat(batch, 1, 1)


def resample(
    image: torch.Tensor,
    mask: torch.Tensor | None,
    matrices: torch.Tensor,
    *,
    air: torch.Tensor,
    shape: tuple[int, int, int],
    field: ElasticField | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Resample images and masks once, on the grid that matrices and deformations give.

    Images are interpolated linearly, masks by nearest neighbour on the same grid, so that the
    two stay together. Outside the input images are the patient's own air and masks are 0.

    Args:
        image: (B, C, Z, Y, X).
        mask: (B, Z, Y, X), or None.
        matrices: (B, 3, 4) from :func:`draw_affine`, on any device.
        air: (B, C) value of air of each patient and channel, in the image's units.
        shape: Shape of the output (z, y, x), about the input's centre; smaller where the input holds
            a margin.
        field: Deformations, applied before the matrices, or None.

    Returns:
        float32 image (B, C, *shape) and float32 mask (B, *shape); None where no mask is given.
    """
    import torch
    from torch.nn.functional import grid_sample

    theta = normalised(matrices, tuple(image.shape[2:]), shape)
    grid = sampling_grid(sent(theta, image.device), shape)
    if field is not None:
        grid = deform(grid, field, theta)
    background = air.to(image.device, torch.float32)[:, :, None, None, None]
    # grid_sample pads with 0: with air subtracted, padding is air, also for voxels half outside.
    moved = grid_sample(image.float() - background, grid, align_corners=False) + background
    if mask is None:
        return moved, None
    labels = mask[:, None].to(torch.float32)
    return moved, grid_sample(labels, grid, mode="nearest", align_corners=False)[:, 0]


def sampling_grid(theta: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Where every output voxel is read: (B, Z, Y, X, 3) float32, in PyTorch's coordinates.

    `affine_grid` gives the same by a matrix product, which an accelerator computes in TF32 where
    that is allowed: ten bits, 1/30 voxel at the border of an axis of 128. Here it is summed.

    Args:
        theta: (B, 3, 4) float64 from :func:`normalised`.
        shape: Shape of the output (z, y, x).
    """
    import torch

    z, y, x = ((2 * torch.arange(n, dtype=theta.dtype, device=theta.device) + 1) / n - 1 for n in shape)
    # (B, n, 3): what each coordinate along one axis adds to the position.
    along_x, along_y, along_z = (theta[:, None, :, axis] * c[:, None] for axis, c in enumerate((x, y, z)))
    planes = (along_z + theta[:, None, :, 3])[:, :, None] + along_y[:, None]
    return planes.float()[:, :, :, None] + along_x.float()[:, None, None]


def normalised(matrices: torch.Tensor, source: tuple[int, ...], target: tuple[int, int, int]) -> torch.Tensor:
    """Matrices in voxels as matrices in PyTorch's coordinates, −1 … 1 over the full width of an axis.

    With `align_corners=False` an offset of v voxels from the centre of an axis of N is 2v/N.
    """
    import torch

    source_sides = torch.tensor(source[::-1], dtype=matrices.dtype, device=matrices.device)
    target_sides = torch.tensor(target[::-1], dtype=matrices.dtype, device=matrices.device)
    theta = matrices.clone()
    theta[:, :, :3] = matrices[:, :, :3] * target_sides[None, None, :] / source_sides[None, :, None]
    theta[:, :, 3] = matrices[:, :, 3] * 2 / source_sides
    return theta
