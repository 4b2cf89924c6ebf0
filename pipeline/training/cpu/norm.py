"""Batch normalisation on a CPU for channels-last images with few channels.

PyTorch's kernel runs along the channels, which lie next to each other in channels-last order.
With the 4 to 64 channels of these networks that leaves vector units mostly empty: 24 ms
forward and backward for (8, 4, 40, 48, 48) in bf16 on one thread. Here k neighbouring voxels
are taken as one row of k·C columns, whose statistics are combined afterwards: 3 ms. Results
equal those of :class:`torch.nn.BatchNorm3d` up to rounding; statistics are float32 throughout.

A ReLU that follows in the same `nn.Sequential` is computed here too. Its gradient arrives from
concatenations and averages in whatever memory order these have produced, which makes the ReLU's own
kernel up to ten times slower; here the gradient is put into channels-last order first.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch.autograd.function import once_differentiable

from pipeline.nets.blocks import NormRelu

if TYPE_CHECKING:
    from torch import Tensor

WORTHWHILE = 1 << 18
"""Number of elements of an image below which combining costs more than the rows save."""
COLUMNS = 128
"""Desired width of a row: two to eight vector registers of each type."""


def normalise_rows(network: torch.nn.Module) -> None:
    """Let every 3D batch normalisation of a network run on rows of several voxels."""
    for module in network.modules():
        if _is_suitable(module):
            rectify = isinstance(module, NormRelu)
            module.forward = functools.partial(_forward, module, rectify)  # type: ignore[assignment]
    for sequence in network.modules():
        if isinstance(sequence, torch.nn.Sequential):
            for norm, relu in itertools.pairwise(sequence):
                if _is_suitable(norm) and isinstance(relu, torch.nn.ReLU):
                    norm.forward = functools.partial(_forward, norm, True)  # type: ignore[method-assign]
                    relu.forward = _identity  # type: ignore[method-assign]


def _is_suitable(module: torch.nn.Module) -> TypeGuard[torch.nn.BatchNorm3d]:
    return isinstance(module, torch.nn.BatchNorm3d) and module.affine and module.track_running_stats


def _identity(input: Tensor) -> Tensor:
    return input


def _forward(module: torch.nn.BatchNorm3d, rectify: bool, image: Tensor) -> Tensor:
    fold = voxels_per_row(image) if image.numel() >= WORTHWHILE else 1
    wants_gradient = torch.is_grad_enabled() and image.requires_grad
    if fold < 2 or module.momentum is None or (wants_gradient and not module.training):
        plain: Tensor = type(module).forward(module, image)
        return plain.relu_() if rectify and not isinstance(module, NormRelu) else plain
    rows = _rows(image.detach(), fold)
    if not module.training:
        mean, variance = _required(module.running_mean), _required(module.running_var)
        result = _image(_apply(rows, module, mean, variance, fold), image)
        return result.relu_() if rectify else result
    mean, variance = _statistics(rows, fold)
    _update_running_statistics(module, mean, variance, image.numel() // image.shape[1])
    scale = torch.rsqrt(variance + module.eps)
    normalised: Tensor = _Normalise.apply(
        image, module.weight, module.bias, torch.stack([mean, scale]), rectify
    )
    return normalised


def voxels_per_row(image: Tensor) -> int:
    """How many voxels make a row: the power of two that divides their number and comes nearest to `COLUMNS` columns.

    1, so that there is nothing to gain, where the image is not channels-last or has no such divisor.
    """
    channels = image.shape[1]
    if not image.is_contiguous(memory_format=torch.channels_last_3d) or not image.numel():
        return 1
    voxels = image.numel() // channels
    desired = 2 ** max(round(math.log2(COLUMNS / channels)), 0)
    return math.gcd(voxels, desired)


def _required(value: Tensor | None) -> Tensor:
    assert value is not None  # track_running_stats
    return value


def _rows(image: Tensor, fold: int) -> Tensor:
    """(B, C, Z, Y, X) channels-last → (voxels / fold, fold·C); no copy."""
    return image.permute(0, 2, 3, 4, 1).reshape(-1, fold * image.shape[1])


def _image(rows: Tensor, like: Tensor) -> Tensor:
    """Back to (B, C, Z, Y, X); no copy."""
    batch, channels, z, y, x = like.shape
    return rows.view(batch, z, y, x, channels).permute(0, 4, 1, 2, 3)


def _statistics(rows: Tensor, fold: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel in float32, combined from those of the columns.

    Var = mean of the columns' variances + variance of the columns' means; every column has
    the same number of voxels.
    """
    # Float32 running statistics beside bf16 rows make the kernel's own statistics float32.
    zero = torch.zeros(rows.shape[1])
    means, variances = torch.ops.aten.batch_norm_update_stats(rows, zero, zero.clone(), 0.0)
    means, variances = means.view(fold, -1), variances.view(fold, -1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def _update_running_statistics(
    module: torch.nn.BatchNorm3d, mean: Tensor, variance: Tensor, count: int
) -> None:
    """Running statistics as BatchNorm3d keeps them, the variance unbiased."""
    momentum = float(module.momentum or 0.0)
    with torch.no_grad():
        _required(module.running_mean).lerp_(mean, momentum)
        _required(module.running_var).lerp_(variance * (count / max(count - 1, 1)), momentum)
        _required(module.num_batches_tracked).add_(1)


def _apply(rows: Tensor, module: torch.nn.BatchNorm3d, mean: Tensor, variance: Tensor, fold: int) -> Tensor:
    weight, bias = module.weight.detach().repeat(fold), module.bias.detach().repeat(fold)
    mean, variance = mean.repeat(fold), variance.repeat(fold)
    return torch.native_batch_norm(rows, weight, bias, mean, variance, False, 0.0, module.eps)[0]


class _Normalise(torch.autograd.Function):
    """y = (x − mean)·scale·weight + bias, with mean and scale of x itself; max(y, 0) if `rectify`.

    Backward (Ioffe and Szegedy 2015, section 3), with x̂ = (x − mean)·scale and M voxels:
    dx = weight·scale·(dy − Σdy/M − x̂·Σ(dy·x̂)/M).
    """

    @staticmethod
    def forward(
        ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, statistics: Tensor, rectify: bool
    ) -> Tensor:
        mean, scale = statistics
        fold = voxels_per_row(image)
        rows = _rows(image, fold)
        slope, offset = (v.repeat(fold) for v in (weight * scale, bias - mean * weight * scale))
        zeros, ones = torch.zeros_like(slope), torch.ones_like(slope)
        # Written into a new image: a ReLU cannot change a view of rows in place.
        result = torch.empty_like(image)
        out = (_rows(result, fold), zeros.new_empty(0), zeros.new_empty(0))
        torch.native_batch_norm(rows, slope, offset, zeros, ones, False, 0.0, 0.0, out=out)
        if rectify:
            result.relu_()
        ctx.save_for_backward(image, weight, statistics, result if rectify else None)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        image, weight, statistics, rectified = ctx.saved_tensors
        mean, scale = statistics
        fold, count = voxels_per_row(image), image.numel() // len(mean)
        rows = _rows(image, fold)
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        if rectified is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, rectified, 0)
        gradient_rows = _rows(gradient, fold)
        factor, centre = (weight * scale).repeat(fold), mean.repeat(fold)
        # With mean `centre` and variance 1 the kernel gives dy·factor, Σdy·(x − mean) and Σdy.
        d_rows, by_image, by_one = torch.ops.aten.native_batch_norm_backward(
            gradient_rows,
            rows,
            factor,
            centre,
            torch.ones_like(centre),
            None,
            None,
            False,
            0.0,
            [True, True, True],
        )
        d_weight = by_image.view(fold, -1).sum(0) * scale
        d_bias = by_one.view(fold, -1).sum(0)
        slope = -(weight * scale * scale * d_weight / count).repeat(fold)
        offset = -(weight * scale * d_bias / count).repeat(fold)
        # (x − mean)·slope + offset in float32 inside the kernel: in bf16 the difference would be lost to rounding.
        rest = torch.native_batch_norm(rows, slope, offset, centre, torch.ones_like(centre), False, 0.0, 0.0)[
            0
        ]
        return _image(d_rows.add_(rest), image), d_weight, d_bias, None, None
