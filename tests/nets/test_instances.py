"""Lesions as boxes, what anchors and proposals are taught, and the network that finds them."""

import types

import pytest
import torch

from pipeline.losses.combined import combined_loss
from pipeline.nets import boxes as operators
from pipeline.nets.boxes import overlaps
from pipeline.nets.instances import LARGEST, lesions_of, mask_targets, match_anchors, match_proposals
from pipeline.nets.registry import build
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.chest_ct import ChestCt


def two_lesions():
    """An L of 5 pixels touching a diagonal neighbour, and a 2 × 3 block of the second kind."""
    mask = torch.zeros(12, 16)
    mask[1:4, 2] = 1
    mask[3, 3:5] = 1
    mask[4, 5] = 1  # by its corner: one region of 8 neighbours
    mask[8:10, 10:13] = 2
    return mask


def test_regions_are_boxes_by_hand():
    lesions = lesions_of(two_lesions())
    assert lesions.boxes.tolist() == [[2, 1, 6, 5], [10, 8, 13, 10]]
    assert lesions.kinds.tolist() == [1, 2]
    assert lesions.masks.sum((1, 2)).tolist() == [6, 6]
    assert torch.equal(lesions.masks.amax(0), (two_lesions() > 0).float())


def test_regions_are_those_of_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    mask = (torch.rand(40, 40, generator=torch.Generator().manual_seed(0)) > 0.75).float()
    labels, count = ndimage.label(mask.numpy(), structure=torch.ones(3, 3).numpy())
    sizes = sorted((int((labels == i + 1).sum()) for i in range(count)), reverse=True)
    lesions = lesions_of(mask)
    assert lesions.masks.sum((1, 2)).tolist() == sizes[:LARGEST]
    slices = {(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in ndimage.find_objects(labels)}
    assert {tuple(int(v) for v in box) for box in lesions.boxes.tolist()} <= slices


def test_no_lesion():
    lesions = lesions_of(torch.zeros(8, 8))
    assert lesions.boxes.shape == (0, 4)
    anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    assert match_anchors(anchors, lesions)[0].tolist() == [0]
    assert match_proposals(torch.cat([anchors, torch.zeros(1, 4)]), lesions)[0].tolist() == [0, -1]
    assert mask_targets(anchors, lesions, 4).sum() == 0


def test_anchors_by_hand():
    lesions = lesions_of(two_lesions())
    anchors = torch.tensor(
        [
            [2.0, 1.0, 6.0, 5.0],  # the first lesion itself
            [2.0, 1.0, 6.0, 7.0],  # 16 of 24 pixels: between 0.3 and 0.7
            [0.0, 8.0, 2.0, 10.0],  # nothing
            [10.0, 8.0, 13.0, 14.0],  # 6 of 18 pixels: between, but nobody is nearer to the second lesion
        ]
    )
    labels, boxes = match_anchors(anchors, lesions)
    assert labels.tolist() == [1, -1, 0, 1]
    assert boxes[0].tolist() == [2, 1, 6, 5]
    assert boxes[3].tolist() == [10, 8, 13, 10]


def test_proposals_by_hand():
    lesions = lesions_of(two_lesions())
    proposals = torch.tensor([[2.0, 1.0, 6.0, 7.0], [10.0, 8.0, 13.0, 13.0], [0.0, 0.0, 0.0, 0.0]])
    kinds, boxes, overlap = match_proposals(proposals, lesions)
    assert kinds.tolist() == [1, 0, -1]  # 16/24 and 6/15 pixels
    assert overlap.tolist() == pytest.approx([2 / 3, 0.4, 0])
    assert boxes[0].tolist() == [2, 1, 6, 5]


def test_masks_are_cut_to_their_boxes():
    lesions = lesions_of(two_lesions())
    cut = mask_targets(torch.tensor([[2.0, 1.0, 6.0, 5.0], [9.0, 8.0, 13.0, 10.0]]), lesions, 4)
    assert cut[0].tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    assert cut[1].tolist() == [[0, 1, 1, 1]] * 4


def test_compiled_operators_are_used_where_they_load(monkeypatch):
    called = []
    stand_in = types.SimpleNamespace(
        nms=lambda boxes, scores, threshold: called.append("nms"),
        roi_align=lambda *arguments, aligned: called.append(("roi_align", arguments[1].tolist(), aligned)),
    )
    monkeypatch.setattr(operators, "_torchvision", lambda: stand_in)
    box, image = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([1])
    operators.non_maximum_suppression(box, torch.ones(1), 0.5)
    operators.roi_align(torch.ones(2, 1, 4, 4), box, image, 2, 1.0)
    assert called == ["nms", ("roi_align", [[1, 0, 0, 4, 4]], True)]
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert operators.compiled_operators() is None


def images():
    """Four slices, each with a bright square of the first kind and a dark one of the second."""
    torch.manual_seed(0)
    mask = torch.zeros(4, 1, 64, 64)
    for number, (row, column) in enumerate([(4, 4), (6, 2), (2, 8), (8, 6)]):
        mask[number, 0, row : row + 18, column : column + 20] = 1
        mask[number, 0, 44 - row : 58 - row, 34 - column // 2 : 50 - column // 2] = 2
    image = 0.05 * torch.randn(4, 1, 1, 64, 64) + (mask == 1)[:, None] - (mask == 2)[:, None].float()
    return image, mask


SETTINGS = ChestCt(
    width=0.125, lesions=2, tasks=("detection",), losses=LossSettings(labels=("label_a",), classes=3)
)


def test_outputs_have_fixed_shapes_and_targets_only_with_a_mask():
    image, mask = images()
    torch.manual_seed(0)
    net = build(SETTINGS, 1, 0)
    trained = net(image, None, mask)
    assert trained["detection"].shape == (4, LARGEST, 6)
    assert trained["detection_box_logits"].shape == (4, 64 + LARGEST, 3)
    assert trained["detection_mask_logits"].shape == (4, LARGEST, 2, 28, 28)
    # in training the lesions' own boxes are among the proposals, so that each has a mask to learn
    assert ((trained["detection_mask_labels"] > 0).sum(1) >= 2).all()
    net.eval()
    alone = net(image)
    assert "detection_box_labels" not in alone
    assert alone["detection_box_logits"].shape == (4, 64, 3)
    with pytest.raises(Exception, match="detection lacks its target"):
        combined_loss(alone, {"event": torch.zeros(4)}, SETTINGS.losses)


def test_a_patient_without_a_contour_has_no_detection_loss():
    image, mask = images()
    torch.manual_seed(0)
    net = build(SETTINGS, 1, 0).eval()
    outputs = net(image, None, mask)
    _, nobody = combined_loss(outputs, {"mask_known": torch.zeros(4)}, SETTINGS.losses)
    assert nobody["detection"].item() == 0
    _, single = combined_loss(outputs, {"mask_known": torch.tensor([0, 1, 0, 0])}, SETTINGS.losses)
    _, all_four = combined_loss(outputs, {}, SETTINGS.losses)
    assert single["detection"].item() != pytest.approx(all_four["detection"].item())


@pytest.mark.nightly
def test_one_batch_is_learned_to_boxes_kinds_and_masks():
    image, mask = images()
    torch.manual_seed(0)
    net = build(SETTINGS, 1, 0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for step in range(200):
        optimizer.zero_grad()
        loss, _ = combined_loss(net(image, None, mask), {}, SETTINGS.losses)
        loss.backward()
        optimizer.step()
        if step % 20 == 19 and all_found(net.eval()(image), mask):
            return
        net.train()
    raise AssertionError("not learned")


def all_found(outputs, mask):
    """Every lesion is among the first boxes with its kind, by an overlap above 0.7, and its mask fits."""
    for number in range(len(mask)):
        truth = lesions_of(mask[number, 0])
        detected = outputs["detection"][number, : len(truth.boxes)]
        table = overlaps(truth.boxes, detected[:, :4])
        best = table.argmax(1)
        if (table.max(1).values < 0.7).any() or not torch.equal(detected[best, 5].long(), truth.kinds):
            return False
        kinds = detected[:, 5].long() - 1
        masks = outputs["detection_mask_logits"][number, torch.arange(len(detected)), kinds] > 0
        wanted = mask_targets(detected[:, :4], truth, 28) > 0
        if (2 * (masks & wanted).sum() / (masks.sum() + wanted.sum())) < 0.9:
            return False
    return True
