"""3D convolutions in bf16: right where oneDNN is wrong, and gradients from pairs of voxels."""

from __future__ import annotations

import functools

import pytest
import torch

from pipeline.training.cpu import conv3d_bf16

LAST = torch.channels_last_3d


@pytest.fixture(autouse=True)
def small_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv3d_bf16, "WORTHWHILE", 0)


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 4, 4), (1, 6, 6), (4, 5, 5)])
def test_bf16_gradients_of_thin_images_are_right(shape: tuple[int, int, int]) -> None:
    """Unguarded, oneDNN's weight gradient at z = 2 is unwritten memory (see conv3d_bf16.py)."""
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(16, 16, 3, padding=1)
    conv3d_bf16.choose_by_input_size(conv)
    image = torch.randn(4, 16, *shape)
    upper = torch.randn(4, 16, *shape)
    conv(image).backward(upper)
    assert conv.weight.grad is not None
    want = conv.weight.grad.clone()
    for _ in range(5):
        conv.weight.grad = None
        trash = [torch.full((1 << n,), torch.nan) for n in range(10, 19)]
        del trash
        with torch.autocast("cpu", torch.bfloat16):
            output = conv(image)
        assert output.dtype == torch.bfloat16
        output.backward(upper.bfloat16())
        assert (conv.weight.grad - want).norm() < 0.02 * want.norm()


def gradients(conv: torch.nn.Conv3d, image: torch.Tensor, upper: torch.Tensor) -> list[torch.Tensor]:
    x = image.clone(memory_format=torch.preserve_format).requires_grad_()
    conv.zero_grad()
    output = conv(x)
    output.backward(upper.to(output.dtype))
    assert x.grad is not None and conv.weight.grad is not None and conv.bias is not None
    assert conv.bias.grad is not None
    return [output.detach(), x.grad, conv.weight.grad.clone(), conv.bias.grad.clone()]


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
    conv3d_bf16.choose_by_input_size(fast)
    image = torch.randint(-3, 4, (2, inputs, 5, 7, width)).double()
    upper = torch.randint(-2, 3, (2, filters, 5, 7, width)).double()
    assert conv3d_bf16.gains_from_pairs(fast, image) == (width % 2 == 0)
    want = gradients(plain, image, upper)
    with torch.autocast("cpu", torch.bfloat16):
        got = gradients(fast, image.float().contiguous(memory_format=LAST), upper.float())
    assert got[0].dtype == torch.bfloat16
    for expected, actual in zip(want, got, strict=True):
        assert (actual.double() - expected).abs().max() <= 2**-8 * expected.abs().max()


def test_only_small_odd_or_other_convolutions_keep_pytorchs_way(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.zeros(1, 4, 6, 6, 6)
    make = functools.partial(torch.nn.Conv3d, 4, 8, 3)
    assert conv3d_bf16.gains_from_pairs(make(padding=1), image)
    assert not conv3d_bf16.gains_from_pairs(make(padding=1), image[..., :5])
    assert not conv3d_bf16.gains_from_pairs(make(padding=1, stride=2), image)
    assert not conv3d_bf16.gains_from_pairs(make(padding=0), image)
    assert not conv3d_bf16.gains_from_pairs(torch.nn.Conv3d(4, 16, 3, padding=1), image)
    monkeypatch.setattr(conv3d_bf16, "WORTHWHILE", 1 << 18)
    assert not conv3d_bf16.gains_from_pairs(make(padding=1), image)
