"""Dropout with four decisions from one random number."""

from __future__ import annotations

import pytest
import torch

from pipeline.training.cpu import dropout

LAST = torch.channels_last_3d


@pytest.fixture(autouse=True)
def small_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "WORTHWHILE", 0)


@pytest.mark.parametrize("order", [torch.contiguous_format, LAST])
def test_dropout_drops_its_share_and_keeps_the_mean(order: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = torch.nn.Dropout(0.05)
    dropout.draw_four_at_a_time(net)
    image = torch.ones(4, 16, 10, 20, 20, dtype=torch.bfloat16).contiguous(memory_format=order)
    x = image.clone(memory_format=torch.preserve_format).requires_grad_()
    y = net(x)
    y.backward(torch.ones_like(y))
    fallen = y == 0
    n = image.numel()
    assert abs(float(fallen.double().mean()) - 0.05) < 4 * (0.05 * 0.95 / n) ** 0.5
    assert float(y[~fallen].detach().unique()) == pytest.approx(1 / 0.95, rel=2**-8)
    assert x.grad is not None and torch.equal(x.grad == 0, fallen) and y.stride() == x.stride()
    # Neighbours share a 64-bit number: their decisions must not depend on each other.
    flat = fallen.permute(0, 2, 3, 4, 1).flatten() if order == LAST else fallen.flatten()
    for distance in (1, 2, 3, 4):
        both = float((flat[:-distance] & flat[distance:]).double().mean())
        assert abs(both - 0.05**2) < 5 * (0.05**2 / n) ** 0.5
    torch.manual_seed(0)
    assert torch.equal(net(image) == 0, fallen)
    net.eval()
    assert net(image) is image


def test_dropout_of_other_types_is_pytorchs() -> None:
    net = torch.nn.Dropout(0.5)
    dropout.draw_four_at_a_time(net)
    image = torch.rand(100)
    torch.manual_seed(3)
    ours = net(image)
    torch.manual_seed(3)
    assert torch.equal(ours, torch.nn.functional.dropout(image, 0.5))
