"""Pooling that repeats on an accelerator against PyTorch's own, values and gradients.

A processor stands in for the accelerator: `must_be_deterministic` returns true.
"""

import pytest
import torch
from torch.nn import functional

from pipeline.nets import pooling

POOL = {4: functional.max_pool2d, 5: functional.max_pool3d}
GRID = {4: functional.adaptive_max_pool2d, 5: functional.adaptive_max_pool3d}


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setattr(pooling, "must_be_deterministic", lambda x: True)


def image(*sides, kind=torch.float64):
    """Few values, so that windows have ties, and a third zeros, as after ReLU."""
    torch.manual_seed(0)
    return torch.randint(-3, 5, (2, 3, *sides)).clamp(min=0).to(kind).requires_grad_()


def both(ours, theirs, x):
    """Results and gradients of the same weighted sum."""
    results = []
    for function in (ours, theirs):
        result = function(x)
        weights = torch.arange(1.0, result.numel() + 1).reshape(result.shape).to(result)
        results.append((result, *torch.autograd.grad((result * weights).sum(), x)))
    return results


@pytest.mark.parametrize("sides", [(8, 8, 8), (7, 9, 5), (1, 6, 6), (8, 10), (9, 7)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil"),
    [
        (2, None, 0, False),
        (2, None, 0, True),
        (3, 2, 0, False),
        (3, 2, 1, False),
        (3, 2, 1, True),
        (3, 1, 1, False),
    ],
)
def test_max_pool_is_pytorchs_ties_included(sides, kernel, stride, padding, ceil):
    if min(sides) + 2 * padding < kernel and not (ceil and min(sides) == 1):
        pytest.skip("no window fits")
    x = image(*sides)
    call = (kernel, stride, padding)
    ours, theirs = both(
        lambda x: pooling.max_pool(x, *call, ceil), lambda x: POOL[x.dim()](x, *call, ceil_mode=ceil), x
    )
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(("kernel", "stride"), [(2, None), (3, 1)])
@pytest.mark.parametrize("sides", [(8, 8, 8), (7, 9, 5)])
def test_mean_pool_is_pytorchs(sides, kernel, stride):
    x = image(*sides)
    ours, theirs = both(
        lambda x: pooling.mean_pool(x, kernel, stride), lambda x: functional.avg_pool3d(x, kernel, stride), x
    )
    assert torch.allclose(ours[0], theirs[0], atol=1e-12) and torch.allclose(ours[1], theirs[1], atol=1e-9)


@pytest.mark.parametrize("bins", [1, 2, 4, 5])
@pytest.mark.parametrize("sides", [(8, 8, 8), (3, 9, 7), (15, 6)])
def test_max_grid_is_pytorchs(sides, bins):
    x = image(*sides)
    ours, theirs = both(lambda x: pooling.adaptive_max_pool(x, bins), lambda x: GRID[x.dim()](x, bins), x)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(("old", "new"), [((4, 5, 6), (8, 10, 12)), ((8, 8, 8), (4, 3, 8)), ((5, 1), (9, 4))])
def test_linear_growth_is_pytorchs(old, new):
    x = image(*old)
    mode = "trilinear" if len(old) == 3 else "bilinear"
    ours, theirs = both(
        lambda x: pooling.resize_linear(x, new), lambda x: functional.interpolate(x, new, mode=mode), x
    )
    assert torch.allclose(ours[0], theirs[0], atol=1e-12) and torch.allclose(ours[1], theirs[1], atol=1e-9)


def test_a_processor_takes_pytorchs_own(monkeypatch):
    monkeypatch.undo()
    torch.use_deterministic_algorithms(True)
    try:
        assert not pooling.must_be_deterministic(torch.zeros(1)) and pooling.must_be_deterministic(
            torch.zeros(1, device="meta")
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert not pooling.must_be_deterministic(torch.zeros(1, device="meta"))


def test_bf16_keeps_its_kind():
    x = image(4, 4, 4, kind=torch.bfloat16)
    for result in (
        pooling.max_pool(x, 2),
        pooling.mean_pool(x, 2),
        pooling.adaptive_max_pool(x, 2),
        pooling.resize_linear(x, (8, 8, 8)),
    ):
        assert result.dtype == torch.bfloat16
