"""Mask R-CNN on one map of a shared encoder (He et al. 2017, section 3; 004, section 2.2).

A region proposal network on the encoder's map of 1/16 of the image; RoIAlign; two fully connected
layers of 1024 to kind and box; four convolutions of 256, a transposed one and a mask per kind (He's
Figure 4, right). 004 says only that the backbone was changed. Ours where it is silent: anchors of 16 to
128 pixels for images of 256; all anchors and proposals are learned from, lesion and background weighted
as the sampling of the original would in the mean, so that a step is the same whenever it is repeated;
masks of the 16 best boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Linear, at_least_float32
from pipeline.nets.boxes import decode, encode, make_anchors, non_maximum_suppression, roi_align
from pipeline.nets.instances import (
    LARGEST,
    Lesions,
    lesions_of,
    mask_targets,
    match_anchors,
    match_proposals,
)
from pipeline.nets.sizes import scaled

STRIDE = 16
ANCHORS = (16.0, 32.0, 64.0, 128.0)
RATIOS = 3
BEFORE, PROPOSALS = 256, 64
"""Proposals of an image before and after non-maximum suppression."""
PROPOSAL_OVERLAP, DETECTION_OVERLAP = 0.7, 0.5
LEAST_SCORE = 0.05
BOX_GRID, MASK_GRID = 7, 14
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Box offsets are learned times these (He et al.'s published code)."""


