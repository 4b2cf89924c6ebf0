"""Interpolation from one grid to another: anti-aliasing, images, averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.volumes.grids import (
    Slices,
    coarse_grid,
    index_map,
    needed_region,
    sub_grid,
)
from pipeline.volumes.nifti import from_itk, set_geometry
from pipeline.volumes.volume import FloatArray, Grid, Volume

if TYPE_CHECKING:
    import SimpleITK

Interpolation = Literal["nearest", "linear", "bspline"]

COARSER = 1.5
"""A target step of more than this many source voxels needs a low-pass filter first."""
FWHM_PER_SD = 2.354820045
ALIGNED_VOXELS = 1e-3
PAD = {"nearest": 2, "linear": 2, "bspline": 14}


@dataclass(frozen=True)
class Sampling:
    """How values are read between voxels.

    Attributes:
        interpolation: `nearest`, `linear` or `bspline` (cubic).
        outside: Value of voxels that were not imaged.
        lowest: Values below are raised to it before anything is interpolated (scanners pad
            CT outside the reconstruction circle with -2000 or -3024); None: none.
    """

    interpolation: Interpolation = "linear"
    outside: float = 0.0
    lowest: float | None = None


def resample(volume: Volume, target: Grid, to_source: FloatArray, sampling: Sampling) -> npt.NDArray[Any]:
    """Interpolate a volume on a grid once, reading only the region that is needed.

    Where the target's step exceeds 1.5 source voxels along a source axis, the source is first
    blurred by a Gaussian. Its full width at half maximum, added in quadrature to the width of a
    source voxel, gives the target's step. `nearest` takes values as they are, and is never blurred.
    Grids that coincide return the source's values exactly.

    Args:
        volume: Source, array (z, y, x).
        target: Grid of the result.
        to_source: 4×4, target points to source points (LPS mm).
        sampling: Interpolation and outside value.

    Returns:
        float32 array of the target's shape.
    """
    matrix = index_map(volume.grid, target, to_source)
    result = np.full(target.shape, sampling.outside, dtype=np.float32)
    offset = aligned_offset(matrix, target.shape)
    if offset is not None:
        copy_aligned(volume.array, result, offset, sampling.lowest)
        return result
    sigma = np.zeros(3) if sampling.interpolation == "nearest" else antialias_sigma(matrix)
    pad = PAD[sampling.interpolation] + np.ceil(4 * sigma).astype(int)
    region = needed_region(matrix, target.shape, volume.array.shape, pad)
    if region is None:
        return result
    image = region_image(volume, region, sampling.lowest)
    if sigma.any():
        image = _blur(image, sigma)
    return interpolate(image, target, to_source, sampling)


def antialias_sigma(matrix: FloatArray) -> FloatArray:
    """Standard deviation of the low-pass filter in source voxels (z, y, x); 0 where none is needed.

    Args:
        matrix: 4×4 from target index to source index (:func:`index_map`).
    """
    step = np.linalg.norm(matrix[:3, :3], axis=1)
    sigma: FloatArray = np.where(step > COARSER, np.sqrt(np.maximum(step**2 - 1.0, 0.0)) / FWHM_PER_SD, 0.0)
    return sigma


def coarsen(volume: Volume, spacing_mm: float, outside: float, lowest: float | None = None) -> Volume:
    """A volume averaged down to cubic voxels, for steps that need no detail.

    Whole blocks of voxels are averaged first, which is cheap on large images; the remaining
    factor is interpolated.

    Returns:
        float32 volume on :func:`coarse_grid`.
    """
    factors = [max(1, int(spacing_mm / s + 0.2)) for s in volume.grid.spacing_mm]
    blocks = _block_mean(volume, factors, lowest)
    target = coarse_grid(volume.grid, spacing_mm)
    sampling = Sampling("linear", outside, lowest)
    return Volume(resample(blocks, target, np.eye(4), sampling), target, volume.quantity)


def aligned_offset(matrix: FloatArray, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Source index of target voxel 0 where both grids coincide, else None."""
    drift = np.abs(matrix[:3, :3] - np.eye(3)) @ np.array(shape, dtype=float)
    offset = np.round(matrix[:3, 3])
    if drift.max() > ALIGNED_VOXELS or np.abs(matrix[:3, 3] - offset).max() > ALIGNED_VOXELS:
        return None
    return (int(offset[0]), int(offset[1]), int(offset[2]))


def copy_aligned(
    source: npt.NDArray[Any],
    target: npt.NDArray[np.float32],
    offset: tuple[int, int, int],
    lowest: float | None,
) -> None:
    """Copy what two grids that coincide share, from an offset of :func:`aligned_offset`, values raised to `lowest`."""
    reads, writes = [], []
    for start, source_size, target_size in zip(offset, source.shape, target.shape, strict=True):
        low, high = max(start, 0), min(start + target_size, source_size)
        if low >= high:
            return
        reads.append(slice(low, high))
        writes.append(slice(low - start, high - start))
    values = source[tuple(reads)]
    target[tuple(writes)] = values if lowest is None else np.maximum(values, lowest)


def region_image(volume: Volume, region: Slices, lowest: float | None) -> SimpleITK.Image:
    """A part of a volume as float32 image, values raised to `lowest`."""
    import SimpleITK as sitk

    values = volume.array[region].astype(np.float32)
    if lowest is not None:
        np.maximum(values, np.float32(lowest), out=values)
    image = sitk.GetImageFromArray(values)
    set_geometry(image, sub_grid(volume.grid, region))
    return image


def _blur(image: SimpleITK.Image, sigma_zyx: FloatArray) -> SimpleITK.Image:
    import SimpleITK as sitk

    variance = [float(s) ** 2 for s in sigma_zyx[::-1]]
    return sitk.DiscreteGaussian(image, variance, 64, [0.005] * 3, False)


def interpolate(
    image: SimpleITK.Image, target: Grid, to_source: FloatArray, sampling: Sampling
) -> npt.NDArray[np.float32]:
    """Values of an image on a grid, (z, y, x); 4×4 `to_source` maps its points to the image's (LPS mm)."""
    import SimpleITK as sitk

    kinds = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "bspline": sitk.sitkBSpline}
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in to_source[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in to_source[:3, 3]])
    resampled = sitk.Resample(
        image,
        [int(n) for n in target.shape[::-1]],
        transform,
        kinds[sampling.interpolation],
        [float(o) for o in target.origin_mm],
        [float(s) for s in target.spacing_mm[::-1]],
        [float(d) for d in np.asarray(target.direction).ravel()],
        float(sampling.outside),
        sitk.sitkFloat32,
    )
    values: npt.NDArray[np.float32] = sitk.GetArrayFromImage(resampled)
    return values


def _block_mean(volume: Volume, factors: list[int], lowest: float | None) -> Volume:
    if factors == [1, 1, 1]:
        return volume
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array)
    set_geometry(image, volume.grid)
    if lowest is not None:
        image = sitk.Clamp(image, image.GetPixelID(), float(lowest), 1e9)
    shrunk = sitk.BinShrink(image, factors[::-1])
    return from_itk(sitk.Cast(shrunk, sitk.sitkFloat32), volume.quantity)
