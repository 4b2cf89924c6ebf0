"""Targets of detection: lesions of a mask as boxes, and which anchors and proposals belong to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nets.boxes import areas, overlaps, roi_align

LARGEST = 16
"""Number of lesions of an image that are taught, the largest. It is fixed, so that batches can be joined."""
FOREGROUND, BACKGROUND = 0.7, 0.3
"""Overlap from which an anchor is a lesion, and below which it is none (Ren et al. 2015, section 3.1.2)."""
PROPOSED = 0.5
"""Overlap from which a proposal is a lesion (He et al. 2017, section 3.1)."""


@dataclass(frozen=True)
class Lesions:
    """The lesions of one image, the largest first.

    Attributes:
        boxes: (G, 4).
        kinds: (G,), from 1.
        masks: (G, H, W) of 0 and 1.
    """

    boxes: Tensor
    kinds: Tensor
    masks: Tensor


@torch.no_grad()
def lesions_of(mask: Tensor, largest: int | None = LARGEST) -> Lesions:
    """Connected regions (8 neighbours) of each kind in a mask (H, W) of 0, 1, 2 …

    Args:
        mask: (H, W).
        largest: How many are kept, the largest first; None: all.
    """
    height, width = mask.shape
    kinds = mask.round().long()
    numbers = torch.arange(1, height * width + 1, device=mask.device, dtype=torch.float64).view(height, width)
    lesions: list[tuple[Tensor, int]] = []
    for kind in kinds.unique().tolist():
        if kind > 0:
            inside = (kinds == kind).double()
            labels = _connected_labels(numbers * inside, inside)
            lesions += [(labels == label, kind) for label in labels.unique().tolist() if label]
    lesions.sort(key=lambda lesion: -int(lesion[0].sum()))
    regions = [region for region, _ in lesions[:largest]]
    if not regions:
        nothing = mask.new_zeros(0)
        return Lesions(nothing.view(0, 4), nothing.long(), nothing.view(0, height, width))
    boxes = mask.new_tensor([_box(region) for region in regions])
    lesion_kinds = torch.tensor([kind for _, kind in lesions[:largest]], device=mask.device)
    return Lesions(boxes, lesion_kinds, torch.stack(regions).to(mask.dtype))


def _connected_labels(labels: Tensor, inside: Tensor) -> Tensor:
    """One label per region, its largest, by maxima over neighbours until nothing changes."""
    while True:
        spread = functional.max_pool2d(labels[None, None], 3, 1, 1)[0, 0] * inside
        if torch.equal(spread, labels):
            return labels
        labels = spread


def _box(region: Tensor) -> tuple[float, float, float, float]:
    rows, columns = region.any(1).nonzero().flatten(), region.any(0).nonzero().flatten()
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


@torch.no_grad()
def match_anchors(anchors: Tensor, lesions: Lesions) -> tuple[Tensor, Tensor]:
    """Labels (A,) 1 lesion, 0 none, −1 between, and the box of each anchor's lesion (A, 4).

    The anchor nearest to a lesion is the lesion's whatever the overlap (Ren et al. 2015, rule i).
    """
    labels = anchors.new_zeros(len(anchors))
    if not len(lesions.boxes):
        return labels, anchors.clone()
    table = overlaps(anchors, lesions.boxes)
    best, which = table.max(1)
    labels[best >= BACKGROUND] = -1
    labels[best >= FOREGROUND] = 1
    nearest = (table == table.max(0).values) & (table > 0)
    labels[nearest.any(1)] = 1
    which = torch.where(nearest.any(1), (table * nearest).argmax(1), which)
    return labels, lesions.boxes[which]


@torch.no_grad()
def match_proposals(proposals: Tensor, lesions: Lesions) -> tuple[Tensor, Tensor, Tensor]:
    """Kinds (P,) with 0 for background and −1 for empty boxes; lesion boxes (P, 4); overlaps (P,)."""
    kinds = torch.where(areas(proposals) > 0, 0.0, -1.0).to(proposals.dtype)
    if not len(lesions.boxes):
        return kinds, proposals.clone(), torch.zeros_like(kinds)
    best, which = overlaps(proposals, lesions.boxes).max(1)
    kinds = torch.where(best >= PROPOSED, lesions.kinds[which].to(kinds.dtype), kinds)
    return kinds, lesions.boxes[which], best


@torch.no_grad()
def mask_targets(boxes: Tensor, lesions: Lesions, size: int) -> Tensor:
    """The lesion that overlaps each box most, cropped to the box on a grid: (M, size, size) of 0 and 1."""
    if not len(lesions.boxes):
        return boxes.new_zeros(len(boxes), size, size)
    which = overlaps(boxes, lesions.boxes).argmax(1)
    cropped = roi_align(lesions.masks[:, None], boxes, which, size, 1.0)
    return (cropped.squeeze(1) >= 0.5).to(boxes.dtype)
