"""From one grid to another, once: regions, anti-aliasing, interpolation, field of view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.volumes.nifti import place
from pipeline.volumes.volume import FloatArray, Grid, Volume

if TYPE_CHECKING:
    import SimpleITK

Interpolation = Literal["nearest", "linear", "bspline"]
Slices = tuple[slice, slice, slice]

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


def index_map(source: Grid, target: Grid, to_source: FloatArray) -> FloatArray:
    """4×4 matrix from target array index (z, y, x, 1) to source array index (z, y, x, 1).

    Args:
        source: Grid that values are read from.
        target: Grid that values are written to.
        to_source: 4×4 that maps target points to source points (LPS mm).
    """
    xyz = np.linalg.solve(source.affine(), to_source @ target.affine())
    order = [2, 1, 0, 3]
    return np.asarray(xyz[np.ix_(order, order)], dtype=np.float64)


def resample(volume: Volume, target: Grid, to_source: FloatArray, sampling: Sampling) -> npt.NDArray[Any]:
    """Interpolate a volume on a grid once, reading only the region that is needed.

    Where the target's step exceeds 1.5 source voxels along a source axis, a Gaussian goes
    before whose full width at half maximum adds to the source voxel's what the target's
    lacks. Grids that fall together give the source's values back exactly.

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
    offset = _aligned(matrix, target.shape)
    if offset is not None:
        _copy(volume.array, result, offset, sampling.lowest)
        return result
    sigma = antialias_sigma(matrix)
    pad = PAD[sampling.interpolation] + np.ceil(4 * sigma).astype(int)
    region = needed_region(matrix, target.shape, volume.array.shape, pad)
    if region is None:
        return result
    image = _region_image(volume, region, sampling.lowest)
    if sigma.any():
        image = _blur(image, sigma)
    return _interpolate(image, target, to_source, sampling)


def resample_mask(
    volume: Volume, target: Grid, to_source: FloatArray, interpolation: Literal["nearest", "linear"]
) -> npt.NDArray[np.uint8]:
    """Interpolate a mask once: nearest, or linear and then a threshold near one half.

    Where the target's voxel is larger than the source's, the mask is sampled at several
    places within each target voxel and averaged first. The threshold is the one, between 0.3
    and 0.7, that keeps the volume: at one half a ball of 8 mm radius loses 5 % on a 2 mm grid.

    Returns:
        uint8 array of the target's shape, 0 or 1.
    """
    result = np.zeros(target.shape, dtype=np.uint8)
    box = bounding_box(volume.array)
    if box is None:
        return result
    where = _target_region(box, volume.grid, target, to_source)
    if where is None:
        return result
    part = sub_grid(target, where)
    matrix = index_map(volume.grid, part, to_source)
    steps = tuple(int(n) for n in np.ceil(np.linalg.norm(matrix[:3, :3], axis=0) - 1e-3).clip(1))
    if interpolation == "nearest" or _aligned(matrix, part.shape) is not None:
        steps = (1, 1, 1)
    fine = refine(part, steps)
    near = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in box)
    binary = Volume(
        (volume.array[near] > 0).astype(np.float32), sub_grid(volume.grid, (near[0], near[1], near[2]))
    )
    matrix = index_map(binary.grid, fine, to_source)
    offset = _aligned(matrix, fine.shape)
    if offset is not None:
        values = np.zeros(fine.shape, dtype=np.float32)
        _copy(binary.array, values, offset, None)
    else:
        whole = (slice(0, binary.array.shape[0]), slice(0, binary.array.shape[1]), slice(0, None))
        values = _interpolate(_region_image(binary, whole, None), fine, to_source, Sampling(interpolation))
    blocks = values.reshape(part.shape[0], steps[0], part.shape[1], steps[1], part.shape[2], steps[2])
    result[where] = _keep_volume(blocks.mean(axis=(1, 3, 5)))
    return result


