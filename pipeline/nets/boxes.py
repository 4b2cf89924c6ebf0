"""Boxes of the detection task in plain torch: overlap, non-maximum suppression, RoIAlign, coding.

Boxes are (N, 4) of x1, y1, x2, y2 in pixels, x2 and y2 exclusive edges.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SCALE_LIMIT = math.log(1000.0 / 16)
"""Largest log of a box's growth that decoding takes (He et al.'s published code)."""


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
    order = torch.argsort(scores, descending=True, stable=True)
    alike = overlaps(boxes[order], boxes[order]) > threshold
    kept = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    for number in range(len(order)):
        if bool(kept[number]):
            kept[number + 1 :] &= ~alike[number, number + 1 :]
    return order[kept]


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
    samples = 2 * size
    low, high = boxes[:, :2] * scale - 0.5, boxes[:, 2:] * scale - 0.5
    steps = (torch.arange(samples, device=maps.device, dtype=boxes.dtype) + 0.5) / samples
    points = low[:, None] + (high - low)[:, None] * steps[None, :, None]  # (N, samples, 2) of x, y
    values = _bilinear(maps, image, points[..., 1], points[..., 0])
    count = len(boxes)
    return values.view(count, maps.shape[1], size, 2, size, 2).mean((3, 5))


def _bilinear(maps: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(N, C, S, S) at rows y (N, S) and columns x (N, S); nothing beyond one pixel outside."""
    height, width = maps.shape[2:]
    rows, row_weights = _neighbours(y, height)
    columns, column_weights = _neighbours(x, width)
    result = maps.new_zeros(len(image), maps.shape[1], y.shape[1], x.shape[1])
    channels = torch.arange(maps.shape[1], device=maps.device)
    for row, row_weight in zip(rows, row_weights, strict=True):
        for column, column_weight in zip(columns, column_weights, strict=True):
            picked = maps[
                image[:, None, None, None],
                channels[None, :, None, None],
                row[:, None, :, None],
                column[:, None, None, :],
            ]
            weight = row_weight[:, None, :, None] * column_weight[:, None, None, :]
            result = result + picked * weight.to(maps.dtype)
    return result


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
