"""Image processing of the Image Biomarker Standardisation Initiative: grid, resegmentation, grey levels.

Zwanenburg et al., reference manual (arXiv 1612.07003), sections 2.4 to 2.7.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import (
    BoolArray,
    FeatureImage,
    FloatArray,
    Levels,
    Spacing,
    discretise,
    lesion_box,
)
from pipeline.radiomics.pet_metrics import PEAK_RADIUS_MM
from pipeline.settings.radiomics import Discretisation, Modality, StandardProcessing
from pipeline.volumes.grids import Slices

SPLINE_REACH = 16
"""Voxels after which a cubic spline has forgotten a value (0.27 to the 16th power)."""


@dataclass(frozen=True)
class StandardImage:
    """An image on the grid of the analysis, cut to its lesion and what a 1 cm³ sphere around it covers.

    Attributes:
        values: float64 (z, y, x): g/mL or HU.
        shape: The morphological mask (z, y, x): the lesion.
        intensity: The intensity mask (z, y, x): its voxels that resegmentation leaves.
        inside: Voxels that were imaged (z, y, x).
        spacing_mm: Distance of voxel centres (z, y, x).
        limits: Lowest and highest intensity by the range, or infinite.
    """

    values: npt.NDArray[np.float64]
    shape: BoolArray
    intensity: BoolArray
    inside: BoolArray
    spacing_mm: Spacing
    limits: tuple[float, float]


def processed(image: FeatureImage, modality: Modality, processing: StandardProcessing) -> StandardImage:
    """An image resampled, rounded and resegmented.

    Raises:
        RadiomicsError: No voxel is left of the lesion.
    """
    spacing = _target_spacing(image.spacing_mm, processing)
    order = 3 if processing.interpolation == "bspline" else 1
    region = _region(image, spacing)
    values = _on_grid(image.values, image.spacing_mm, spacing, region, order)
    shape = _on_grid(image.mask, image.spacing_mm, spacing, region, 1) >= 0.5 - 1e-9
    inside = _on_grid(image.inside, image.spacing_mm, spacing, region, 1) >= 0.5 - 1e-9
    if processing.spacing_mm is not None and modality == "ct" and processing.round_hu:
        values = np.round(values)
    limits = processing.ranges.get(modality, (-np.inf, np.inf))
    intensity = resegmented(values, shape, limits, processing.outlier_sd)
    if not intensity.any():
        raise RadiomicsError(
            f"no voxel of the lesion is left on the {modality}",
            expected=f"intensities within {limits[0]:g} to {limits[1]:g}",
            action="check the contour, or the feature set's `spacing_mm` and `ranges`",
        )
    return StandardImage(values, shape, intensity, inside, spacing, limits)


def resegmented(
    values: FloatArray, mask: BoolArray, limits: tuple[float, float], outlier_sd: float | None
) -> BoolArray:
    """The voxels of a mask within a range, and within some SDs of the mean of those.

    Args:
        values: Intensities (z, y, x).
        mask: The lesion (z, y, x).
        limits: Lowest and highest intensity, both included.
        outlier_sd: Standard deviations (population); None: outliers stay.
    """
    left: BoolArray = mask & (values >= limits[0]) & (values <= limits[1])
    if outlier_sd is not None and left.any():
        mean, reach = values[left].mean(), outlier_sd * values[left].std()
        left = left & (values >= mean - reach) & (values <= mean + reach)
    return left


def grey_levels(image: StandardImage, modality: Modality, rule: Discretisation) -> Levels:
    """Grey levels within the intensity mask; those of a fixed width begin at the range's lower end."""
    return discretise(image.values, image.intensity, rule, _bound(image, modality, rule))


def _bound(image: StandardImage, modality: Modality, rule: Discretisation) -> float | None:
    if rule.bin_width is not None and rule.lower_bound is None and np.isfinite(image.limits[0]):
        return image.limits[0]
    return rule.fixed_bound(modality)


def bin_centres(image: StandardImage, modality: Modality, rule: Discretisation) -> npt.NDArray[np.float64]:
    """Intensities of the mask's voxels (n,), each replaced by its bin's centre, or its number with `bins`."""
    levels = grey_levels(image, modality, rule)
    of_voxels = levels.present[levels.ranks].astype(np.float64)
    if rule.bin_width is None:
        return of_voxels
    bound = _bound(image, modality, rule)
    if bound is None:
        low = float(image.values[image.intensity].min())
        bound = low - low % rule.bin_width
    return np.asarray(bound + (of_voxels - 0.5) * rule.bin_width, dtype=np.float64)


def _target_spacing(spacing_mm: Spacing, processing: StandardProcessing) -> Spacing:
    size = processing.spacing_mm
    if size is None:
        return spacing_mm
    return (spacing_mm[0] if processing.by_slice else size, size, size)


def _axis_map(voxels: int, step: float) -> tuple[int, float]:
    """Voxels of the new grid along an axis, and where its first lies in voxels of the old one.

    Both grids share their centre; the new one covers the old (section 2.4).

    Args:
        voxels: Voxels of the old grid.
        step: New voxel size in old voxels.
    """
    number = int(np.ceil(round(voxels / step, 9)))
    return number, 0.5 * ((voxels - 1) - (number - 1) * step)


def _region(image: FeatureImage, spacing_mm: Spacing) -> Slices:
    """Slices of the new grid that hold the lesion and a 1 cm³ sphere around each of its voxels."""
    parts = []
    for axis, box in enumerate(lesion_box(image.mask)):
        step = spacing_mm[axis] / image.spacing_mm[axis]
        number, first = _axis_map(image.mask.shape[axis], step)
        reach = int(PEAK_RADIUS_MM / spacing_mm[axis]) + 2
        start = int(np.floor((box.start - 1 - first) / step)) - reach
        stop = int(np.ceil((box.stop - first) / step)) + 1 + reach
        parts.append(slice(max(start, 0), min(stop, number)))
    return parts[0], parts[1], parts[2]


def _on_grid(
    array: npt.NDArray[np.generic], old_mm: Spacing, new_mm: Spacing, region: Slices, order: int
) -> npt.NDArray[np.float64]:
    """Values of an image on a region of the new grid; beyond the image its nearest voxel."""
    from scipy import ndimage

    steps = [new / old for new, old in zip(new_mm, old_mm, strict=True)]
    if all(step == 1 for step in steps):
        return array[region].astype(np.float64)
    parts, offsets = [], []
    for voxels, step, target in zip(array.shape, steps, region, strict=True):
        first = _axis_map(voxels, step)[1] + step * target.start
        last = first + step * (target.stop - target.start - 1)
        start = min(max(int(np.floor(first)) - SPLINE_REACH, 0), voxels - 1)
        parts.append(slice(start, min(int(np.ceil(last)) + SPLINE_REACH + 1, voxels)))
        offsets.append(first - start)
    with warnings.catch_warnings():
        # SciPy warns whoever gives one step per axis that this changed its meaning in 2016.
        warnings.simplefilter("ignore", UserWarning)
        values: npt.NDArray[np.float64] = ndimage.affine_transform(
            array[tuple(parts)].astype(np.float64),
            steps,
            offsets,
            tuple(s.stop - s.start for s in region),
            order=order,
            mode="nearest",
        )
    return values
