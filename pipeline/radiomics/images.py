"""Images that features are computed from: lesion boxes, wavelets, grey levels, resampling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import RadiomicsError
from pipeline.settings.radiomics import Discretisation
from pipeline.volumes.grids import Slices, bounding_box

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class FeatureImage:
    """An image with the region that features are computed from.

    Attributes:
        values: float (z, y, x): PET in SUVbw g/mL or CT in HU.
        mask: The region (z, y, x).
        inside: Voxels that were imaged (z, y, x); the others are padding.
        spacing_mm: Distance of voxel centres (z, y, x).
        shares: Share of each voxel that lies inside the contours (z, y, x); None: voxels count as a whole.
    """

    values: FloatArray
    mask: BoolArray
    inside: BoolArray
    spacing_mm: Spacing
    shares: FloatArray | None = None


@dataclass(frozen=True)
class Levels:
    """An image discretised within a lesion.

    Attributes:
        array: int32 (z, y, x), 1 … Ng inside the lesion, 0 outside.
        present: Levels that occur, ascending.
        counts: Voxels of each of them.
        ranks: Rank of each voxel's level among those present (n,), in the order of the mask.
    """

    array: npt.NDArray[np.int32]
    present: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int32]


def lesion_box(mask: BoolArray) -> Slices:
    """The smallest box (slices z, y, x) around a lesion of at least one voxel."""
    box = bounding_box(mask)
    assert box is not None
    return box


def widened(box: Slices, shape: tuple[int, ...], margins: tuple[int, int, int]) -> Slices:
    """A box with margins in voxels, clipped at the borders of the image."""
    z, y, x = (
        slice(max(0, s.start - m), min(n, s.stop + m)) for s, n, m in zip(box, shape, margins, strict=True)
    )
    return z, y, x


def wavelet_images(
    image: FloatArray, box: Slices, wavelet: str, decompositions: tuple[str, ...]
) -> Iterator[tuple[str, FloatArray]]:
    """Undecimated wavelet decompositions of an image, within a box.

    Equal to PyRadiomics' `getWaveletImage` of the whole image followed by cropping. The
    transform at a voxel reaches as far as its filter is long, so an axis is cropped to the box
    with that margin where the margin lies inside the image. Where it does not, the transform
    wraps around to the far side of the image, and the whole axis is used.

    Args:
        image: float (z, y, x).
        box: Box that values are returned for.
        wavelet: PyWavelets name, e.g. `coif1`.
        decompositions: Names, e.g. `LLH`.

    Yields:
        Name and array of the box's shape, in the order of `decompositions`.
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
    # The transform needs even lengths; PyRadiomics also wraps one voxel around.
    padded = np.pad(cut, [(0, n % 2) for n in cut.shape], "wrap")
    coefficients = pywt.swtn(padded, wavelet, level=1, start_level=0, axes=(2, 1, 0))[0]
    for name in decompositions:
        # PyRadiomics passes the axes as (x, y, z) and names them in that order.
        yield name, coefficients[name.replace("L", "a").replace("H", "d")][tuple(inner)]


def discretise(
    image: FloatArray, mask: BoolArray, rule: Discretisation, bound: float | None = None
) -> Levels:
    """Grey levels within a lesion.

    - Fixed width from a lower bound, IBSI's *fixed bin size* (Zwanenburg et al., reference manual,
      arXiv 1612.07003, section 2.7): level floor((x - bound) / width) + 1; intensities below the
      bound get level 1.
    - Fixed width without a bound, as PyRadiomics' `binImage` gives it: edges at multiples of the
      width, level 1 holds the lesion's minimum.
    - Fixed number: equal bins between the lesion's minimum and maximum.

    Args:
        image: float (z, y, x).
        mask: Lesion of the same shape, not empty.
        rule: Width or number of bins.
        bound: Where level 1 begins, the same for every patient; None: where the lesion begins.
    """
    values = image[mask] if bound is None else np.maximum(image[mask], bound)
    edges = _edges(values, rule, bound)
    level = _digitise(values.astype(np.float64), edges)
    array = np.zeros(mask.shape, dtype=np.int32)
    array[mask] = level
    counts = np.bincount(level)
    present = np.flatnonzero(counts)
    rank = np.zeros(len(counts), dtype=np.int32)
    rank[present] = np.arange(len(present))
    return Levels(array, present, counts[present], rank[level])


def _edges(values: FloatArray, rule: Discretisation, bound: float | None) -> npt.NDArray[np.float64]:
    # Expressions and precision (that of the image) are those of imageoperations.getBinEdges.
    if rule.bins is not None:
        edges = np.histogram(values, rule.bins)[1]
        edges[-1] += 1
        return np.asarray(edges, dtype=np.float64)
    assert rule.bin_width is not None
    width = rule.bin_width
    high = float(values.max())
    if bound is not None:
        # Edges by multiplication: sums of a width such as 0.1 would drift.
        return bound + width * np.arange(np.floor((high - bound) / width) + 2)
    low, high = values.min(), values.max()
    edges = np.arange(low - (low % width), high + 2 * width, width)
    if len(edges) == 1:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    return np.asarray(edges, dtype=np.float64)


def _digitise(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """`numpy.digitize` for edges that are evenly spaced but for the last.

    The quotient is at most one off, by rounding; comparing with the edges themselves corrects it.
    """
    step = (edges[-2] - edges[0]) / (len(edges) - 2) if len(edges) > 2 else edges[1] - edges[0]
    level: npt.NDArray[np.int64]
    level = np.clip(((values - edges[0]) / step).astype(np.int64) + 1, 1, len(edges) - 1)
    level -= values < edges[level - 1]
    level += (level < len(edges)) & (values >= edges[np.minimum(level, len(edges) - 1)])
    return level


def resampled(image: FeatureImage, spacing_mm: float | None) -> FeatureImage:
    """An image on an isotropic grid around its lesion, or unchanged.

    PyRadiomics' own resampling (`imageoperations.resampleImage`: B-spline for the image,
    nearest for the mask, around the lesion with a margin of five voxels), so that values are
    those of a PyRadiomics call. It differs from IBSI's, whose grids share their centre.
    `inside` is not resampled: all of the result counts as imaged.

    Args:
        image: Image with a mask that is not empty.
        spacing_mm: Size of the voxels; None: the image is not resampled.

    Raises:
        RadiomicsError: No voxel of the coarser grid falls into the lesion.
    """
    if spacing_mm is None:
        return image
    import SimpleITK as sitk
    from radiomics import imageoperations

    values = sitk.GetImageFromArray(image.values)
    mask = sitk.GetImageFromArray(image.mask.astype(np.uint32))
    for source in (values, mask):
        source.SetSpacing([float(s) for s in image.spacing_mm[::-1]])
    new_values, new_mask = imageoperations.resampleImage(
        values,
        mask,
        resampledPixelSpacing=[spacing_mm] * 3,
        interpolator=sitk.sitkBSpline,
        padDistance=5,
    )
    lesion = sitk.GetArrayFromImage(new_mask) == 1
    if not lesion.any():
        raise RadiomicsError("the lesion vanishes at the feature set's voxel size", got=f"{spacing_mm} mm")
    spacing = (spacing_mm, spacing_mm, spacing_mm)
    return FeatureImage(sitk.GetArrayFromImage(new_values), lesion, np.ones_like(lesion), spacing)
