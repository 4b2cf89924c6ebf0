"""Masks of several classes: what the heads give, and that every segmenting network has them."""

from __future__ import annotations

import pytest
import torch

from pipeline.losses.combined import combined_loss
from pipeline.nets.blocks import masked
from pipeline.nets.mask_head import MaskHead, mask_outputs, mask_probabilities
from pipeline.nets.registry import build
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.networks.deepmts import DeepMts, SegBackbone
from pipeline.settings.networks.disks import SrNet, SthenrNet
from pipeline.settings.networks.hecktor import Hecktor
from pipeline.settings.networks.pet_multiscale import ChenNet, QuNet, VNet, WNet

CUBE, SLICE = (32, 32, 32), (1, 64, 64)
CLASSES = ("gtvp", "gtvn", "third")
SEGMENTING = [
    (DeepMts(width=0.25), CUBE),
    (SegBackbone(width=0.25, backbone="unet"), CUBE),
    (Hecktor(filters=2), CUBE),
    (SrNet(width=0.125), SLICE),
    (SthenrNet(width=0.125), SLICE),
    (VNet(width=0.125), CUBE),
    (ChenNet(width=0.0625), CUBE),
    (QuNet(width=0.0625), CUBE),
    (WNet(width=0.0625, tasks=("segmentation", "prediction"), outcome="hazard"), CUBE),
    (ChestCt(width=0.0625, tasks=("segmentation", "reconstruction")), SLICE),
]


def of_classes(settings, activation, classes=CLASSES):
    losses = settings.losses.model_copy(update={"mask_classes": classes, "mask_activation": activation})
    return settings.model_copy(update={"losses": losses})


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("settings", "shape"), SEGMENTING, ids=[s.kind for s, _ in SEGMENTING])
def test_every_segmenting_network_tells_classes_apart(settings, shape, activation):
    torch.manual_seed(0)
    settings = of_classes(settings, activation)
    net = build(settings, 2, 0)
    outputs = net(torch.randn(2, 2, *shape))
    union, classes = outputs["mask"], outputs["class_masks"]
    assert union.shape == (2, *shape) and classes.shape == (2, 3, *shape) and classes.dtype == torch.float32
    expected = classes.sum(1).clamp(max=1) if activation == "softmax" else classes.amax(1)
    assert torch.equal(union, expected)
    labels = torch.randint(0, 4, (2, *shape)).float()
    targets = {"mask": labels, "image": torch.zeros(2, 2, *shape), "time": torch.tensor([1.0, 2.0])}
    loss, _ = combined_loss(outputs, {**targets, "event": torch.ones(2)}, settings.losses)
    loss.backward()
    last = [p for name, p in net.named_parameters() if p.grad is not None and p.shape[0] in (3, 4)]
    assert last and all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_a_softmax_has_a_channel_of_background():
    head = MaskHead(5, LossSettings(mask_classes=CLASSES))
    x = torch.randn(1, 5, 2, 3, 4)
    assert head.conv.out_channels == 4
    expected = head.conv(x).softmax(1)
    given = mask_outputs(head(x))
    assert torch.allclose(given["class_masks"], expected[:, 1:])
    assert torch.allclose(given["mask"], 1 - expected[:, 0])
    assert MaskHead(5, LossSettings(mask_classes=CLASSES, mask_activation="sigmoid")).conv.out_channels == 3


def test_one_class_is_the_head_without_classes():
    # A softmax over background and one class is the head of tumour or not, with the same weights.
    torch.manual_seed(0)
    plain, single = MaskHead(5, LossSettings()), MaskHead(5, LossSettings(mask_classes=("gtvp",)))
    single.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 2, 3, 4)
    assert torch.allclose(mask_outputs(single(x))["mask"], mask_outputs(plain(x))["mask"], atol=1e-6)
    assert "class_masks" not in mask_outputs(plain(x))
    logits = torch.randn(2, 1, 4, 4)
    assert torch.equal(mask_probabilities(logits, LossSettings()), torch.sigmoid(logits))


def test_the_manual_mask_multiplies_whatever_class_it_is():
    image, labels = torch.randn(1, 2, 1, 2, 2), torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    assert torch.equal(masked(image, labels, "net"), image * (labels > 0).float()[:, None])
