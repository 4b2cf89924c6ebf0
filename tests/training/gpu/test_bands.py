"""The products of few-channel convolutions, written out in float64, against PyTorch's convolution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.gpu.bands import Band, mirrored, next_power, pack, unpack

BANDS = [
    Band(8, 8, 1, (2, 2, 2), 32),
    Band(2, 8, 1, (1, 2, 4), 16),
    Band(24, 8, 1, (1, 1, 2), 64),
    Band(3, 5, 1, (2, 1, 3), 16),
    Band(8, 4, 0, (1, 1, 2), 16),
]


def windows(image: Tensor, band: Band) -> Tensor:
    """(segments, rows × blocks × columns): what each segment sees, as the kernels read it from memory."""
    _batch, channels, *sides = image.shape
    ends = [-side % fold for side, fold in zip(sides, band.fold, strict=True)]
    margins = [m for end in reversed(ends) for m in (band.halo, band.halo + end)]
    padded = functional.pad(image, margins)
    for axis, fold in enumerate(band.fold, 2):
        padded = padded.unfold(axis, fold + 2 * band.halo, fold)
    # (B, C, segments z, y, x, window z, y, x) → segments, rows (z, y), columns (x, C)
    rows = padded.permute(0, 2, 3, 4, 5, 6, 7, 1).reshape(-1, band.rows, band.window * channels)
    missing = band.groups * band.block - band.window * channels
    return functional.pad(rows, (0, missing)).flatten(1)


def folded(image: Tensor, band: Band) -> Tensor:
    """(segments, outputs): the output voxels of each segment, or their gradients; 0 behind the image's end."""
    _batch, _filters, *sides = image.shape
    ends = [-side % fold for side, fold in zip(sides, band.fold, strict=True)]
    padded = functional.pad(image, [m for end in reversed(ends) for m in (0, end)])
    for axis, fold in enumerate(band.fold, 2):
        padded = padded.unfold(axis, fold, fold)
    columns = padded.permute(0, 2, 3, 4, 5, 6, 7, 1).reshape(
        -1, padded.shape[1] * padded[0, 0, 0, 0, 0].numel()
    )
    return functional.pad(columns, (0, band.outputs - columns.shape[1]))


@pytest.mark.parametrize("band", BANDS)
def test_products_are_the_convolution_and_its_gradients(band: Band) -> None:
    torch.manual_seed(0)
    side = 2 * band.halo + 1
    image = torch.randn(2, band.channels, 5, 4, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(
        band.filters, band.channels, side, side, side, dtype=torch.float64, requires_grad=True
    )
    want = functional.conv3d(image, weight, padding=band.halo)
    gradient = torch.randn_like(want)
    want.backward(gradient)
    seen = windows(image.detach(), band)
    assert seen.shape == (2 * band.segments((5, 4, 7)), band.shape[0])
    kept = folded(torch.ones_like(want), band)
    assert torch.allclose((seen @ pack(weight, band, torch.float64)) * kept, folded(want.detach(), band))
    by_bands = unpack(seen.T @ folded(gradient, band), band)
    assert weight.grad is not None and image.grad is not None
    assert torch.allclose(by_bands, weight.grad)
    back = Band(band.filters, band.channels, band.halo, band.fold, band.block)
    products = windows(gradient, back) @ pack(mirrored(weight), back, torch.float64)
    kept = folded(torch.ones_like(image), back)
    assert torch.allclose(products * kept, folded(image.grad, back))


def test_sizes() -> None:
    # 8 → 8 channels: 2×2×2 voxels see 4×4 rows of 4 voxels; 4·8 = 32 columns each, 8·8 = 64 outputs.
    band = Band(8, 8, 1, (2, 2, 2), 32)
    assert (band.rows, band.window, band.groups, band.shape) == (16, 4, 1, (512, 64))
    assert [next_power(n) for n in (1, 16, 17, 96)] == [16, 16, 32, 128]


def test_an_expanded_tensor_consists_of_no_rows() -> None:
    """One voxel's memory stands for all of them: kernels would read beside it."""
    from pipeline.training.gpu.rows import rows_of, voxel_stride

    for expanded in (
        torch.ones(1, 8, 1, 1, 1).expand(1, 8, 4, 4, 4),
        torch.ones(1, 1, 1, 1, 1).expand(2, 1, 4, 4, 4),
    ):
        assert voxel_stride(expanded) == 0
        assert voxel_stride(rows_of(expanded)) == expanded.shape[1]
