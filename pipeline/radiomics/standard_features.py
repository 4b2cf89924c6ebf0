"""Features by the standard's own definitions: a set's columns and their values.

Zwanenburg et al., Radiology 2020;295(2):328-338, doi 10.1148/radiol.2020191145, and the reference
manual, arXiv 1612.07003. Columns are `{modality}_original_{tag}`, the tags those of the reference
tables, e.g. `ct_original_cm_joint_avg_3D_avg`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from pipeline.radiomics.extraction import Extraction
from pipeline.radiomics.images import FeatureImage, Levels, lesion_box
from pipeline.radiomics.standard_intensity import (
    HISTOGRAM,
    LOCAL,
    STATISTICS,
    VOLUME_HISTOGRAM,
    HistogramAxis,
    histogram,
    local_peaks,
    statistics,
    volume_histogram,
)
from pipeline.radiomics.standard_matrices import Discretised
from pipeline.radiomics.standard_processing import StandardImage, bin_centres, grey_levels, processed
from pipeline.radiomics.standard_shape import MORPHOLOGY, morphology
from pipeline.radiomics.standard_texture import TEXTURE_FAMILIES, merging_tags, texture_family
from pipeline.settings.radiomics import (
    Discretisation,
    FeatureSet,
    Modality,
    StandardFamily,
    StandardProcessing,
)

PLAIN_FAMILIES: dict[StandardFamily, tuple[str, ...]] = {
    "morph": MORPHOLOGY, "loc": LOCAL, "stat": STATISTICS, "ivh": VOLUME_HISTOGRAM,
}  # fmt: skip
"""Families that need no grey levels of texture."""


def standard_columns(feature_set: FeatureSet) -> Iterator[str]:
    """The columns of a set with `standard`, in order."""
    assert feature_set.standard is not None
    for modality in feature_set.modalities:
        for prefix, names in _families(feature_set, feature_set.standard, modality):
            yield from (f"{prefix}_{name}" for name in names)


def _families(
    feature_set: FeatureSet, processing: StandardProcessing, modality: Modality
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Prefix of the columns of each family, and the names within it."""
    for family in processing.families:
        if family in PLAIN_FAMILIES:
            yield f"{modality}_original_{family}", PLAIN_FAMILIES[family]
    for rule in feature_set.discretisations[modality]:
        for family in processing.families:
            if family not in PLAIN_FAMILIES:
                yield f"{_prefix(modality, rule)}_{family}", _names(family, processing)


def _names(family: StandardFamily, processing: StandardProcessing) -> tuple[str, ...]:
    if family == "ih":
        return HISTOGRAM
    tags = merging_tags(family, processing.merging)
    return tuple(f"{name}_{tag}" for tag in tags for name in TEXTURE_FAMILIES[family])


def _prefix(modality: Modality, rule: Discretisation) -> str:
    return f"{modality}_original{f'-{rule.suffix}' if rule.suffix else ''}"


def standard_features(
    images: Mapping[str, FeatureImage], feature_set: FeatureSet, min_voxels: int
) -> Extraction:
    """The features of a set with `standard`.

    Args:
        images: Images by modality, masks not empty.
        feature_set: The set.
        min_voxels: Lesions with fewer voxels get NaN for texture features, and a message.

    Raises:
        RadiomicsError: Resampling or resegmentation leaves no voxel.
    """
    assert feature_set.standard is not None
    extraction = Extraction()
    for modality in feature_set.modalities:
        image = processed(images[modality], modality, feature_set.standard)
        calls = _calls(image, modality, feature_set)
        size = int(image.intensity.sum())
        if size < min_voxels:
            extraction.problems.append(
                f"{modality}: {size} voxels, fewer than {min_voxels}: no texture features"
            )
        for prefix, names in _families(feature_set, feature_set.standard, modality):
            family = prefix.rsplit("_", 1)[1]
            small = size < min_voxels and family in TEXTURE_FAMILIES
            extraction.add_class(prefix, names, dict if small else calls[prefix])
    return extraction


def _calls(
    image: StandardImage, modality: Modality, feature_set: FeatureSet
) -> dict[str, Callable[[], Mapping[str, float]]]:
    """How the features of each family are computed, by the prefix of its columns."""
    processing = feature_set.standard
    assert processing is not None
    original = f"{modality}_original"
    calls: dict[str, Callable[[], Mapping[str, float]]] = {
        f"{original}_morph": partial(morphology, image),
        f"{original}_loc": partial(local_peaks, image),
        f"{original}_stat": partial(statistics, image.values[image.intensity]),
        f"{original}_ivh": partial(_volume_histogram, image, modality, processing),
    }
    for rule in feature_set.discretisations[modality]:
        levels = grey_levels(image, modality, rule)
        lesion = _discretised(image, levels, processing.by_slice)
        calls[f"{_prefix(modality, rule)}_ih"] = partial(histogram, levels)
        for family in TEXTURE_FAMILIES:
            call = partial(texture_family, lesion, family, processing.merging)
            calls[f"{_prefix(modality, rule)}_{family}"] = call
    return calls


def _discretised(image: StandardImage, levels: Levels, by_slice: bool) -> Discretised:
    """Grey levels and masks, cut to the box of the lesion."""
    box = lesion_box(image.shape)
    cut = Levels(levels.array[box], levels.present, levels.counts, levels.ranks)
    return Discretised(cut, image.intensity[box], image.shape[box], by_slice)


def _volume_histogram(
    image: StandardImage, modality: Modality, processing: StandardProcessing
) -> dict[str, float]:
    rule = processing.histogram_bins.get(modality)
    if rule is None:
        values = image.values[image.intensity]
        low, high = (limit if np.isfinite(limit) else None for limit in image.limits)
        # Whole numbers, such as HU, are steps as they are, also those that no voxel has.
        step = 1.0 if bool((values == np.round(values)).all()) else None
        axis = HistogramAxis(
            float(values.min()) if low is None else low, float(values.max()) if high is None else high, step
        )
        return volume_histogram(values, axis)
    centres = bin_centres(image, modality, rule)
    if rule.bins is not None:
        return volume_histogram(centres, HistogramAxis(1.0, float(rule.bins), 1.0))
    half, width = rule.bin_width / 2 if rule.bin_width else 0.0, rule.bin_width
    low = image.limits[0] + half if np.isfinite(image.limits[0]) else float(centres.min())
    high = image.limits[1] - half if np.isfinite(image.limits[1]) else float(centres.max())
    return volume_histogram(centres, HistogramAxis(low, high, width))
