"""Distance of class activation maps from the tumour's centre (Amyar et al. 2020, the WSL-MTL of 001)."""

from __future__ import annotations

import torch
from torch import Tensor


def centre_of(projection: Tensor) -> Tensor:
    """Centre of mass (B, 2) in pixels, row and column; NaN for an empty projection.

    Args:
        projection: (B, H, W), not negative.
    """
    total = projection.float().sum((1, 2))
    rows, columns = _grid(projection)
    weights = projection.float()
    centre = torch.stack([(weights * rows).sum((1, 2)), (weights * columns).sum((1, 2))], 1)
    return centre / total[:, None]


def distance_to_point(activation: Tensor, point: Tensor) -> Tensor:
    """Mean distance (B,) of a map's activation from a point, as a share of the image's diagonal, in [0, 1].

    The point is the weak supervision: where in the projection the tumour lies, not its shape. The
    mean is weighted with the activation, so that activation far away costs most. The text available
    gives no formula.

    Args:
        activation: (B, H, W) in [0, 1].
        point: (B, 2) in pixels, row and column; where it is NaN (unknown) the distance is 0.
    """
    values = activation.float()
    height, width = values.shape[1:]
    known = torch.isfinite(point).all(1)
    known_point = torch.nan_to_num(point.float())
    rows, columns = _grid(values)
    distance = (
        (rows - known_point[:, 0, None, None]).square() + (columns - known_point[:, 1, None, None]).square()
    ).sqrt()
    share = (values * distance).sum((1, 2)) / values.sum((1, 2)).clamp(min=1e-6)
    return torch.where(known, share / float(height**2 + width**2) ** 0.5, torch.zeros_like(share))


def _grid(like: Tensor) -> tuple[Tensor, Tensor]:
    height, width = like.shape[1:]
    rows = torch.arange(height, device=like.device, dtype=torch.float32)[:, None]
    return rows, torch.arange(width, device=like.device, dtype=torch.float32)[None]
