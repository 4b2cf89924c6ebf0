"""What makes a CPU faster leaves the numbers alone: convolutions by pairs, dropout, memory."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest
import torch

from pipeline.training.cpu import conv3d_bf16 as narrow
from pipeline.training.cpu import conv3d_weight_grad as pairs
from pipeline.training.cpu import dropout, norm

LAST = torch.channels_last_3d


@pytest.fixture(autouse=True)
def small_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pairs, dropout, norm):
        monkeypatch.setattr(module, "WORTHWHILE", 0)


def gradients(conv: torch.nn.Conv3d, image: torch.Tensor, upper: torch.Tensor) -> list[torch.Tensor]:
    x = image.clone(memory_format=torch.preserve_format).requires_grad_()
    conv.zero_grad()
    found = conv(x)
    found.backward(upper.to(found.dtype))
    assert x.grad is not None and conv.weight.grad is not None and conv.bias is not None
    assert conv.bias.grad is not None
    return [found.detach(), x.grad, conv.weight.grad.clone(), conv.bias.grad.clone()]


@pytest.mark.parametrize(("inputs", "filters", "width"), [(24, 8, 12), (8, 8, 6), (2, 8, 4), (3, 5, 2)])
def test_pairs_give_the_gradient_of_float64(inputs: int, filters: int, width: int) -> None:
    """Edges in every direction, an odd height, and a border pair that reads padding."""
    torch.manual_seed(inputs)
    plain = torch.nn.Conv3d(inputs, filters, 3, padding=1).double()
    # Multiples of 1/16, small: products and sums are exact in bf16's float32 sums.
    with torch.no_grad():
        plain.weight.copy_((plain.weight * 32).round() / 16)
        plain.bias.copy_((plain.bias * 32).round() / 16)  # type: ignore[union-attr]
    fast = torch.nn.Conv3d(inputs, filters, 3, padding=1)
    fast.load_state_dict(plain.state_dict())
    narrow.guard(fast)
    image = torch.randint(-3, 4, (2, inputs, 5, 7, width)).double()
    upper = torch.randint(-2, 3, (2, filters, 5, 7, width)).double()
    assert pairs.pays(fast, image) == (width % 2 == 0)
    want = gradients(plain, image, upper)
    with torch.autocast("cpu", torch.bfloat16):
        got = gradients(fast, image.float().contiguous(memory_format=LAST), upper.float())
    assert got[0].dtype == torch.bfloat16
    for expected, found in zip(want, got, strict=True):
        assert (found.double() - expected).abs().max() <= 2**-8 * expected.abs().max()


def test_only_small_odd_or_other_convolutions_keep_pytorchs_way(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.zeros(1, 4, 6, 6, 6)
    make = functools.partial(torch.nn.Conv3d, 4, 8, 3)
    assert pairs.pays(make(padding=1), image)
    assert not pairs.pays(make(padding=1), image[..., :5])
    assert not pairs.pays(make(padding=1, stride=2), image)
    assert not pairs.pays(make(padding=0), image)
    assert not pairs.pays(torch.nn.Conv3d(4, 16, 3, padding=1), image)
    monkeypatch.setattr(pairs, "WORTHWHILE", 1 << 18)
    assert not pairs.pays(make(padding=1), image)


def test_relu_beside_a_batch_norm_is_the_same_function() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.BatchNorm3d(8), torch.nn.ReLU(inplace=True))
    fast = torch.nn.Sequential(torch.nn.BatchNorm3d(8), torch.nn.ReLU(inplace=True))
    norm.speed_up(fast)
    image = torch.randn(2, 8, 4, 4, 6)
    # A gradient in the other memory order, as averages and concatenations make it.
    weights = torch.randn(2, 8, 4, 4, 6)
    found = []
    for net in (plain, fast):
        x = image.contiguous(memory_format=LAST).requires_grad_()
        y = net(x)
        y.backward(weights)
        assert x.grad is not None
        found.append((y.detach(), x.grad, net[0].weight.grad))
        net.eval()
        found[-1] += (net(image).detach(),)
        net.train()
    for want, got in zip(*found, strict=True):
        assert torch.allclose(want, got, atol=1e-5)
    assert (found[1][0] == 0).float().mean() > 0.3


@pytest.mark.parametrize("order", [torch.contiguous_format, LAST])
def test_dropout_drops_its_share_and_keeps_the_mean(order: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = torch.nn.Dropout(0.05)
    dropout.speed_up(net)
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
    dropout.speed_up(net)
    image = torch.rand(100)
    torch.manual_seed(3)
    ours = net(image)
    torch.manual_seed(3)
    assert torch.equal(ours, torch.nn.functional.dropout(image, 0.5))


# What glibc itself counts (mallinfo2(3), hblkhd: bytes lying in blocks mapped from the system one by
# one, which go back to it when freed). Not page faults: some systems do not count them.
MAPPED = """
import ctypes, sys, torch
from pipeline.training.cpu.malloc import kept_memory

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit(print(0, 0, 0, 0, 0))
libc.mallinfo2.restype = Counts

def mapped(megabytes):
    before = libc.mallinfo2().hblkhd
    block = torch.zeros(megabytes << 18)
    return libc.mallinfo2().hblkhd - before

plain = mapped(64)  # above the largest size at which glibc turns to the heap by itself
with kept_memory() as able:
    kept = mapped(64)
    held = libc.mallinfo2().fordblks
print(int(able), plain, kept, held, mapped(256))  # more than the heap holds
"""


def test_freed_memory_stays_only_within_the_frame() -> None:
    # In a process of its own: what another test freed would lie there to be used again.
    told = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    able, plain, kept, held, after = map(int, told.stdout.split())
    if not able:
        pytest.skip("another C library")
    block = 64 << 20
    assert plain >= block  # outside: mapped, and gone when freed
    assert kept == 0 and held >= block  # within: from the heap, and still there when freed
    assert after >= 4 * block
