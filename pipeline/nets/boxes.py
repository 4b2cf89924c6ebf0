"""Boxes of the detection task in plain torch: overlap, non-maximum suppression, RoIAlign, coding.

Boxes are (N, 4) of x1, y1, x2, y2 in pixels, x2 and y2 exclusive edges. Where torchvision loads, its
compiled operators do suppression and RoIAlign; it does not load beside every build of torch.
"""

from __future__ import annotations

import functools
import importlib
import math
from types import ModuleType

import torch
from torch import Tensor

SCALE_LIMIT = math.log(1000.0 / 16)
"""Largest log of a box's growth that decoding takes (He et al.'s published code)."""


@functools.cache
def _torchvision() -> ModuleType | None:
    """torchvision's operators, or None where it is missing or does not fit this torch."""
    try:
        return importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError, OSError, AttributeError):
        return None


def compiled_operators() -> ModuleType | None:
    """torchvision's operators where they load and may be used: RoIAlign's gradient does not repeat bit for bit."""
    return None if torch.are_deterministic_algorithms_enabled() else _torchvision()


def areas(boxes: Tensor) -> Tensor:
    """Areas (N,)."""
    return (boxes[:, 2] - boxes[:, 0]).clamp(min=0) * (boxes[:, 3] - boxes[:, 1]).clamp(min=0)


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (N, M); 0 where both boxes are empty."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return torch.where(union > 0, shared / union.clamp(min=1e-12), torch.zeros_like(shared))


def non_maximum_suppression(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes kept, best first: each drops those it overlaps by more than `threshold`.

    Args:
        boxes: (N, 4).
        scores: (N,), higher = better; ties go to the box that comes first.
        threshold: Intersection over union.
    """
    compiled = compiled_operators()
    if compiled is not None:
        return compiled.nms(boxes, scores, threshold)  # type: ignore[no-any-return]
    order = torch.argsort(scores, descending=True, stable=True)
    overlapping = overlaps(boxes[order], boxes[order]) > threshold
    keep = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    for number in range(len(order)):
        if bool(keep[number]):
            keep[number + 1 :] &= ~overlapping[number, number + 1 :]
    return order[keep]


def roi_align(maps: Tensor, boxes: Tensor, image: Tensor, size: int, scale: float) -> Tensor:
    """Features of boxes on a fixed grid (He et al. 2017, section 3): four bilinear samples per bin.

    The continuous coordinates of a pixel's centre are its index + 0.5 (Detectron2's `aligned`).

    Args:
        maps: (B, C, H, W).
        boxes: (N, 4) in pixels of the image.
        image: (N,), which of the B images a box belongs to.
        size: Bins along each side.
        scale: Side of a map over side of the image, e.g. 1/16.

    Returns:
        (N, C, size, size).
    """
    compiled = compiled_operators()
    if compiled is not None:
        rois = torch.cat([image[:, None].to(maps.dtype), boxes.to(maps.dtype)], 1)
        return compiled.roi_align(maps, rois, size, scale, 2, aligned=True)  # type: ignore[no-any-return]
    samples = 2 * size
    low, high = boxes[:, :2] * scale - 0.5, boxes[:, 2:] * scale - 0.5
    steps = (torch.arange(samples, device=maps.device, dtype=boxes.dtype) + 0.5) / samples
    points = low[:, None] + (high - low)[:, None] * steps[None, :, None]  # (N, samples, 2) of x, y
    rows = _weights(points[..., 1], maps.shape[2]).to(maps.dtype)
    columns = _weights(points[..., 0], maps.shape[3]).to(maps.dtype)
    result = maps.new_zeros(len(boxes), maps.shape[1], size, size)
    for number in range(maps.shape[0]):
        own = (image == number).nonzero().flatten()
        cropped = torch.einsum("nih,chw,njw->ncij", rows[own], maps[number], columns[own])
        result = result.index_copy(0, own, cropped.to(result.dtype))
    return result


def _weights(position: Tensor, size: int) -> Tensor:
    """Share (N, S/2, size) of each pixel in each bin: bilinear, two samples a bin, nothing beyond one pixel outside.

    Bilinear sampling on a grid is a product of two matrices, whose gradient is one too; gathering
    pixels would be the slower and, on an accelerator, would not repeat bit for bit.
    """
    (below, above), (low, high) = _neighbours(position, size)
    weights = position.new_zeros(*position.shape, size)
    weights = weights.scatter_add(2, below[..., None], low[..., None])
    weights = weights.scatter_add(2, above[..., None], high[..., None])
    return weights.unflatten(1, (-1, 2)).mean(2)  # type: ignore[no-any-return]


def _neighbours(position: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two pixels around each position and their weights; 0 where it lies outside by a pixel or more."""
    inside = ((position > -1) & (position < size)).to(position.dtype)
    clamped = position.clamp(0, size - 1)
    below = clamped.floor().long()
    above = (below + 1).clamp(max=size - 1)
    share = clamped - below
    return (below, above), ((1 - share) * inside, share * inside)


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Offsets (N, 4) from anchors to boxes: centres over sides, logs of sides (Girshick 2014, App. C)."""
    sides, anchor_sides = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2
    return torch.cat([centres / anchor_sides, torch.log(sides / anchor_sides)], 1)


def decode(offsets: Tensor, anchors: Tensor, height: int, width: int) -> Tensor:
    """Boxes (N, 4) from offsets, cut to the image."""
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2 + offsets[:, :2] * sides
    half = torch.exp(offsets[:, 2:].clamp(max=SCALE_LIMIT)) * sides / 2
    limit = boxes_limit(height, width, offsets)
    return torch.minimum(torch.cat([centres - half, centres + half], 1).clamp(min=0), limit)


def boxes_limit(height: int, width: int, like: Tensor) -> Tensor:
    """The largest coordinates of a box in an image, (4,)."""
    return like.new_tensor([width, height, width, height])


def make_anchors(rows: int, columns: int, stride: int, sizes: tuple[float, ...], like: Tensor) -> Tensor:
    """Boxes (rows × columns × sizes × 3, 4) of aspect ratios ½, 1, 2 around every map pixel (Ren 2015)."""
    shapes = [(s * math.sqrt(r), s / math.sqrt(r)) for s in sizes for r in (0.5, 1.0, 2.0)]
    half = like.new_tensor(shapes) / 2
    y, x = torch.meshgrid(
        (torch.arange(rows, device=like.device) + 0.5) * stride,
        (torch.arange(columns, device=like.device) + 0.5) * stride,
        indexing="ij",
    )
    centres = torch.stack([x, y], 2).to(like.dtype)[:, :, None]
    return torch.cat([centres - half, centres + half], 3).reshape(-1, 4)
