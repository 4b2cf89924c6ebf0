"""Losses of Mask R-CNN (chest CT paper, Eq. 2; He et al. 2017, section 3; Ren et al. 2015, Eq. 1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

ANCHOR_SHARE, BOX_SHARE = 0.5, 0.25
"""Weight of lesions against background: the originals sample 1:1 anchors and 1:3 proposals."""
ANCHOR_BETA = 1 / 9
"""Where the smooth L1 of anchors turns linear (the published code)."""


def detection_loss(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Terms of each image, (B,) each: ``proposal``, ``class``, ``box`` and ``mask``.

    The paper's sum names class, box and mask; the proposals' own class and box, without which
    there are no proposals, are summed in ``proposal``. Means over all anchors or proposals of
    an image, lesion and background weighted as by sampling; an image without lesions has
    background alone.

    Args:
        outputs: Outputs of `pipeline.nets.mask_rcnn`, all starting with ``detection_``:
            anchor_logits (B, A), anchor_offsets (B, A, 4), box_logits (B, P, K + 1),
            box_offsets (B, P, K, 4), mask_logits (B, M, K, S, S); and what they should be:
            anchor_labels (B, A) of 1, 0, −1 = neither; anchor_targets (B, A, 4); box_labels (B, P)
            of 0 … K, −1 = no box; box_targets (B, P, 4); mask_labels (B, M) as box_labels;
            mask_targets (B, M, S, S) of 0 and 1.

    Raises:
        KeyError: The network was given no mask, so that there are no targets.
    """
    tensors = {
        name.removeprefix("detection_"): value.detach() if name.endswith(("labels", "targets")) else value
        for name, value in outputs.items()
    }
    return {
        "proposal": _anchor_loss(tensors),
        "class": _class_loss(tensors),
        "box": _box_loss(tensors),
        "mask": _mask_loss(tensors),
    }


def _anchor_loss(tensors: Mapping[str, Tensor]) -> Tensor:
    labels = tensors["anchor_labels"]
    each = functional.binary_cross_entropy_with_logits(
        tensors["anchor_logits"].float(), (labels > 0).float(), reduction="none"
    )
    objectness = _balanced(each, labels > 0, labels == 0, ANCHOR_SHARE)
    offsets = functional.smooth_l1_loss(
        tensors["anchor_offsets"].float(),
        tensors["anchor_targets"].float(),
        reduction="none",
        beta=ANCHOR_BETA,
    )
    return objectness + ANCHOR_SHARE * _mean(offsets.sum(2), labels > 0)


def _class_loss(tensors: Mapping[str, Tensor]) -> Tensor:
    labels = tensors["box_labels"]
    # One row per box: for rows alone the gradient has the same bits each time on an accelerator.
    rows = tensors["box_logits"].float().flatten(0, 1)
    each = functional.cross_entropy(rows, labels.clamp(min=0).long().flatten(), reduction="none")
    each = each.view(labels.shape)
    return _balanced(each, labels > 0, labels == 0, BOX_SHARE)


def _box_loss(tensors: Mapping[str, Tensor]) -> Tensor:
    labels = tensors["box_labels"]
    own = _of_kind(tensors["box_offsets"].float(), labels)
    each = functional.smooth_l1_loss(own, tensors["box_targets"].float(), reduction="none").sum(2)
    return BOX_SHARE * _mean(each, labels > 0)


def _mask_loss(tensors: Mapping[str, Tensor]) -> Tensor:
    labels = tensors["mask_labels"]
    own = _of_kind(tensors["mask_logits"].float(), labels)
    each = functional.binary_cross_entropy_with_logits(
        own, tensors["mask_targets"].float(), reduction="none"
    ).mean((2, 3))
    return _mean(each, labels > 0)


def _of_kind(values: Tensor, labels: Tensor) -> Tensor:
    """(B, N, …) of each box's own kind from (B, N, K, …); the first kind's where there is none."""
    kind = (labels - 1).clamp(min=0).long()
    index = kind.view(*kind.shape, *[1] * (values.dim() - 2)).expand(-1, -1, 1, *values.shape[3:])
    return values.gather(2, index).squeeze(2)


def _balanced(each: Tensor, lesion: Tensor, background: Tensor, share: float) -> Tensor:
    """Share of the lesions' mean and the rest of the background's; the background's alone without lesions."""
    shares = torch.where(lesion.any(1), share, 0.0).to(each.dtype)
    return shares * _mean(each, lesion) + (1 - shares) * _mean(each, background)


def _mean(each: Tensor, where: Tensor) -> Tensor:
    """Mean (B,) over the second axis where it holds; 0, with gradient, where it holds nowhere."""
    return torch.where(where, each, torch.zeros_like(each)).sum(1) / where.sum(1).clamp(min=1)
