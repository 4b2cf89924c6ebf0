"""Batch norm on rows of voxels: PyTorch's numbers, running statistics and gradients."""

from __future__ import annotations

import pytest
import torch

from pipeline.training.cpu import norm as norm_module
from pipeline.training.cpu.norm import normalise_rows, voxels_per_row

LAST = torch.channels_last_3d


@pytest.fixture(autouse=True)
def small_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_module, "WORTHWHILE", 0)


def pair(channels: int) -> tuple[torch.nn.BatchNorm3d, torch.nn.BatchNorm3d]:
    torch.manual_seed(channels)
    plain, fast = torch.nn.BatchNorm3d(channels), torch.nn.BatchNorm3d(channels)
    with torch.no_grad():
        plain.weight.uniform_(0.5, 2)
        plain.bias.uniform_(-1, 1)
    fast.load_state_dict(plain.state_dict())
    normalise_rows(fast)
    return plain, fast


@pytest.mark.parametrize(
    ("shape", "fold"),
    [((8, 4, 8, 12, 12), 32), ((3, 16, 6, 6, 6), 8), ((2, 6, 4, 4, 3), 16), ((2, 88, 4, 4, 4), 2)],
)
@pytest.mark.parametrize(("kind", "close"), [(torch.float32, 2e-5), (torch.bfloat16, 2e-2)])
def test_equals_pytorch(shape: tuple[int, ...], fold: int, kind: torch.dtype, close: float) -> None:
    plain, fast = pair(shape[1])
    # An offset much larger than the spread: a variance of E[x²] − E[x]² would lose it.
    image = (torch.randn(shape) * 0.5 + 4).to(kind).contiguous(memory_format=LAST)
    assert voxels_per_row(image) == fold
    weights = torch.randn(shape).to(kind).contiguous(memory_format=LAST)
    results = []
    for norm, source in ((plain, image.float()), (fast, image)):
        x = source.clone(memory_format=torch.preserve_format).requires_grad_()
        y = torch.relu_(norm(x))  # in place, as the networks do it
        y.backward(weights.to(y.dtype))
        assert x.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
        results.append([y.detach(), x.grad, norm.weight.grad, norm.bias.grad])
    for want, got in zip(*results, strict=True):
        error = (got.float() - want).norm() / want.norm()
        assert error < close
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.allclose(getattr(plain, name).float(), getattr(fast, name).float(), rtol=1e-5)


def test_evaluation_equals_pytorch() -> None:
    plain, fast = pair(8)
    image = torch.randn(4, 8, 6, 6, 6).contiguous(memory_format=LAST)
    for norm in (plain, fast):
        norm(image * 3 + 1)
        norm.eval()
    assert torch.allclose(plain(image), fast(image), atol=1e-5)


def test_other_memory_orders_take_pytorchs_way() -> None:
    plain, fast = pair(8)
    image = torch.randn(4, 8, 6, 6, 6)
    assert voxels_per_row(image) == 1
    assert torch.equal(plain(image), fast(image))
    odd = torch.randn(1, 128, 3, 3, 3).contiguous(memory_format=LAST)
    assert voxels_per_row(odd) == 1


def test_relu_beside_a_batch_norm_is_the_same_function() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.BatchNorm3d(8), torch.nn.ReLU(inplace=True))
    fast = torch.nn.Sequential(torch.nn.BatchNorm3d(8), torch.nn.ReLU(inplace=True))
    normalise_rows(fast)
    image = torch.randn(2, 8, 4, 4, 6)
    # A gradient in the other memory order, as averages and concatenations make it.
    weights = torch.randn(2, 8, 4, 4, 6)
    results = []
    for net in (plain, fast):
        x = image.contiguous(memory_format=LAST).requires_grad_()
        y = net(x)
        y.backward(weights)
        assert x.grad is not None
        results.append((y.detach(), x.grad, net[0].weight.grad))
        net.eval()
        results[-1] += (net(image).detach(),)
        net.train()
    for want, got in zip(*results, strict=True):
        assert torch.allclose(want, got, atol=1e-5)
    assert (results[1][0] == 0).float().mean() > 0.3
