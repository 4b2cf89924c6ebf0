"""Losses of a mask: Dice in the papers' forms, generalised Dice, cross-entropy, focal."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

SMALLEST = 1e-5
"""Denominator below which two masks count as empty (the DeepMTS authors' code)."""
EDGE = 1e-7
"""Probabilities are kept this far from 0 and 1 under a logarithm."""


def dice(
    probability: Tensor, mask: Tensor, form: Literal["squared", "sum", "generalised"] = "squared"
) -> Tensor:
    """Soft Dice of each patient, (B,), in [0, 1], higher = better.

    - ``squared``: 2Σpg / (Σp² + Σg²) (Milletari et al. 2016; Meng et al. Eq. 2);
    - ``sum``: 2Σpg / (Σp + Σg) (Andrearczyk et al. Eq. 1);
    - ``generalised``: Sudre et al. 2017 over tumour and background, each weighted by
      1 / volume², an absent class by 0.

    An empty reference has Σpg = 0 and no gradient from the first two forms. It is defined by
    the complement instead: what is not tumour is to be called so, Dice = 1 − mean(p), which is
    1 for an empty prediction and pushes every probability down.

    Args:
        probability: (B, Z, Y, X) in [0, 1].
        mask: (B, Z, Y, X), 0 or 1.
        form: The denominator.
    """
    p, g = probability.flatten(1).float(), mask.flatten(1).float()
    empty = g.sum(1) == 0
    value = _generalised(p, g) if form == "generalised" else _plain(p, g, squared=form == "squared")
    return torch.where(empty, 1 - p.mean(1), value)


def _plain(p: Tensor, g: Tensor, squared: bool) -> Tensor:
    overlap = (p * g).sum(1)
    sizes = (p.square().sum(1) + g.square().sum(1)) if squared else (p.sum(1) + g.sum(1))
    return 2 * overlap / sizes.clamp(min=SMALLEST)


def _generalised(p: Tensor, g: Tensor) -> Tensor:
    volumes = torch.stack([g.sum(1), (1 - g).sum(1)])
    weights = torch.where(volumes > 0, volumes.clamp(min=1).pow(-2), torch.zeros_like(volumes))
    overlap = torch.stack([(p * g).sum(1), ((1 - p) * (1 - g)).sum(1)])
    sizes = torch.stack([p.sum(1), (1 - p).sum(1)]) + volumes
    return 2 * (weights * overlap).sum(0) / (weights * sizes).sum(0).clamp(min=torch.finfo(p.dtype).tiny)


def cross_entropy(probability: Tensor, mask: Tensor) -> Tensor:
    """Mean binary cross-entropy of each patient's voxels, (B,)."""
    right = _probability_of_truth(probability, mask)
    return -torch.log(right).mean(1)


def focal(probability: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss of each patient, (B,): mean of −(1 − q)^γ log q, q = probability of the truth (Lin 2017)."""
    right = _probability_of_truth(probability, mask)
    return -((1 - right).pow(gamma) * torch.log(right)).mean(1)


def _probability_of_truth(probability: Tensor, mask: Tensor) -> Tensor:
    p, g = probability.flatten(1).float(), mask.flatten(1).float()
    return (p * g + (1 - p) * (1 - g)).clamp(EDGE, 1 - EDGE)
