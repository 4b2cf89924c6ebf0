"""All features of one patient's images and one mask."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pipeline.errors import SettingsError
from pipeline.radiomics.firstorder import FirstOrder
from pipeline.radiomics.images import (
    BoolArray,
    FloatArray,
    Spacing,
    discretise,
    lesion_box,
    wavelet_images,
)
from pipeline.radiomics.resample import resampled
from pipeline.radiomics.sets import (
    DECOMPOSITIONS,
    feature_columns,
    shape_prefix,
    texture_prefix,
)
from pipeline.radiomics.shape import shape_features
from pipeline.radiomics.texture import quiet_pyradiomics, texture_features
from pipeline.settings.radiomics import FeatureSet, Modality

log = logging.getLogger(__name__)


@dataclass
class Extraction:
    """Values by column, and what could not be computed.

    Attributes:
        values: One float per column of the set, NaN where there is no value.
        problems: One message per class that failed.
    """

    values: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, prefix: str, names: tuple[str, ...], compute: Callable[[], Mapping[str, float]]) -> None:
        """Add a class's values; a failure leaves NaN and a message, and the other classes go on.

        Raises:
            SettingsError: The class has no such feature.
        """
        try:
            found = compute()
        except LookupError as error:
            raise SettingsError(
                "a radiomics feature set names a feature that PyRadiomics does not have",
                where=prefix,
                got=str(error),
            ) from None
        except (ValueError, ArithmeticError, RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
            self.problems.append(f"{prefix} failed: {type(error).__name__}: {error}")
            found = {}
        self.values.update({f"{prefix}_{name}": found.get(name, float("nan")) for name in names})


@dataclass(frozen=True)
class Lesion:
    """A lesion in the box that holds it.

    Attributes:
        mask: Lesion (z, y, x), the box's shape.
        spacing_mm: Distance of voxel centres (z, y, x).
        textured: Whether it is large enough for texture.
    """

    mask: BoolArray
    spacing_mm: Spacing
    textured: bool


def extract_features(
    images: Mapping[str, FloatArray],
    mask: BoolArray,
    spacing_mm: Spacing,
    feature_set: FeatureSet,
    min_voxels: int = 8,
) -> Extraction:
    """Features of a set, equal to plain PyRadiomics calls on the whole images.

    Args:
        images: By modality, float (z, y, x), the mask's shape.
        mask: Lesion (z, y, x), not empty.
        spacing_mm: Distance of voxel centres (z, y, x).
        feature_set: What is extracted.
        min_voxels: Lesions with fewer voxels get NaN for texture, and a message.

    Returns:
        A value for each of :func:`pipeline.radiomics.sets.feature_columns`.

    Raises:
        SettingsError: The set names a feature that does not exist.
    """
    quiet_pyradiomics()
    found = Extraction()
    for number, modality in enumerate(feature_set.modalities):
        image, region, spacing = resampled(images[modality], mask, spacing_mm, feature_set.resample_mm)
        box = lesion_box(region)
        size = int(region[box].sum())
        lesion = Lesion(region[box], spacing, size >= min_voxels)
        if number == 0:
            _take_shape(found, feature_set, lesion)
            if not lesion.textured:
                found.problems.append(f"{size} voxels, fewer than {min_voxels}: no texture features")
        for name, array in _filtered(image, box, feature_set):
            _take_image(found, feature_set, (modality, name), array, lesion)
    return Extraction({c: found.values[c] for c in feature_columns(feature_set)}, found.problems)


def _filtered(
    image: FloatArray, box: tuple[slice, slice, slice], feature_set: FeatureSet
) -> Iterator[tuple[str, FloatArray]]:
    if feature_set.original:
        yield "original", image[box]
    if feature_set.wavelet:
        for name, array in wavelet_images(image, box, feature_set.wavelet, DECOMPOSITIONS):
            yield f"wavelet-{name}", array


def _take_shape(found: Extraction, feature_set: FeatureSet, lesion: Lesion) -> None:
    names = feature_set.shape
    if names:
        found.take(
            shape_prefix(feature_set), names, partial(shape_features, names, lesion.mask, lesion.spacing_mm)
        )


def _take_image(
    found: Extraction,
    feature_set: FeatureSet,
    which: tuple[Modality, str],
    image: FloatArray,
    lesion: Lesion,
) -> None:
    """First-order and texture features of one image (box) of one modality."""
    modality, name = which
    for number, rule in enumerate(feature_set.discretisations[modality]):
        levels = discretise(image, lesion.mask, rule)
        if number == 0 and feature_set.firstorder:
            values = image[lesion.mask].astype(np.float64)
            calculator = FirstOrder(values, levels.counts, float(np.prod(lesion.spacing_mm)))
            found.take(
                f"{modality}_{name}_firstorder",
                feature_set.firstorder,
                partial(calculator.features, feature_set.firstorder),
            )
        for kind, names in feature_set.texture.items():
            found.take(
                f"{texture_prefix(modality, name, rule)}_{kind}",
                names,
                partial(texture_features, kind, names, levels, lesion.mask) if lesion.textured else dict,
            )