def _keep_volume(share: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Voxels of largest share, as many as the shares add up to; 0.3 belongs to none, 0.7 to all."""
    wanted = round(float(share.sum(dtype=np.float64)))
    flat = share.ravel()
    if not 0 < wanted < flat.size:
        return share >= 0.5
    threshold = float(np.partition(flat, flat.size - wanted)[flat.size - wanted])
    return share >= min(max(threshold, 0.3), 0.7)


def in_field(source: Grid, target: Grid, to_source: FloatArray) -> npt.NDArray[np.bool_]:
    """Target voxels whose centres lie within the source's field of view, outer edges included."""
    matrix = index_map(source, target, to_source)
    inside = np.ones(target.shape, dtype=bool)
    steps = [np.arange(n, dtype=float) for n in target.shape]
    for axis, size in enumerate(source.shape):
        a, b, c, d = matrix[axis]
        place_ = (
            (a * steps[0])[:, None, None] + (b * steps[1])[None, :, None] + (c * steps[2] + d)[None, None, :]
        )
        inside &= (place_ > -0.5 + 1e-6) & (place_ < size - 0.5 - 1e-6)
    return inside


def antialias_sigma(matrix: FloatArray) -> FloatArray:
    """Standard deviation of the low-pass filter in source voxels (z, y, x); 0 where none is needed.

    Args:
        matrix: 4×4 from target index to source index (:func:`index_map`).
    """
    step = np.linalg.norm(matrix[:3, :3], axis=1)
    sigma: FloatArray = np.where(step > COARSER, np.sqrt(np.maximum(step**2 - 1.0, 0.0)) / FWHM_PER_SD, 0.0)
    return sigma


def needed_region(
    matrix: FloatArray, target_shape: tuple[int, ...], source_shape: tuple[int, ...], pad: npt.ArrayLike
) -> Slices | None:
    """Slices of the source that a target grid touches, widened by `pad` voxels; None if none."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in target_shape])).reshape(3, -1)
    mapped = matrix[:3, :3] @ corners + matrix[:3, 3:4]
    low = np.maximum(np.floor(mapped.min(axis=1)).astype(int) - pad, 0)
    high = np.minimum(np.ceil(mapped.max(axis=1)).astype(int) + 1 + pad, source_shape)
    if np.any(low >= high):
        return None
    a, b, c = (slice(int(i), int(j)) for i, j in zip(low, high, strict=True))
    return (a, b, c)


def sub_grid(grid: Grid, region: Slices) -> Grid:
    """The part of a grid that slices (z, y, x) select."""
    start = [s.start or 0 for s in region]
    shape = [len(range(*s.indices(n))) for s, n in zip(region, grid.shape, strict=True)]
    x, y, z = (float(v) for v in grid.points(start)[0])
    return Grid((shape[0], shape[1], shape[2]), grid.spacing_mm, (x, y, z), grid.direction)


def refine(grid: Grid, steps: tuple[int, ...]) -> Grid:
    """The same field of view with each voxel divided into `steps` (z, y, x) parts."""
    first = [(1 / n - 1) / 2 for n in steps]
    x, y, z = (float(v) for v in grid.points(first)[0])
    shape = [n * k for n, k in zip(grid.shape, steps, strict=True)]
    spacing = [s / k for s, k in zip(grid.spacing_mm, steps, strict=True)]
    return Grid(
        (shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2]), (x, y, z), grid.direction
    )


def coarse_grid(grid: Grid, spacing_mm: float) -> Grid:
    """A grid of the same field of view and axes with cubic voxels of about the given size."""
    shape = [max(1, round(n * s / spacing_mm)) for n, s in zip(grid.shape, grid.spacing_mm, strict=True)]
    corner = grid.points([-0.5 + spacing_mm / 2 / s for s in grid.spacing_mm])[0]
    x, y, z = (float(v) for v in corner)
    size = (spacing_mm, spacing_mm, spacing_mm)
    return Grid((shape[0], shape[1], shape[2]), size, (x, y, z), grid.direction)


def coarsen(volume: Volume, spacing_mm: float, outside: float, lowest: float | None = None) -> Volume:
    """A volume averaged down to cubic voxels, for work that needs no detail.

    Whole blocks are averaged first (cheap on large images), the rest is interpolated.

    Returns:
        float32 volume on :func:`coarse_grid`.
    """
    factors = [max(1, int(spacing_mm / s + 0.2)) for s in volume.grid.spacing_mm]
    blocks = _block_mean(volume, factors, lowest)
    target = coarse_grid(volume.grid, spacing_mm)
    sampling = Sampling("linear", outside, lowest)
    return Volume(resample(blocks, target, np.eye(4), sampling), target, volume.quantity)


def bounding_box(array: npt.NDArray[Any]) -> Slices | None:
    """Slices (z, y, x) around the non-zero voxels; None if there are none."""
    found: list[slice] = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        hit = np.flatnonzero(array.any(axis=axes))
        if not len(hit):
            return None
        found.append(slice(int(hit[0]), int(hit[-1]) + 1))
        # the first axis narrows what the others must look at
        if axes == (1, 2):
            array = array[found[0]]
    return (found[0], found[1], found[2])


def _target_region(box: Slices, source: Grid, target: Grid, to_source: FloatArray) -> Slices | None:
    """Target slices that a box of the source (one voxel wider) covers."""
    matrix: FloatArray = np.asarray(np.linalg.inv(index_map(source, target, to_source)), dtype=np.float64)
    start = np.array([s.start - 1 for s in box], dtype=float)
    shifted = matrix.copy()
    shifted[:3, 3] += matrix[:3, :3] @ start
    size = tuple(s.stop - s.start + 2 for s in box)
    return needed_region(shifted, size, target.shape, 1)


def _aligned(matrix: FloatArray, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Source index of target voxel 0 where both grids fall together, else None."""
    drift = np.abs(matrix[:3, :3] - np.eye(3)) @ np.array(shape, dtype=float)
    offset = np.round(matrix[:3, 3])
    if drift.max() > ALIGNED_VOXELS or np.abs(matrix[:3, 3] - offset).max() > ALIGNED_VOXELS:
        return None
    return (int(offset[0]), int(offset[1]), int(offset[2]))


def _copy(
    source: npt.NDArray[Any],
    target: npt.NDArray[np.float32],
    offset: tuple[int, int, int],
    lowest: float | None,
) -> None:
    reads, writes = [], []
    for start, have, want in zip(offset, source.shape, target.shape, strict=True):
        low, high = max(start, 0), min(start + want, have)
        if low >= high:
            return
        reads.append(slice(low, high))
        writes.append(slice(low - start, high - start))
    values = source[tuple(reads)]
    target[tuple(writes)] = values if lowest is None else np.maximum(values, lowest)


def _region_image(volume: Volume, region: Slices, lowest: float | None) -> SimpleITK.Image:
    import SimpleITK as sitk

    values = volume.array[region].astype(np.float32)
    if lowest is not None:
        np.maximum(values, np.float32(lowest), out=values)
    image = sitk.GetImageFromArray(values)
    place(image, sub_grid(volume.grid, region))
    return image


def _blur(image: SimpleITK.Image, sigma_zyx: FloatArray) -> SimpleITK.Image:
    import SimpleITK as sitk

    variance = [float(s) ** 2 for s in sigma_zyx[::-1]]
    return sitk.DiscreteGaussian(image, variance, 64, [0.005] * 3, False)


def _interpolate(
    image: SimpleITK.Image, target: Grid, to_source: FloatArray, sampling: Sampling
) -> npt.NDArray[np.float32]:
    import SimpleITK as sitk

    kinds = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "bspline": sitk.sitkBSpline}
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in to_source[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in to_source[:3, 3]])
    moved = sitk.Resample(
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
    values: npt.NDArray[np.float32] = sitk.GetArrayFromImage(moved)
    return values


def _block_mean(volume: Volume, factors: list[int], lowest: float | None) -> Volume:
    if factors == [1, 1, 1]:
        return volume
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array)
    place(image, volume.grid)
    if lowest is not None:
        image = sitk.Clamp(image, image.GetPixelID(), float(lowest), 1e9)
    shrunk = sitk.BinShrink(image, factors[::-1])
    from pipeline.volumes.nifti import from_itk

    return from_itk(sitk.Cast(shrunk, sitk.sitkFloat32), volume.quantity)
