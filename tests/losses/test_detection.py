"""Losses of detection and of weak localisation by hand."""

import math

import pytest
import torch

from pipeline.losses.combined import combined_loss
from pipeline.losses.detection import detection_loss
from pipeline.losses.localisation import centre_of, distance_to_point
from pipeline.settings.losses import LossSettings


def one_image():
    """Three anchors (lesion, background, between), three boxes (kind 2, background, none), one mask."""
    return {
        "detection_anchor_logits": torch.tensor([[0.0, 0.0, 9.0]]),
        "detection_anchor_offsets": torch.tensor([[[2.0, 0, 0, 0], [7.0] * 4, [7.0] * 4]]),
        "detection_anchor_labels": torch.tensor([[1.0, 0.0, -1.0]]),
        "detection_anchor_targets": torch.zeros(1, 3, 4),
        "detection_box_logits": torch.zeros(1, 3, 3),
        "detection_box_offsets": torch.tensor([[[[9.0] * 4, [0.5, 0, 0, 0]]] + [[[9.0] * 4] * 2] * 2]),
        "detection_box_labels": torch.tensor([[2.0, 0.0, -1.0]]),
        "detection_box_targets": torch.zeros(1, 3, 4),
        "detection_mask_logits": torch.tensor([[[[[9.0]], [[0.0]]]]]),
        "detection_mask_labels": torch.tensor([[2.0]]),
        "detection_mask_targets": torch.ones(1, 1, 1, 1),
        "detection": torch.zeros(1, 1, 6),
    }


def test_terms_by_hand():
    terms = {name: value.item() for name, value in detection_loss(one_image()).items()}
    # half of the lesions' and half of the background's log 2; half of smooth L1 |2| − β/2, β = 1/9 (Ren Eq. 1)
    assert terms["proposal"] == pytest.approx(math.log(2) + 0.5 * (2 - 1 / 18))
    assert terms["class"] == pytest.approx(math.log(3))  # both of log 3, shares 1/4 and 3/4
    assert terms["box"] == pytest.approx(0.25 * 0.5 * 0.5**2)  # of the box's own kind only
    assert terms["mask"] == pytest.approx(math.log(2))


def test_shares_of_lesion_and_background():
    outputs = one_image()
    outputs["detection_box_logits"] = torch.tensor([[[0.0, 0, 0], [math.log(2), 0, 0], [0.0, 9, 9]]])
    lesion, background = math.log(3), math.log(2)
    assert detection_loss(outputs)["class"].item() == pytest.approx(0.25 * lesion + 0.75 * background)


def test_an_image_without_lesions_learns_background_and_keeps_gradients():
    outputs = one_image()
    for name in ("anchor_labels", "box_labels", "mask_labels"):
        outputs[f"detection_{name}"] = outputs[f"detection_{name}"].clamp(max=0)
    leaves = {name: value.clone().requires_grad_() for name, value in outputs.items()}
    terms = detection_loss(leaves)
    assert terms["box"].item() == terms["mask"].item() == 0
    assert terms["class"].item() == pytest.approx(math.log(3))
    torch.stack(list(terms.values())).sum().backward()
    assert leaves["detection_mask_logits"].grad.abs().sum() == 0
    assert leaves["detection_anchor_logits"].grad.abs().sum() > 0
    # what should have been is no output that could be moved
    assert all(value.grad is None for name, value in leaves.items() if name.endswith(("labels", "targets")))


def test_gradient_of_detection():
    outputs = {name: value.double() for name, value in one_image().items()}
    names = ("detection_anchor_logits", "detection_box_logits", "detection_box_offsets")
    for name in names:
        value = outputs[name].clone().requires_grad_()

        def loss(x, name=name):
            return torch.stack(list(detection_loss({**outputs, name: x}).values())).sum().double()

        loss(value).backward()
        step, index = 1e-2, (0, 0, 0, 0)[: value.dim()]
        index = (*index[:2], 1, 0) if value.dim() == 4 else index
        moved = outputs[name].clone()
        moved[index] += step
        numeric = (loss(moved) - loss(outputs[name])) / step
        assert numeric.item() == pytest.approx(value.grad[index].item(), rel=0.05, abs=1e-3), name


def test_the_sum_is_eq_2():
    total, terms = combined_loss(one_image(), {}, LossSettings())
    assert total.item() == pytest.approx(sum(v.item() for v in detection_loss(one_image()).values()))
    assert set(terms) == {"detection"}


def test_centre_and_distance_by_hand():
    projection = torch.zeros(2, 3, 4)
    projection[0, 0, 1:3] = 1
    centre = centre_of(projection)
    assert centre[0].tolist() == [0, 1.5]
    assert torch.isnan(centre[1]).all()
    activation = torch.zeros(2, 3, 4)
    activation[0, 0, 1], activation[0, 2, 1] = 0.5, 0.25
    activation[1] = 1
    # distances 0.5 and √(2² + 0.5²), weights 2/3 and 1/3, diagonal 5; nothing is known of the second
    expected = (2 * 0.5 + math.sqrt(4.25)) / 3 / 5
    assert distance_to_point(activation, centre).tolist() == pytest.approx([expected, 0])


def test_distance_draws_the_activation_to_the_point():
    activation = torch.full((1, 5, 5), 0.5, requires_grad=True)
    distance_to_point(activation, torch.tensor([[2.0, 2.0]])).sum().backward()
    assert activation.grad[0, 2, 2] < 0 < activation.grad[0, 0, 0]


def test_distance_of_both_projections():
    mask = torch.zeros(1, 4, 6, 8)
    mask[0, 1, 2, 3] = 1
    coronal, sagittal = torch.zeros(1, 4, 8), torch.zeros(1, 4, 6)
    coronal[0, 1, 3], sagittal[0, 1, 5] = 1, 1
    outputs = {"activation_coronal": coronal, "activation_sagittal": sagittal}
    _, terms = combined_loss(outputs, {"mask": mask}, LossSettings())
    assert terms["distance"].item() == pytest.approx((0 + 3 / math.sqrt(4**2 + 6**2)) / 2)
