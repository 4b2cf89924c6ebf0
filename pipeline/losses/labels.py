"""Cross-entropy of class outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import TrainingError


def label_loss(
    logits: Tensor, targets: Mapping[str, Tensor], names: Sequence[str], weights: Sequence[float] = ()
) -> Tensor:
    """Binary cross-entropy of each label, or categorical cross-entropy of one label with more classes.

    An unknown label (NaN) leaves the patient out of that label's mean.

    Args:
        logits: (B, L): one logit per name, or one per class of the single name.
        targets: Holds each name: (B,) of 0 and 1, or class numbers from 0.
        names: `label_*` columns in the order of the logits.
        weights: One per name; empty: 1 each.

    Returns:
        A scalar: the weighted sum of the labels' means.

    Raises:
        TrainingError: Names and logits do not match, or a label is missing.
    """
    missing = [name for name in names if name not in targets]
    if missing or not names or (len(names) > 1 and logits.shape[1] != len(names)):
        raise TrainingError(
            "the labels do not fit the network's logits",
            where="losses.labels",
            expected=f"{logits.shape[1]} logits for " + (", ".join(names) or "at least one label"),
            got=", ".join(sorted(targets)),
            action="name in losses.labels the label_* columns the network is to learn",
        )
    values = logits.float()
    if len(names) == 1 and values.shape[1] > 1:
        return _categorical(values, targets[names[0]])
    total = values.sum() * 0
    for column, name in enumerate(names):
        weight = weights[column] if weights else 1.0
        total = total + weight * _binary(values[:, column], targets[name].float())
    return total


def _binary(logit: Tensor, target: Tensor) -> Tensor:
    known = ~torch.isnan(target)
    each = functional.binary_cross_entropy_with_logits(logit, torch.nan_to_num(target), reduction="none")
    return torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)


def _categorical(logits: Tensor, target: Tensor) -> Tensor:
    known = ~torch.isnan(target.float())
    classes = torch.nan_to_num(target.float()).long()
    each = functional.cross_entropy(logits, classes, reduction="none")
    return torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)
