"""The kernels against PyTorch's own operators in float64, on an accelerator or in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

LAST = torch.channels_last_3d
CLOSE = 6e-3
"""Relative to the largest value: bf16 keeps 8 bits."""
HALF = torch.bfloat16 if torch.cuda.is_available() else torch.float16
"""Triton's interpreter multiplies bf16 numbers as if they were integers."""


def image(device: torch.device, shape: tuple[int, ...], seed: int = 0, offset: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator) + offset
    return values.to(HALF).to(device).contiguous(memory_format=LAST)


def close(got: Tensor, want: Tensor, tolerance: float = CLOSE) -> None:
    assert got.shape == want.shape
    got, want = got.detach().double().cpu(), want.detach().double().cpu()
    assert (got - want).abs().max() <= tolerance * want.abs().max().clamp(min=1e-30)


def leaf(x: Tensor) -> Tensor:
    return x.detach().clone(memory_format=torch.preserve_format).requires_grad_()


@pytest.mark.parametrize(
    ("channels", "filters", "side", "shape"),
    [
        (8, 8, 3, (2, 4, 5, 6)),
        (2, 8, 3, (1, 3, 4, 5)),
        (24, 8, 3, (1, 3, 2, 4)),
        (16, 16, 3, (1, 2, 3, 3)),
        (8, 4, 1, (2, 3, 4, 5)),
        (24, 8, 1, (1, 2, 3, 5)),
    ],
)
def test_convolution(
    device: torch.device, channels: int, filters: int, side: int, shape: tuple[int, ...]
) -> None:
    from pipeline.training.gpu.conv import convolve

    batch, *sides = shape
    x = image(device, (batch, channels, *sides))
    weight = torch.randn(filters, channels, side, side, side, generator=torch.Generator().manual_seed(1))
    weight = weight.to(HALF).float().to(device)
    g = image(device, (batch, filters, *sides), 2)
    ours, w = leaf(x), leaf(weight)
    y = convolve(ours, w)
    assert y.is_contiguous(memory_format=LAST)
    y.backward(g)
    exact, v = leaf(x.double()), leaf(weight.double())
    want = functional.conv3d(exact, v, padding=side // 2)
    want.backward(g.double())
    close(y, want)
    assert ours.grad is not None and exact.grad is not None and w.grad is not None and v.grad is not None
    close(ours.grad, exact.grad)
    close(w.grad, v.grad, 1e-5)


@pytest.mark.parametrize(("channels", "filters", "side"), [(12, 16, 3), (40, 5, 1), (16, 80, 3)])
def test_gradient_of_weights_for_deterministic_mode(
    device: torch.device, channels: int, filters: int, side: int
) -> None:
    from pipeline.training.gpu.conv import convolve_repeatably

    x, g = image(device, (2, channels, 3, 4, 5)), image(device, (2, filters, 3, 4, 5), 2)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(filters, channels, side, side, side, generator=generator).to(HALF).float().to(device)
    bias = torch.linspace(-1, 1, filters).to(HALF).float().to(device)
    leaves, exact = [leaf(t) for t in (x, weight, bias)], [leaf(t.double()) for t in (x, weight, bias)]
    y = convolve_repeatably(*leaves)
    y.backward(g)
    want = functional.conv3d(*exact, padding=side // 2)
    want.backward(g.double())
    close(y, want)
    for ours, theirs, tolerance in zip(leaves, exact, (CLOSE, 1e-5, 1e-5), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert ours.grad.dtype == ours.dtype
        close(ours.grad, theirs.grad, tolerance)


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", [(2, 8, 5, 9, 16), (1, 24, 3, 4, 5), (3, 5, 2, 3, 3)])
def test_normalise_rectify_add(device: torch.device, shape: tuple[int, ...], added: bool) -> None:
    from pipeline.training.gpu.norm import normalise_rectify_add

    x, g = image(device, shape, offset=30.0), image(device, shape, 1)
    extra = image(device, shape, 2)
    conv_bias = torch.linspace(-1, 1, shape[1], device=device)
    results = []
    for kind in (torch.float32, torch.float64):
        norm = torch.nn.BatchNorm3d(shape[1], momentum=0.3).to(device=device, dtype=kind)
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, shape[1]))
            norm.bias.copy_(torch.linspace(-0.5, 0.5, shape[1]))
        exact = kind == torch.float64
        source, other = leaf(x.double() if exact else x), leaf(extra.double() if exact else extra)
        if exact:
            y = torch.relu(norm(source + conv_bias.double().view(1, -1, 1, 1, 1)))
            y = y + other if added else y
        else:
            y = normalise_rectify_add(source, norm, conv_bias, other if added else None)
        y.backward(g.to(y.dtype))
        results.append((y, source.grad, norm, other.grad))
    (y, dx, norm, other), (want, want_dx, plain, want_other) = results
    close(y, want)
    close(dx, want_dx)
    close(norm.weight.grad, plain.weight.grad, 1e-4)
    close(norm.bias.grad, plain.bias.grad, 1e-4)
    close(norm.running_mean, plain.running_mean, 1e-5)
    close(norm.running_var, plain.running_var, 1e-4)
    assert int(norm.num_batches_tracked) == 1
    if added:
        close(other, want_other, 0.0)


def test_a_gradient_that_is_a_slice_of_channels(device: torch.device) -> None:
    from pipeline.training.gpu.norm import normalise_rectify_add

    x, wide = image(device, (2, 8, 3, 4, 5)), image(device, (2, 24, 3, 4, 5), 1)
    results = []
    for g in (wide[:, 8:16], wide[:, 8:16].contiguous(memory_format=LAST)):
        norm, source = torch.nn.BatchNorm3d(8).to(device), leaf(x)
        normalise_rectify_add(source, norm).backward(g)
        results.append(source.grad)
    assert torch.equal(results[0], results[1])


@pytest.mark.parametrize("sides", [(4, 6, 8), (5, 6, 7)])
def test_upsample_and_join(device: torch.device, sides: tuple[int, ...]) -> None:
    from pipeline.training.gpu.join import upsample_and_join

    coarse = image(device, (2, 16, *[-(-side // 2) for side in sides]))
    fine, g = image(device, (2, 8, *sides), 1), image(device, (2, 24, *sides), 2)
    low, high = leaf(coarse), leaf(fine)
    y = upsample_and_join(low, high)
    y.backward(g)
    exact_low, exact_high = leaf(coarse.double()), leaf(fine.double())
    grown = functional.interpolate(exact_low, scale_factor=2, mode="nearest")
    grown = grown[:, :, : sides[0], : sides[1], : sides[2]]
    want = torch.cat([grown, exact_high], 1)
    want.backward(g.double())
    close(y, want, 0.0)
    assert low.grad is not None and exact_low.grad is not None
    close(low.grad, exact_low.grad)
    assert high.grad is not None and torch.equal(high.grad, g[:, 16:])


@pytest.mark.parametrize(
    ("kernel", "stride", "ceil", "sides"),
    [(2, 2, True, (4, 6, 8)), (2, 2, True, (3, 5, 4)), (3, 2, False, (5, 6, 7)), (2, 2, False, (5, 4, 3))],
)
def test_max_pool(device: torch.device, kernel: int, stride: int, ceil: bool, sides: tuple[int, ...]) -> None:
    from pipeline.training.gpu.pool import max_pool

    # Integers of a small range: equal maxima occur, whose first gets the gradient in PyTorch on a CPU.
    x = (image(device, (2, 8, *sides)) * 2).round()
    ours, exact = leaf(x), leaf(x.double().cpu())
    want = functional.max_pool3d(exact, kernel, stride, ceil_mode=ceil)
    y = max_pool(ours, kernel, stride, ceil)
    g = image(device, tuple(y.shape), 3)
    y.backward(g)
    want.backward(g.double().cpu())
    close(y, want, 0.0)
    assert ours.grad is not None and exact.grad is not None
    close(ours.grad, exact.grad)


def test_nan_is_passed_on(device: torch.device) -> None:
    from pipeline.training.gpu.norm import normalise_rectify_add
    from pipeline.training.gpu.pool import max_pool

    x = image(device, (1, 8, 2, 4, 4))
    x[0, 3, 1, 2, 2] = float("nan")
    assert torch.isnan(max_pool(x, 2, 2, True)).sum() == 1
    assert torch.isnan(normalise_rectify_add(x, torch.nn.BatchNorm3d(8).to(device))).any()
