"""A small network with the kernels in it against the same network in float64."""

from __future__ import annotations

import copy
import sys

import pytest
import torch

from pipeline.nets.blocks import Conv3d, NormRelu, UpsampleAndJoin
from pipeline.nets.deepmts import ResidualBlock
from pipeline.nets.pooling import MaxPool
from pipeline.training import gpu

HALF = torch.bfloat16 if torch.cuda.is_available() else torch.float16


class Small(torch.nn.Module):
    """Each kind of layer that has a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.pool = ResidualBlock(2, 4, 2), MaxPool(2, ceil=True)
        self.deep, self.join = ResidualBlock(4, 8, 1), UpsampleAndJoin()
        self.up, self.last = ResidualBlock(12, 4, 1), NormRelu(4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.down(image)
        result: torch.Tensor = self.last(self.up(self.join(self.deep(self.pool(fine)), fine)))
        return result


def gradients(net: torch.nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    output = net(image)
    generator = torch.Generator().manual_seed(1)
    output.double().mul(torch.randn(output.shape, generator=generator).to(output.device)).sum().backward()
    found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {
        name: value.double() for name, value in {**found, **dict(net.named_buffers()), "y": output}.items()
    }


def test_network_with_kernels(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.training.gpu import layers

    monkeypatch.setattr(layers, "DEVICES", {device.type})
    monkeypatch.setattr(layers, "WORTHWHILE", 0)
    monkeypatch.setattr(layers, "CONVOLVED", 0)
    torch.manual_seed(0)
    plain = Small().to(device).train()
    fast, exact = copy.deepcopy(plain), copy.deepcopy(plain).double()
    image = torch.randn(2, 2, 7, 8, 8, device=device).contiguous(memory_format=torch.channels_last_3d)
    want = gradients(exact, image.double())
    layers.replace(fast)
    results = []
    for net in (plain, fast):
        with torch.autocast(device.type, dtype=HALF):
            results.append(gradients(net, image))
    usual, got = results
    # The bias before a normalisation has no effect: its gradient is 0 and is left out.
    assert set(want) - set(got) == {name for name in want if name.endswith(".0.bias")}
    # Roundings of two computations in half precision are independent: single gradients, sums of much that
    # cancels out, may be several times luckier in one; together they are alike.
    errors = {
        name: [((found[name] - want[name]).norm() / want[name].norm()).item() for found in (usual, got)]
        for name in got
    }
    for name, (plain_error, own_error) in errors.items():
        assert own_error <= 5 * plain_error + 1e-2, (name, plain_error, own_error)
    by_plain, by_own = (sum(pair[i] ** 2 for pair in errors.values()) ** 0.5 for i in range(2))
    assert by_own <= 1.5 * by_plain


def test_deterministic_mode_has_its_own_gradient_of_weights(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.training.gpu import layers

    monkeypatch.setattr(layers, "DEVICES", {device.type})
    monkeypatch.setattr(layers, "WORTHWHILE", 0)
    torch.manual_seed(0)
    net = torch.nn.Sequential(Conv3d(8, 12, 3, padding=1), Conv3d(12, 4, 3, padding=1, stride=2)).to(device)
    image = torch.randn(2, 8, 4, 4, 6, device=device).contiguous(memory_format=torch.channels_last_3d)
    exact = copy.deepcopy(net).double()
    exact(image.double()).sum().backward()
    layers.replace(net)
    assert ["forward" in vars(module) for module in net] == [True, False]
    strict = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        with torch.autocast(device.type, dtype=HALF):
            output = net(image)
    finally:
        torch.set_deterministic_debug_mode(strict)
    assert "OwnWeightGradient" in str(output.grad_fn.next_functions)
    output.float().sum().backward()
    for ours, theirs in zip(net.parameters(), exact.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert float((ours.grad - theirs.grad).norm()) <= 1e-2 * float(theirs.grad.norm())


def test_without_triton_nothing_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "pipeline.training.gpu.norm", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    gpu._can_run.cache_clear()
    net = Small()
    assert not gpu.speed_up(net)
    assert "cannot run here" in caplog.text and "triton" in caplog.text
    assert not [module for module in net.modules() if "forward" in vars(module)]
    gpu._can_run.cache_clear()


def test_more_elements_than_32_bits_count_are_left_to_pytorch() -> None:
    """64 patients of 128³: with 8 channels 2³⁰ elements, with 16 filters 2³¹, one more than the largest place."""
    layers = pytest.importorskip("pipeline.training.gpu.layers")
    image = torch.empty(64, 8, 128, 128, 128, dtype=torch.bfloat16, device="meta")
    assert layers._reach(image, 8) == 1 << 30 and layers._reach(image, 16) == layers.LARGEST
    last = image.to(memory_format=torch.channels_last_3d)
    assert layers._reach(last[:, :2], 0) == 1 << 30  # a part of a wider image reaches as far as all of it
