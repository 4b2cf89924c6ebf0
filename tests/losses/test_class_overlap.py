"""Losses of a mask of several classes: by hand, against PyTorch, MONAI and the losses of a single class."""

from __future__ import annotations

import pytest
import torch

from pipeline.losses.class_overlap import class_cross_entropy, class_dice, class_focal, one_hot
from pipeline.losses.combined import combined_loss
from pipeline.losses.overlap import cross_entropy, dice, focal
from pipeline.settings.losses import LossSettings

SHAPE = (1, 2, 2)
# Four voxels: class 1, class 2, class 1, background.
LABELS = torch.tensor([[[[1.0, 2.0], [1.0, 0.0]]]])
FIRST = torch.tensor([[[[0.7, 0.2], [0.5, 0.1]]]])
SECOND = torch.tensor([[[[0.1, 0.6], [0.2, 0.2]]]])
CLASSES = torch.stack([FIRST, SECOND], 1)
ANY = FIRST + SECOND


def drawn(seed=0, classes=3, size=4):
    """Softmax probabilities of background and classes, and labels, of random voxels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, classes + 1, 3, 4, 5, generator=generator)
    labels = torch.randint(0, classes + 1, (size, 3, 4, 5), generator=generator)
    return logits, labels


def test_dice_is_the_mean_over_classes_by_hand():
    # Class 1: overlap 0.7 + 0.5, Σp² 0.49 + 0.04 + 0.25 + 0.01, Σg² 2; class 2: 0.6, 0.45, 1.
    squared = (2 * 1.2 / (0.79 + 2) + 2 * 0.6 / (0.45 + 1)) / 2
    assert class_dice(ANY, CLASSES, LABELS, "squared").item() == pytest.approx(squared)
    plain = (2 * 1.2 / (1.5 + 2) + 2 * 0.6 / (1.1 + 1)) / 2
    assert class_dice(ANY, CLASSES, LABELS, "sum").item() == pytest.approx(plain)


def test_generalised_dice_weighs_background_and_classes_together_by_hand():
    # Sudre et al. 2017, Eq. 3. Volumes 1 (background), 2, 1; background probabilities 0.2, 0.2, 0.3, 0.7.
    weights, overlaps, sizes = (1, 1 / 4, 1), (0.7, 1.2, 0.6), (1.4 + 1, 1.5 + 2, 1.1 + 1)
    expected = 2 * sum(w * o for w, o in zip(weights, overlaps, strict=True))
    expected /= sum(w * s for w, s in zip(weights, sizes, strict=True))
    assert class_dice(ANY, CLASSES, LABELS, "generalised").item() == pytest.approx(expected)


@pytest.mark.nightly  # MONAI alone takes ten seconds to import
def test_generalised_dice_is_monais():
    from monai.losses import GeneralizedDiceLoss

    logits, labels = drawn()
    p = logits.softmax(1)
    theirs = GeneralizedDiceLoss(to_onehot_y=True, reduction="none", smooth_nr=0, smooth_dr=0)(
        p, labels[:, None]
    )
    ours = class_dice(1 - p[:, 0], p[:, 1:], labels.float(), "generalised")
    assert ours.tolist() == pytest.approx((1 - theirs.flatten()).tolist(), abs=1e-5)


def test_cross_entropy_under_a_softmax_is_pytorchs():
    logits, labels = drawn(1)
    p = logits.softmax(1)
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none").flatten(1).mean(1)
    ours = class_cross_entropy(1 - p[:, 0], p[:, 1:], labels.float(), "softmax")
    assert ours.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert class_focal(1 - p[:, 0], p[:, 1:], labels.float(), "softmax", 0.0).tolist() == pytest.approx(
        ours.tolist()
    )


def test_sigmoids_are_the_mean_of_single_classes():
    logits, labels = drawn(2, classes=2)
    p = logits[:, 1:].sigmoid()
    each = [(p[:, k], (labels == k + 1).float()) for k in range(2)]
    args = (p.amax(1), p, labels.float(), "sigmoid")
    wanted = torch.stack([cross_entropy(*pair) for pair in each]).mean(0)
    assert class_cross_entropy(*args).tolist() == pytest.approx(wanted.tolist())
    wanted = torch.stack([focal(*pair, 2.0) for pair in each]).mean(0)
    assert class_focal(*args, 2.0).tolist() == pytest.approx(wanted.tolist())


@pytest.mark.parametrize("form", ["squared", "sum", "generalised"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_one_class_is_the_mask_without_classes(form, activation):
    logits, labels = drawn(3, classes=1)
    p = logits.softmax(1)[:, 1]
    g = labels.float()
    assert class_dice(p, p[:, None], g, form).tolist() == pytest.approx(dice(p, g, form).tolist(), abs=1e-6)
    ours = class_cross_entropy(p, p[:, None], g, activation)
    assert ours.tolist() == pytest.approx(cross_entropy(p, g).tolist(), abs=1e-6)


@pytest.mark.parametrize("form", ["squared", "sum", "generalised"])
def test_perfect_and_absent_classes(form):
    perfect = one_hot(LABELS, 2)
    assert class_dice(perfect.amax(1), perfect, LABELS, form).item() == pytest.approx(1)
    # A patient without any lesion: nothing predicted is right, and what is predicted is pushed down.
    nothing = torch.zeros_like(LABELS)
    soft = torch.full((1, 2, *SHAPE), 0.25, requires_grad=True)
    value = class_dice(soft.sum(1), soft, nothing, form)
    value.sum().backward()
    assert 0 < value.item() < 1 and (soft.grad < 0).all()
    silent = torch.zeros(1, 2, *SHAPE)
    assert class_dice(silent.sum(1), silent, nothing, form).item() == 1


def test_the_combined_loss_takes_classes_where_the_network_gives_them():
    outputs = {"mask": ANY, "class_masks": CLASSES}
    targets = {"mask": LABELS, "mask_known": torch.ones(1)}
    settings = LossSettings(cross_entropy=1.0, focal=1.0, mask_classes=("a", "b"))
    _, terms = combined_loss(outputs, targets, settings)
    assert terms["dice"].item() == pytest.approx(-class_dice(ANY, CLASSES, LABELS).item())
    # By hand: the probability of what each voxel is.
    right = torch.tensor([0.7, 0.6, 0.5, 0.7])
    assert terms["cross_entropy"].item() == pytest.approx(-right.log().mean().item(), abs=1e-6)
    assert terms["focal"].item() == pytest.approx(-((1 - right) ** 2 * right.log()).mean().item(), abs=1e-6)


def test_a_network_without_classes_learns_the_union():
    _, terms = combined_loss({"mask": ANY}, {"mask": LABELS}, LossSettings(cross_entropy=1.0))
    union = (LABELS > 0).float()
    assert terms["dice"].item() == pytest.approx(-dice(ANY, union).item())
    assert terms["cross_entropy"].item() == pytest.approx(cross_entropy(ANY, union).item())
