"""All features of the images of a patient inside a mask."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipeline.radiomics.extraction import Extraction
from pipeline.radiomics.firstorder import FirstOrder
from pipeline.radiomics.images import (
    BoolArray,
    FeatureImage,
    FloatArray,
    discretise,
    lesion_box,
    resampled,
    wavelet_images,
)
from pipeline.radiomics.neighbourhood import Neighbourhood
from pipeline.radiomics.sets import (
    DECOMPOSITIONS,
    feature_columns,
    shape_prefix,
    texture_prefix,
)
from pipeline.radiomics.shape import shape_features
from pipeline.radiomics.standard_features import standard_features
from pipeline.radiomics.texture import quiet_pyradiomics, texture_features
from pipeline.settings.radiomics import FeatureSet, Modality
from pipeline.spread import spread
from pipeline.volumes.grids import Slices

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilteredImage:
    """An image of a modality, original or filtered; a unit of parallel work.

    Attributes:
        modality: `pet` or `ct`.
        name: `original`, `wavelet-LLH`, …
        values: float (z, y, x), the box of the lesion.
        lesion: The lesion, of the same shape; shared by all images on its grid.
        voxel_mm3: Volume of a voxel.
        texture: Whether the lesion is large enough for texture features.
    """

    modality: Modality
    name: str
    values: FloatArray
    lesion: Neighbourhood
    voxel_mm3: float
    texture: bool


def extract_features(
    images: Mapping[str, FeatureImage], feature_set: FeatureSet, min_voxels: int = 8, workers: int = 1
) -> Extraction:
    """Features of a set, equal to plain PyRadiomics calls on the whole images.

    Args:
        images: Images by modality, masks not empty.
        feature_set: The features.
        min_voxels: Lesions with fewer voxels get NaN for texture features, and a message.
        workers: Processes that share the images (original, wavelets); more than one are run by
            dask, on its cluster where the study names one.

    Returns:
        A value for each of :func:`pipeline.radiomics.sets.feature_columns`.

    Raises:
        SettingsError: The set names a feature that does not exist.
    """
    quiet_pyradiomics()
    if feature_set.standard is not None:
        return standard_features(images, feature_set, min_voxels)
    extraction = Extraction()
    filtered: list[FilteredImage] = []
    lesions = _SharedLesions()
    for modality in feature_set.modalities:
        image = resampled(images[modality], feature_set.resample_mm)
        box = lesion_box(image.mask)
        if shape_prefix(feature_set).startswith(modality):
            _add_shape(extraction, feature_set, replace(image, mask=image.mask[box]))
        lesion = lesions.neighbourhood(image.mask, box)
        size = int(lesion.mask.sum())
        if size < min_voxels:
            extraction.problems.append(
                f"{modality}: {size} voxels, fewer than {min_voxels}: no texture features"
            )
        voxel_mm3 = float(np.prod(image.spacing_mm))
        filtered += [
            FilteredImage(modality, name, values, lesion, voxel_mm3, size >= min_voxels)
            for name, values in _filter(image.values, box, feature_set)
        ]
    for part in _extract_each(filtered, feature_set, workers):
        extraction.values |= part.values
        extraction.problems += part.problems
    return Extraction({c: extraction.values[c] for c in feature_columns(feature_set)}, extraction.problems)


class _SharedLesions:
    """Neighbourhoods by mask: images that share a mask share its neighbourhood, computed once."""

    def __init__(self) -> None:
        self.known: list[tuple[BoolArray, Neighbourhood]] = []

    def neighbourhood(self, mask: BoolArray, box: Slices) -> Neighbourhood:
        """The neighbourhood of a mask within its box."""
        for known, lesion in self.known:
            if known is mask:
                return lesion
        self.known.append((mask, Neighbourhood(mask[box])))
        return self.known[-1][1]


def _extract_each(images: list[FilteredImage], feature_set: FeatureSet, workers: int) -> Iterable[Extraction]:
    # Processes and not threads, because the compiled matrices hold Python's lock.
    return spread(
        partial(image_features, feature_set=feature_set), images, title="radiomics", workers=workers
    )


def _filter(values: FloatArray, box: Slices, feature_set: FeatureSet) -> Iterator[tuple[str, FloatArray]]:
    if feature_set.original:
        yield "original", values[box]
    if feature_set.wavelet:
        for name, filtered in wavelet_images(values, box, feature_set.wavelet, DECOMPOSITIONS):
            yield f"wavelet-{name}", filtered


def _add_shape(extraction: Extraction, feature_set: FeatureSet, image: FeatureImage) -> None:
    names = feature_set.shape
    if names:
        compute = partial(shape_features, names, image.mask, image.spacing_mm)
        extraction.add_class(shape_prefix(feature_set), names, compute)


def image_features(image: FilteredImage, feature_set: FeatureSet) -> Extraction:
    """First-order and texture features of an image."""
    quiet_pyradiomics()
    extraction = Extraction()
    for number, rule in enumerate(feature_set.discretisations[image.modality]):
        bound = rule.fixed_bound(image.modality)
        levels = discretise(image.values, image.lesion.mask, rule, bound)
        if number == 0 and feature_set.firstorder:
            values = image.values[image.lesion.mask].astype(np.float64)
            calculator = FirstOrder(values, levels.counts, image.voxel_mm3)
            compute = partial(calculator.features, feature_set.firstorder)
            prefix = f"{image.modality}_{image.name}_firstorder"
            extraction.add_class(prefix, feature_set.firstorder, compute)
        prefix = texture_prefix(image.modality, image.name, rule)
        for kind, names in feature_set.texture.items():
            texture = partial(texture_features, kind, names, levels, image.lesion)
            extraction.add_class(f"{prefix}_{kind}", names, texture if image.texture else dict)
    return extraction
