"""1×1×1 convolutions as products of matrices against PyTorch's convolution: values and gradients in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pipeline.nets import pointwise
from pipeline.nets.blocks import Conv3d
from pipeline.nets.mask_head import MaskHead
from pipeline.settings.losses import LossSettings


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_products_are_the_convolution(bias: bool, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 4, 3, 2, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(7, 5, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(7, dtype=torch.float64, requires_grad=True) if bias else None
    leaves = [leaf for leaf in (x, weight, shift) if leaf is not None]
    results = []
    for convolve in (pointwise.by_products, functional.conv3d):
        result = convolve(x, weight, shift)
        factors = torch.arange(1.0, result.numel() + 1, dtype=torch.float64).view(result.shape)
        results.append((result, *torch.autograd.grad((result * factors).sum(), leaves)))
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=1e-12, atol=1e-9)


def test_channels_last_stays_without_a_copy() -> None:
    x = torch.randn(2, 5, 4, 3, 2).contiguous(memory_format=torch.channels_last_3d)
    result = pointwise.by_products(x, torch.randn(7, 5, 1, 1, 1), None)
    assert result.is_contiguous(memory_format=torch.channels_last_3d)


def test_layers_take_it_where_bits_must_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of one voxel only, stride 1; everywhere else PyTorch's convolution runs."""
    torch.manual_seed(0)
    calls: list[torch.Size] = []
    real = pointwise.by_products

    def counted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        calls.append(weight.shape)
        return real(x, weight, bias)

    monkeypatch.setattr(pointwise, "by_products", counted)
    x, head = torch.randn(2, 3, 4, 4, 4), MaskHead(3, LossSettings())
    layers = [Conv3d(3, 4, 1), head, Conv3d(3, 4, 3, padding=1), Conv3d(3, 4, 1, stride=2)]
    plain = [layer(x) for layer in layers]
    assert not calls
    monkeypatch.setattr(pointwise, "must_be_deterministic", lambda x: True)
    strict = [layer(x) for layer in layers]
    assert len(calls) == 2
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, strict, strict=True))