class MaskRcnn(nn.Module):
    """Proposals, boxes with kinds, masks.

    Args:
        channels: Number of channels of the encoder's map.
        width: Factor of every number of filters.
        kinds: Number of kinds of lesions.
    """

    def __init__(self, channels: int, width: float, kinds: int) -> None:
        super().__init__()
        hidden, dense, filters = scaled(512, width), scaled(1024, width), scaled(256, width)
        self.kinds, count = kinds, len(ANCHORS) * RATIOS
        self.propose = nn.Conv2d(channels, hidden, 3, padding=1)
        self.objectness, self.offsets = nn.Conv2d(hidden, count, 1), nn.Conv2d(hidden, 4 * count, 1)
        self.dense = nn.Sequential(
            Linear(channels * BOX_GRID**2, dense), nn.ReLU(), Linear(dense, dense), nn.ReLU()
        )
        self.kind, self.box = Linear(dense, kinds + 1), Linear(dense, 4 * kinds)
        layers: list[nn.Module] = []
        for source in (channels, filters, filters, filters):
            layers += [nn.Conv2d(source, filters, 3, padding=1), nn.ReLU()]
        layers += [nn.ConvTranspose2d(filters, filters, 2, stride=2), nn.ReLU()]
        self.mask = nn.Sequential(*layers, nn.Conv2d(filters, kinds, 1))

    def forward(self, maps: Tensor, sides: tuple[int, int], mask: Tensor | None) -> dict[str, Tensor]:
        """Detections and, with a mask, what they should have been.

        Args:
            maps: (B, channels, H/16, W/16).
            sides: (H, W) of the image.
            mask: (B, H, W) of 0, 1, 2 …, or None. In training its boxes join the proposals.

        Returns:
            ``detection`` (B, 16, 6): x1, y1, x2, y2, score, kind; the boxes with masks, the best
            first, empty ones 0. ``detection_…`` (see `pipeline.losses.detection`): anchors, boxes
            and masks as logits and, with a mask, their targets.
        """
        outputs, anchors = self._anchors(maps)
        lesions = None if mask is None else [lesions_of(at_least_float32(image)) for image in mask]
        proposals = torch.stack([self._proposals(outputs, anchors, sides, i) for i in range(len(maps))])
        if self.training:
            proposals = torch.cat([proposals, _lesion_boxes(proposals, lesions)], 1)
        outputs |= self._boxes(maps, proposals)
        if lesions is not None:
            outputs |= _targets(anchors, proposals, lesions)
        outputs |= self._masks(maps, proposals, outputs, sides, lesions)
        return outputs

    def _anchors(self, maps: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        hidden = functional.relu(self.propose(maps))
        batch, rows, columns = maps.shape[0], *maps.shape[2:]
        logits = at_least_float32(self.objectness(hidden)).permute(0, 2, 3, 1).reshape(batch, -1)
        offsets = at_least_float32(self.offsets(hidden)).permute(0, 2, 3, 1).reshape(batch, -1, 4)
        anchors = make_anchors(rows, columns, STRIDE, ANCHORS, offsets)
        return {"detection_anchor_logits": logits, "detection_anchor_offsets": offsets}, anchors

    @torch.no_grad()
    def _proposals(
        self, outputs: dict[str, Tensor], anchors: Tensor, sides: tuple[int, int], image: int
    ) -> Tensor:
        """The best boxes (64, 4) of one image, empty ones behind."""
        scores = outputs["detection_anchor_logits"][image]
        best = torch.argsort(scores, descending=True, stable=True)[:BEFORE]
        boxes = decode(outputs["detection_anchor_offsets"][image, best], anchors[best], *sides)
        large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
        boxes, scores = boxes[large], scores[best][large]
        return _padded(boxes[non_maximum_suppression(boxes, scores, PROPOSAL_OVERLAP)], PROPOSALS)

    def _boxes(self, maps: Tensor, proposals: Tensor) -> dict[str, Tensor]:
        batch, count = proposals.shape[:2]
        cropped = roi_align(maps, *_flat(proposals), BOX_GRID, 1 / STRIDE)
        features = self.dense(cropped.flatten(1))
        return {
            "detection_box_logits": at_least_float32(self.kind(features)).view(batch, count, -1),
            "detection_box_offsets": at_least_float32(self.box(features)).view(batch, count, self.kinds, 4),
        }

    def _masks(
        self,
        maps: Tensor,
        proposals: Tensor,
        outputs: dict[str, Tensor],
        sides: tuple[int, int],
        lesions: list[Lesions] | None,
    ) -> dict[str, Tensor]:
        """Masks of the proposals that are lesions (training), or of what is detected."""
        chosen = [
            _lesion_proposals(proposals[i], outputs, i)
            if self.training and lesions is not None
            else self._detected(proposals[i], outputs, sides, i)
            for i in range(len(maps))
        ]
        detection = torch.stack(chosen)
        boxes = detection[..., :4]
        logits = self.mask(roi_align(maps, *_flat(boxes), MASK_GRID, 1 / STRIDE))
        results = {
            "detection": detection,
            "detection_mask_logits": at_least_float32(logits).unflatten(0, boxes.shape[:2]),
        }
        if lesions is not None:
            pairs = list(zip(boxes, lesions, strict=True))
            results["detection_mask_labels"] = torch.stack([match_proposals(*pair)[0] for pair in pairs])
            results["detection_mask_targets"] = torch.stack([mask_targets(*p, 2 * MASK_GRID) for p in pairs])
        return results

    @torch.no_grad()
    def _detected(
        self, proposals: Tensor, outputs: dict[str, Tensor], sides: tuple[int, int], image: int
    ) -> Tensor:
        """Boxes of one image with scores and kinds (16, 6), after non-maximum suppression within a kind."""
        probabilities = outputs["detection_box_logits"][image].softmax(1)[:, 1:]
        score, kind = probabilities.max(1)
        offsets = outputs["detection_box_offsets"][image][torch.arange(len(kind)), kind]
        real = (proposals[:, 2] > proposals[:, 0]) & (score > LEAST_SCORE)
        candidates = real.nonzero().flatten()
        boxes = decode(offsets[candidates] / offsets.new_tensor(BOX_WEIGHTS), proposals[candidates], *sides)
        kind_offset = (kind[candidates] * max(sides) * 2)[:, None].to(
            boxes.dtype
        )  # boxes of different kinds do not overlap
        best = non_maximum_suppression(boxes + kind_offset, score[candidates], DETECTION_OVERLAP)
        rows = torch.cat([boxes, score[candidates, None], kind[candidates, None].to(boxes.dtype) + 1], 1)
        return _padded(rows[best], LARGEST)


def _flat(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) as (B·N, 4) and the image of each."""
    image = torch.arange(boxes.shape[0], device=boxes.device).repeat_interleave(boxes.shape[1])
    return boxes.flatten(0, 1), image


def _padded(rows: Tensor, count: int) -> Tensor:
    """The first rows, and rows of 0 up to a number."""
    return functional.pad(rows[:count], (0, 0, 0, max(0, count - len(rows))))


def _lesion_boxes(like: Tensor, lesions: list[Lesions] | None) -> Tensor:
    """The lesions' own boxes (B, 16, 4), empty where there are fewer."""
    if lesions is None:
        return like.new_zeros(like.shape[0], LARGEST, 4)
    return torch.stack([_padded(each.boxes.to(like.dtype), LARGEST) for each in lesions])


@torch.no_grad()
def _lesion_proposals(proposals: Tensor, outputs: dict[str, Tensor], image: int) -> Tensor:
    """The proposals (16, 6) that are lesions, by overlap; score: the overlap."""
    kinds, overlap = (outputs[f"detection_box_{name}"][image] for name in ("labels", "overlaps"))
    order = torch.argsort(torch.where(kinds > 0, overlap, -1.0), descending=True, stable=True)[:LARGEST]
    rows = torch.cat([proposals, overlap[:, None], kinds[:, None]], 1)[order]
    return rows * (kinds[order] > 0)[:, None]


@torch.no_grad()
def _targets(anchors: Tensor, proposals: Tensor, lesions: list[Lesions]) -> dict[str, Tensor]:
    """Labels of anchors and proposals, and the offsets to their lesions' boxes."""
    targets: dict[str, list[Tensor]] = {}
    for boxes, each in zip(proposals, lesions, strict=True):
        anchor_labels, anchor_boxes = match_anchors(anchors, each)
        kinds, box, overlap = match_proposals(boxes, each)
        lesion = (kinds > 0)[:, None]
        unit = boxes.new_tensor([0.0, 0.0, 1.0, 1.0])  # in place of boxes whose offsets are not used
        offsets = encode(torch.where(lesion, box, unit), torch.where(lesion, boxes, unit))
        for name, value in (
            ("anchor_labels", anchor_labels),
            ("anchor_targets", encode(anchor_boxes, anchors)),
            ("box_labels", kinds),
            ("box_targets", offsets * offsets.new_tensor(BOX_WEIGHTS)),
            ("box_overlaps", overlap),
        ):
            targets.setdefault(f"detection_{name}", []).append(value)
    return {name: torch.stack(values) for name, values in targets.items()}
