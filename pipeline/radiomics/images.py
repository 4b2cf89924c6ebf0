"""What features are taken from: lesion boxes, wavelets, grey levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import RadiomicsError
from pipeline.settings.radiomics import Discretisation

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class FeatureImage:
    """An image with the region features are taken from.

    Attributes:
        image: float (z, y, x): PET in SUVbw g/mL or CT in HU.
        mask: Region (z, y, x).
        inside: Voxels that were imaged (z, y, x); the others are padding.
        spacing_mm: Distance of voxel centres (z, y, x).
    """

    image: FloatArray
    mask: BoolArray
    inside: BoolArray
    spacing_mm: Spacing


@dataclass(frozen=True)
class Levels:
    """An image discretised within a lesion.

    Attributes:
        array: int32 (z, y, x), 1 … Ng inside the lesion, 0 outside.
        present: Levels that occur, ascending.
        counts: Voxels of each of them.
        ranks: Place of each voxel's level among those present (n,), in the mask's order.
    """

    array: npt.NDArray[np.int32]
    present: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int32]


def lesion_box(mask: BoolArray) -> Box:
    """The smallest box (slices z, y, x) around a lesion of at least one voxel."""
    slices = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return slices[0], slices[1], slices[2]


def widened(box: Box, shape: tuple[int, ...], margins: tuple[int, int, int]) -> Box:
    """A box with margins in voxels, cut at the image's borders."""
    grown = [
        slice(max(0, s.start - m), min(n, s.stop + m)) for s, n, m in zip(box, shape, margins, strict=True)
    ]
    return grown[0], grown[1], grown[2]


def wavelet_images(
    image: FloatArray, box: Box, wavelet: str, wanted: tuple[str, ...]
) -> Iterator[tuple[str, FloatArray]]:
    """Undecimated wavelet decompositions of an image, within a box.

    Equal to PyRadiomics' `getWaveletImage` of the whole image followed by cropping: the
    transform at a voxel reaches as far as its filter is long, so an axis is cut to the box
    with that margin where the margin lies inside the image. Where it does not, the transform
    wraps round to the image's far side, and the whole axis is kept.

    Args:
        image: float (z, y, x).
        box: Where values are wanted.
        wavelet: PyWavelets name, e.g. `coif1`.
        wanted: Decompositions, e.g. `LLH`.

    Yields:
        Name and array of the box's shape, in the order of `wanted`.
    """
    import pywt

    reach = pywt.Wavelet(wavelet).dec_len + 1
    part, inner = [], []
    for s, n in zip(box, image.shape, strict=True):
        fits = s.start - reach >= 0 and s.stop + reach <= n
        start, stop = (s.start - reach, s.stop + reach) if fits else (0, n)
        part.append(slice(start, stop))
        inner.append(slice(s.start - start, s.stop - start))
    cut = image[tuple(part)]
    # An even length is the transform's condition; PyRadiomics wraps one voxel round as well.
    padded = np.pad(cut, [(0, n % 2) for n in cut.shape], "wrap")
    found = pywt.swtn(padded, wavelet, level=1, start_level=0, axes=(2, 1, 0))[0]
    for name in wanted:
        # PyRadiomics hands the axes over as (x, y, z) and names them in that order.
        yield name, found[name.replace("L", "a").replace("H", "d")][tuple(inner)]


def discretise(image: FloatArray, mask: BoolArray, rule: Discretisation) -> Levels:
    """Grey levels within a lesion, as PyRadiomics' `binImage` gives them.

    Fixed width: edges at multiples of the width, level 1 holds the minimum. Fixed number:
    equal bins between the lesion's minimum and maximum.

    Args:
        image: float (z, y, x).
        mask: Lesion of the same shape, not empty.
        rule: Width or number of bins.
    """
    values = image[mask]
    edges = _edges(values, rule)
    level = _digitise(values.astype(np.float64), edges)
    array = np.zeros(mask.shape, dtype=np.int32)
    array[mask] = level
    counts = np.bincount(level)
    present = np.flatnonzero(counts)
    rank = np.zeros(len(counts), dtype=np.int32)
    rank[present] = np.arange(len(present))
    return Levels(array, present, counts[present], rank[level])


def _edges(values: FloatArray, rule: Discretisation) -> npt.NDArray[np.float64]:
    # Expressions and precision (the image's own) are those of imageoperations.getBinEdges.
    if rule.bins is not None:
        edges = np.histogram(values, rule.bins)[1]
        edges[-1] += 1
        return np.asarray(edges, dtype=np.float64)
    assert rule.bin_width is not None
    width = rule.bin_width
    low, high = values.min(), values.max()
    edges = np.arange(low - (low % width), high + 2 * width, width)
    if len(edges) == 1:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    return np.asarray(edges, dtype=np.float64)


def _digitise(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """`numpy.digitize` for edges that are evenly spaced but for the last.

    The quotient is at most one off, by rounding; comparing with the edges themselves mends it.
    """
    step = (edges[-2] - edges[0]) / (len(edges) - 2) if len(edges) > 2 else edges[1] - edges[0]
    level: npt.NDArray[np.int64]
    level = np.clip(((values - edges[0]) / step).astype(np.int64) + 1, 1, len(edges) - 1)
    level -= values < edges[level - 1]
    level += (level < len(edges)) & (values >= edges[np.minimum(level, len(edges) - 1)])
    return level


def resampled(picture: FeatureImage, wanted_mm: float | None) -> FeatureImage:
    """A picture on an isotropic grid around its lesion, or as it is.

    PyRadiomics' own resampling (`imageoperations.resampleImage`: B-spline for the image,
    nearest for the mask, around the lesion with five voxels to spare), so that values are
    those of a PyRadiomics call; it is not IBSI's, whose grids share their centre. What was
    imaged is not resampled: all of the result counts as imaged.

    Args:
        picture: Image with a mask that is not empty.
        wanted_mm: Voxel wanted; None: nothing is done.

    Raises:
        RadiomicsError: No voxel of the coarser grid falls into the lesion.
    """
    if wanted_mm is None:
        return picture
    import SimpleITK as sitk
    from radiomics import imageoperations

    image, mask = (
        sitk.GetImageFromArray(picture.image),
        sitk.GetImageFromArray(picture.mask.astype(np.uint32)),
    )
    for one in (image, mask):
        one.SetSpacing([float(s) for s in picture.spacing_mm[::-1]])
    found, region = imageoperations.resampleImage(
        image,
        mask,
        resampledPixelSpacing=[wanted_mm] * 3,
        interpolator=sitk.sitkBSpline,
        padDistance=5,
    )
    lesion = sitk.GetArrayFromImage(region) == 1
    if not lesion.any():
        raise RadiomicsError("the lesion vanishes at the feature set's voxel size", got=f"{wanted_mm} mm")
    spacing = (wanted_mm, wanted_mm, wanted_mm)
    return FeatureImage(sitk.GetArrayFromImage(found), lesion, np.ones_like(lesion), spacing)
