"""The disks networks: where they normalise, and how they begin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.losses.combined import combined_loss
from pipeline.nets.registry import build
from pipeline.phantoms.disks import disk_image
from pipeline.settings.networks.disks import DisksNetwork, RNet, SrNet, SthenrNet
from pipeline.settings.phantom import DiskSettings

DISKS = DiskSettings(size_px=80, radius_px=(5.0, 16.0))


def batch() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    made = [disk_image(number, DISKS) for number in range(1, 9)]
    image = torch.from_numpy(np.stack([(d.image - d.image.mean()) / d.image.std() for d in made]))[
        :, None, None
    ]
    mask = torch.from_numpy(np.stack([d.mask for d in made])).float()[:, None]
    time = torch.tensor([d.time for d in made])
    return image, {"time": time, "event": torch.ones(8), "mask": mask, "image": image}


@pytest.mark.parametrize("settings", [RNet(width=0.25), SrNet(width=0.125), SthenrNet(width=0.125)])
def test_log_hazards_begin_near_zero(settings: DisksNetwork) -> None:
    torch.manual_seed(0)
    image, _ = batch()
    hazard = build(settings, 1, 0)(image)["log_hazard"].detach()
    # With weights of the usual size (a hundred times as large) the SD is 4 and more.
    assert 0 < float(hazard.std()) < 0.5 and abs(float(hazard.mean())) < 1


def test_the_cox_loss_does_not_drown_the_segmentation_at_the_start() -> None:
    torch.manual_seed(0)
    image, targets = batch()
    net = build(SthenrNet(width=0.125, unet_batch_norm=False), 1, 0)
    sizes = {}
    for term in ("cox", "cross_entropy"):
        weights = dict.fromkeys(("cox", "dice", "cross_entropy"), 0.0) | {term: 0.5}
        losses = SthenrNet().losses.model_copy(update=weights)
        net.zero_grad()
        combined_loss(net(image), targets, losses)[0].backward()
        grads = [p.grad.norm() for p in net.unet.parameters() if p.grad is not None]
        sizes[term] = float(torch.stack(grads).norm())
    assert sizes["cox"] < 3 * sizes["cross_entropy"]


@pytest.mark.parametrize(
    ("batch_norm", "unet", "expected"), [(True, True, 18), (True, False, 0), (False, True, 0)]
)
def test_batch_norm_of_the_u_net_alone_can_be_left_out(batch_norm: bool, unet: bool, expected: int) -> None:
    net = build(SthenrNet(width=0.125, batch_norm=batch_norm, unet_batch_norm=unet), 1, 0)
    # Nine levels of two convolutions in the U-Net, five residual blocks of two in R-net's path.
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in part.modules()) for part in (net.unet, net.path)]
    assert norms == [expected, 10 if batch_norm else 0]
