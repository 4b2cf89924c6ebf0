"""Mask losses against hand calculation and the papers' formulas."""

import pytest
import torch

from pipeline.losses.overlap import cross_entropy, dice, focal

P = torch.tensor([[[[0.9, 0.4], [0.2, 0.0]]]])
G = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])


def test_both_papers_forms_by_hand():
    overlap = 0.9 + 0.4
    assert dice(P, G, "squared").item() == pytest.approx(2 * overlap / (0.81 + 0.16 + 0.04 + 2))
    assert dice(P, G, "sum").item() == pytest.approx(2 * overlap / (1.5 + 2))


def test_generalised_by_hand():
    # tumour and background hold two voxels each, so both have weight 1/4 (Sudre et al. 2017, Eq. 3)
    overlaps, sizes = 1.3 + (0.8 + 1.0), (1.5 + 2) + (2.5 + 2)
    assert dice(P, G, "generalised").item() == pytest.approx(2 * overlaps / sizes)


@pytest.mark.parametrize("form", ["squared", "sum", "generalised"])
def test_perfect_wrong_and_empty(form):
    assert dice(G, G, form).item() == pytest.approx(1)
    assert dice(1 - G, G, form).item() == pytest.approx(0)
    empty = torch.zeros_like(G)
    assert dice(empty, empty, form).item() == 1
    soft = torch.full_like(G, 0.25, requires_grad=True)
    value = dice(soft, empty, form)
    assert value.item() == pytest.approx(0.75)
    value.sum().backward()
    assert (soft.grad < 0).all()  # less tumour is better


@pytest.mark.parametrize("form", ["squared", "sum", "generalised"])
def test_gradient(form):
    p = torch.rand(2, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    g = (torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(1)) > 0.5).double()
    p.requires_grad_()
    value = dice(p, g, form)
    value.sum().backward()
    step = 1e-3  # the loss is computed in float32
    moved = p.detach().clone()
    moved[0, 0, 0, 0] += step
    numeric = (dice(moved, g, form).sum() - value.sum()) / step
    assert numeric.item() == pytest.approx(p.grad[0, 0, 0, 0].item(), rel=2e-2, abs=1e-3)


def test_each_patient_has_a_dice_of_its_own():
    both = dice(torch.cat([P, G]), torch.cat([G, G]))
    assert both.tolist() == pytest.approx([dice(P, G).item(), 1.0])


def test_cross_entropy_is_torchs():
    expected = torch.nn.functional.binary_cross_entropy(P.clamp(1e-7, 1 - 1e-7), G)
    assert cross_entropy(P, G).item() == pytest.approx(expected.item(), abs=1e-6)


def test_focal_without_focus_is_cross_entropy_and_by_hand():
    assert focal(P, G, 0.0).item() == pytest.approx(cross_entropy(P, G).item())
    right = torch.tensor([0.9, 0.4, 0.8, 1 - 1e-7])
    assert focal(P, G, 2.0).item() == pytest.approx(
        (-((1 - right) ** 2) * right.log()).mean().item(), abs=1e-6
    )


def test_certain_and_wrong_stays_finite():
    wrong = (1 - G).clone().requires_grad_()
    (cross_entropy(wrong, G) + focal(wrong, G)).sum().backward()
    assert torch.isfinite(wrong.grad).all()
