"""RoIAlign and non-maximum suppression against hand calculation and their definitions."""

import pytest
import torch

from pipeline.nets.boxes import (
    areas,
    decode,
    encode,
    make_anchors,
    non_maximum_suppression,
    overlaps,
    roi_align,
)

BOXES = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 11.0, 11.0], [20.0, 20.0, 30.0, 40.0]])


def test_overlap_by_hand():
    assert areas(BOXES).tolist() == [100, 100, 200]
    table = overlaps(BOXES, BOXES)
    assert table[0].tolist() == pytest.approx([1, 81 / 119, 0])
    empty = torch.zeros(1, 4)
    assert overlaps(empty, empty).item() == 0


def test_suppression_by_hand():
    scores = torch.tensor([0.5, 0.9, 0.1])
    assert non_maximum_suppression(BOXES, scores, 0.5).tolist() == [1, 2]
    assert non_maximum_suppression(BOXES, scores, 0.7).tolist() == [1, 0, 2]
    assert non_maximum_suppression(BOXES[:0], scores[:0], 0.5).tolist() == []


def greedy(boxes, scores, threshold):
    """The definition: take the best left, drop what it overlaps, go on."""
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept_boxes = []
    while left:
        best = left.pop(0)
        kept_boxes.append(best)
        left = [i for i in left if overlaps(boxes[best : best + 1], boxes[i : i + 1]).item() <= threshold]
    return kept_boxes


def test_suppression_is_the_greedy_definition():
    generator = torch.Generator().manual_seed(0)
    for threshold in (0.3, 0.5, 0.7):
        corner = torch.rand(40, 2, generator=generator) * 30
        boxes = torch.cat([corner, corner + 5 + 20 * torch.rand(40, 2, generator=generator)], 1)
        scores = torch.rand(40, generator=generator)
        expected = greedy(boxes, scores.tolist(), threshold)
        assert non_maximum_suppression(boxes, scores, threshold).tolist() == expected


def test_roi_align_of_a_linear_map_is_exact():
    # bilinear sampling of a plane gives the plane: a bin's mean is the value at its centre
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    maps = torch.stack([x, 3 * y - x])[None]
    boxes = torch.tensor([[2.0, 4.0, 10.0, 12.0], [3.3, 1.7, 12.1, 9.9]])
    got = roi_align(maps, boxes, torch.zeros(2, dtype=torch.long), 4, 1.0)
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        columns = torch.tensor([x1 + (x2 - x1) * (i + 0.5) / 4 - 0.5 for i in range(4)])
        rows = torch.tensor([y1 + (y2 - y1) * (i + 0.5) / 4 - 0.5 for i in range(4)])
        assert torch.allclose(got[number, 0], columns.expand(4, 4), atol=1e-5)
        assert torch.allclose(got[number, 1], 3 * rows[:, None] - columns[None], atol=1e-5)


def test_roi_align_scales_picks_its_image_and_ignores_the_outside():
    maps = torch.stack([torch.full((1, 8, 8), 1.0), torch.full((1, 8, 8), 2.0)])
    boxes = torch.tensor([[0.0, 0.0, 64.0, 64.0], [32.0, 32.0, 48.0, 48.0], [500.0, 500.0, 600.0, 600.0]])
    got = roi_align(maps, boxes, torch.tensor([0, 1, 1]), 7, 1 / 16)
    assert got.shape == (3, 1, 7, 7)
    assert torch.all(got[1] == 2)
    assert torch.all(got[2] == 0)


def test_roi_align_gradient():
    maps = torch.rand(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.7, 1.1, 4.9, 5.2]], dtype=torch.float64)
    image = torch.zeros(1, dtype=torch.long)
    assert torch.autograd.gradcheck(lambda m: roi_align(m, boxes, image, 2, 1.0), maps)


def test_agrees_with_torchvision_where_it_loads():
    try:
        from torchvision.ops import nms
        from torchvision.ops import roi_align as reference
    except Exception as error:
        pytest.skip(f"torchvision does not load: {error}")
    maps, image = torch.rand(2, 3, 12, 12), torch.tensor([0, 1])
    boxes = torch.tensor([[1.0, 2.0, 9.0, 8.0], [0.0, 0.0, 20.0, 24.0]])
    rois = torch.cat([image[:, None].float(), boxes], 1)
    expected = reference(maps, rois, 7, 0.5, 2, aligned=True)
    assert torch.allclose(roi_align(maps, boxes, image, 7, 0.5), expected, atol=1e-5)
    scores = torch.tensor([0.3, 0.2, 0.9])
    assert nms(BOXES, scores, 0.5).tolist() == non_maximum_suppression(BOXES, scores, 0.5).tolist()


def test_coding_round_trip_and_limits():
    anchors = make_anchors(2, 3, 16, (16.0, 32.0), BOXES)
    assert anchors.shape == (2 * 3 * 2 * 3, 4)
    assert ((anchors[:, :2] + anchors[:, 2:]) / 2)[0].tolist() == [8, 8]
    assert areas(anchors)[:6].tolist() == pytest.approx([256] * 3 + [1024] * 3)
    boxes = torch.tensor([[3.0, 4.0, 20.0, 30.0]]).expand(len(anchors), 4)
    assert torch.allclose(decode(encode(boxes, anchors), anchors, 64, 64), boxes, atol=1e-4)
    assert decode(torch.full((1, 4), 99.0), anchors[:1], 64, 48).tolist()[0][2:] == [48, 64]
