"""Losses of a mask of several classes: Dice per class, generalised Dice, cross-entropy, focal."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pipeline.losses import overlap
from pipeline.losses.overlap import EDGE

Activation = Literal["softmax", "sigmoid"]


def class_dice(
    mask: Tensor,
    classes: Tensor,
    labels: Tensor,
    form: Literal["squared", "sum", "generalised"] = "squared",
) -> Tensor:
    """Soft Dice of each patient, (B,), in [0, 1], higher = better.

    ``squared`` and ``sum``: the mean over the classes of :func:`pipeline.losses.overlap.dice`; a class that
    a patient does not have is defined by its complement there. ``generalised``: Sudre et al. 2017 over
    background and all classes together, each weighted by 1 / volume², an absent one by 0; a patient without
    any class by the complement of the whole mask.

    Args:
        mask: (B, Z, Y, X) probability of any class.
        classes: (B, K, Z, Y, X) probability of each.
        labels: (B, Z, Y, X), 0 background, 1 … K.
        form: The denominator.
    """
    targets = one_hot(labels, classes.shape[1])
    if form != "generalised":
        each = [overlap.dice(classes[:, k], targets[:, k], form) for k in range(classes.shape[1])]
        return torch.stack(each).mean(0)
    p, g = _with_background(mask, classes), _with_background(labels > 0, targets)
    volumes = g.sum(2)
    weights = torch.where(volumes > 0, volumes.clamp(min=1).pow(-2), torch.zeros_like(volumes))
    sizes = (weights * (p.sum(2) + volumes)).sum(1).clamp(min=torch.finfo(p.dtype).tiny)
    value = 2 * (weights * (p * g).sum(2)).sum(1) / sizes
    empty = volumes[:, 1:].sum(1) == 0
    return torch.where(empty, p[:, 0].mean(1), value)


def class_cross_entropy(mask: Tensor, classes: Tensor, labels: Tensor, activation: Activation) -> Tensor:
    """Mean cross-entropy of each patient's voxels, (B,).

    Under a softmax −log q, q the probability of the voxel's class or background; of sigmoids the mean
    over the classes of the binary cross-entropy.

    Args:
        mask: (B, Z, Y, X) probability of any class.
        classes: (B, K, Z, Y, X) probability of each.
        labels: (B, Z, Y, X), 0 background, 1 … K.
        activation: How the probabilities came about.
    """
    return -torch.log(_of_truth(mask, classes, labels, activation)).flatten(1).mean(1)


def class_focal(
    mask: Tensor, classes: Tensor, labels: Tensor, activation: Activation, gamma: float = 2.0
) -> Tensor:
    """Focal loss of each patient, (B,): mean of −(1 − q)^γ log q (Lin 2017); q and arguments as in cross-entropy."""
    right = _of_truth(mask, classes, labels, activation)
    return -((1 - right).pow(gamma) * torch.log(right)).flatten(1).mean(1)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """A mask of 0 and 1 of each class, (B, K, Z, Y, X) float32, from labels (B, Z, Y, X)."""
    return torch.stack([(labels == label).float() for label in range(1, classes + 1)], 1)


def _of_truth(mask: Tensor, classes: Tensor, labels: Tensor, activation: Activation) -> Tensor:
    """Probability of what a voxel is: (B, V) under a softmax, (B, K, V) of sigmoids."""
    targets = one_hot(labels, classes.shape[1])
    if activation == "softmax":
        p, g = _with_background(mask, classes), _with_background(labels > 0, targets)
        right = (p * g).sum(1)
    else:
        p, g = classes.flatten(2).float(), targets.flatten(2)
        right = p * g + (1 - p) * (1 - g)
    return right.clamp(EDGE, 1 - EDGE)


def _with_background(whole: Tensor, classes: Tensor) -> Tensor:
    """(B, 1 + K, V): what is none of the classes, and each of them."""
    return torch.cat([1 - whole.flatten(1).float()[:, None], classes.flatten(2).float()], 1)
