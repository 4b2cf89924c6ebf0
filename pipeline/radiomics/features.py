"""All features of one patient's images and one mask."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from pipeline.errors import SettingsError
from pipeline.radiomics.firstorder import FirstOrder, UnknownFeature
from pipeline.radiomics.images import (
    BoolArray,
    Box,
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
        except UnknownFeature as error:
            raise SettingsError(
                "a radiomics feature set names a feature that PyRadiomics does not have",
                where=prefix,
                got=str(error),
            ) from None
        # LookupError: an index out of range is a lesion's fault, not the feature set's.
        except (
            ValueError,
            ArithmeticError,
            RuntimeError,
            MemoryError,
            LookupError,
            np.linalg.LinAlgError,
        ) as error:
            self.problems.append(f"{prefix} failed: {type(error).__name__}: {error}")
            found = {}
        self.values.update({f"{prefix}_{name}": found.get(name, float("nan")) for name in names})


@dataclass(frozen=True)
class Part:
    """One image of one modality, ready for its features; a unit of parallel work.

    Attributes:
        modality: `pet` or `ct`.
        name: `original`, `wavelet-LLH`, …
        image: float (z, y, x), the lesion's box.
        region: Lesion, of the same shape; shared by all images on its grid.
        voxel_mm3: Volume of a voxel.
        textured: Whether the lesion is large enough for texture.
    """

    modality: Modality
    name: str
    image: FloatArray
    region: Neighbourhood
    voxel_mm3: float
    textured: bool


def extract_features(
    pictures: Mapping[str, FeatureImage], feature_set: FeatureSet, min_voxels: int = 8, workers: int = 1
) -> Extraction:
    """Features of a set, equal to plain PyRadiomics calls on the whole images.

    Args:
        pictures: By modality, masks not empty.
        feature_set: What is extracted.
        min_voxels: Lesions with fewer voxels get NaN for texture, and a message.
        workers: Processes that share the images (original, wavelets); with more than one, dask
            runs them, on its distributed client where one is active.

    Returns:
        A value for each of :func:`pipeline.radiomics.sets.feature_columns`.

    Raises:
        SettingsError: The set names a feature that does not exist.
    """
    quiet_pyradiomics()
    found = Extraction()
    parts: list[Part] = []
    shared: list[tuple[BoolArray, Neighbourhood]] = []
    for modality in feature_set.modalities:
        picture = resampled(pictures[modality], feature_set.resample_mm)
        box = lesion_box(picture.mask)
        if shape_prefix(feature_set).startswith(modality):
            _take_shape(found, feature_set, replace(picture, mask=picture.mask[box]))
        region = _region(shared, picture.mask, box)
        size = int(region.mask.sum())
        if size < min_voxels:
            found.problems.append(f"{modality}: {size} voxels, fewer than {min_voxels}: no texture features")
        voxel_mm3 = float(np.prod(picture.spacing_mm))
        parts += [
            Part(modality, name, array, region, voxel_mm3, size >= min_voxels)
            for name, array in _filtered(picture.image, box, feature_set)
        ]
    for extraction in _each(parts, feature_set, workers):
        found.values |= extraction.values
        found.problems += extraction.problems
    return Extraction({c: found.values[c] for c in feature_columns(feature_set)}, found.problems)


def _region(shared: list[tuple[BoolArray, Neighbourhood]], mask: BoolArray, box: Box) -> Neighbourhood:
    """The region of a mask: one object for images that have one mask, so that it is worked out once."""
    for known, region in shared:
        if known is mask:
            return region
    shared.append((mask, Neighbourhood(mask[box])))
    return shared[-1][1]


def _each(parts: list[Part], feature_set: FeatureSet, workers: int) -> Iterable[Extraction]:
    if workers == 1:
        return (part_features(part, feature_set) for part in parts)
    import dask

    # An active distributed client has set this; else processes, as the compiled matrices hold the lock.
    scheduler = dask.config.get("scheduler", None) or "processes"
    jobs = [dask.delayed(part_features)(part, feature_set) for part in parts]
    done: Iterable[Extraction] = dask.compute(*jobs, scheduler=scheduler, num_workers=workers)
    return done


def _filtered(image: FloatArray, box: Box, feature_set: FeatureSet) -> Iterator[tuple[str, FloatArray]]:
    if feature_set.original:
        yield "original", image[box]
    if feature_set.wavelet:
        for name, array in wavelet_images(image, box, feature_set.wavelet, DECOMPOSITIONS):
            yield f"wavelet-{name}", array


def _take_shape(found: Extraction, feature_set: FeatureSet, picture: FeatureImage) -> None:
    names = feature_set.shape
    if names:
        compute = partial(shape_features, names, picture.mask, picture.spacing_mm)
        found.take(shape_prefix(feature_set), names, compute)


def part_features(part: Part, feature_set: FeatureSet) -> Extraction:
    """First-order and texture features of one image of one modality."""
    quiet_pyradiomics()
    found = Extraction()
    for number, rule in enumerate(feature_set.discretisations[part.modality]):
        levels = discretise(part.image, part.region.mask, rule)
        if number == 0 and feature_set.firstorder:
            values = part.image[part.region.mask].astype(np.float64)
            calculator = FirstOrder(values, levels.counts, part.voxel_mm3)
            compute = partial(calculator.features, feature_set.firstorder)
            found.take(f"{part.modality}_{part.name}_firstorder", feature_set.firstorder, compute)
        prefix = texture_prefix(part.modality, part.name, rule)
        for kind, names in feature_set.texture.items():
            texture = partial(texture_features, kind, names, levels, part.region)
            found.take(f"{prefix}_{kind}", names, texture if part.textured else dict)
    return found
