"""The rule `radiomics_patient`: from the images and contour of a patient to a row of features."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import PatientError, RadiomicsError, SettingsError
from pipeline.radiomics.feature_table import (
    PRESENT,
    Row,
    class_column,
    table_metadata,
    write_feature_table,
)
from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import BoolArray, FeatureImage
from pipeline.radiomics.native_pet import FeatureSources
from pipeline.radiomics.partial_volume import partial_volume_metrics
from pipeline.radiomics.pet_harmonisation import harmonised
from pipeline.radiomics.pet_metrics import pet_metrics
from pipeline.radiomics.sets import load_feature_set
from pipeline.radiomics.sources import PatientImages, read_images
from pipeline.radiomics.subregions import with_subregion
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import Contour, FeatureSet, RadiomicsSettings
from pipeline.tables.status import Status, data_and_machine_told_apart, stop_or_exclude

log = logging.getLogger(__name__)
STAGE = "radiomics"
EXCLUDED = Status("excluded", STAGE, consequence="no radiomics features")
"""Status of a patient whose features cannot be computed."""


def radiomics_patient(
    sources: FeatureSources,
    out: Path,
    settings: RadiomicsSettings,
    policy: Policy,
    contour: Contour = "manual",
    workers: int = 1,
) -> None:
    """Extract a patient's features from the crop store, or from the native volumes.

    PET metrics (`pet_index_*`) are measured on the native PET in either case. Writes a parquet
    file with one row: `patient_id`, the set's columns and `pet_index_*`; with `radiomics.per_class` the same
    of each class of the mask, `{class}_…`, and `{class}_present`. A patient excluded here
    or upstream, or without a contour, gets the same columns and no row. The schema's metadata
    holds `status` (JSON: state, stage, problem, consequence), `settings_hash`, `feature_set`,
    `contour`, `versions` and `patient_id`.

    Args:
        sources: The patient's files. Without a crop store features come from the native
            volumes, each image with its own contour on its own grid.
        out: Parquet file.
        settings: The study's radiomics section.
        policy: What happens to a patient whose features cannot be computed.
        contour: The subregion: the drawn contour, its hot part, or the shell around it.
        workers: Processes for the images of the patient.

    Raises:
        RadiomicsError: With policy `stop`: images lack a modality or hold values that are not
            finite, or the subregion is empty.
        SettingsError: The feature set is absent or wrong, or the study asks for the other
            kind of images.
    """
    require_images(settings, sources)
    _extract(sources, out, ExtractionOptions(settings, contour, policy, workers))


@dataclass(frozen=True)
class ExtractionOptions:
    """How features are extracted.

    Attributes:
        settings: The study's radiomics section.
        contour: The subregion of the contour.
        policy: What happens to a patient whose features cannot be computed.
        workers: Processes for the images of a patient.
    """

    settings: RadiomicsSettings
    contour: Contour
    policy: Policy
    workers: int = 1

    def classes(self) -> tuple[str, ...]:
        """Classes of the mask that have features of their own: those of the contour as it is, not of a region."""
        return self.settings.per_class if self.contour == "manual" else ()


@dataclass(frozen=True)
class PatientFeatures:
    """The features of a patient.

    Attributes:
        values: Values by column.
        status: `ok`, or `warned` with what to know about the values.
    """

    values: dict[str, float]
    status: Status


def require_images(settings: RadiomicsSettings, sources: FeatureSources) -> None:
    """Refuse to compute features from other images than the study asks for.

    Raises:
        SettingsError: The study asks for other images.
    """
    given = "native" if sources.crop is None else "crop"
    if settings.images != given:
        raise SettingsError(
            f"radiomics.images asks for {settings.images!r}, but the features would be computed from {given!r}",
            action=f"set radiomics.images: {given}",
        )


def _extract(sources: FeatureSources, out: Path, options: ExtractionOptions) -> None:
    feature_set = load_feature_set(options.settings)
    patient_id = sources.patient_id
    rows: list[Row] = []
    try:
        with data_and_machine_told_apart():
            patient = harmonised(read_images(sources), sources.suv, options.settings.pet_fwhm_mm)
            status = patient.status
            if patient.has_contour:
                features = patient_features(patient, feature_set, options)
                features = with_classes(features, _class_images(sources, options), feature_set, options)
                rows, status = [{"patient_id": patient_id, **features.values}], features.status
        if status.state == "warned":
            log.warning("patient %s: %s", patient_id, status.problem)
    except PatientError as error:
        status = stop_or_exclude(error, patient_id, EXCLUDED, options.policy)
    metadata = {
        **table_metadata(feature_set, options.settings, options.contour),
        b"status": asdict(status),
        b"patient_id": patient_id,
    }
    classes = options.classes()
    write_feature_table(out, rows, {"patient_id": str}, feature_set, metadata, classes)


def _class_images(sources: FeatureSources, options: ExtractionOptions) -> Iterator[PatientImages]:
    """A patient's images with each class of the mask as the lesion, in the order of the labels."""
    for label in range(1, len(options.classes()) + 1):
        yield harmonised(
            read_images(replace(sources, label=label)), sources.suv, options.settings.pet_fwhm_mm
        )


def with_classes(
    features: PatientFeatures,
    patients: Iterable[PatientImages],
    feature_set: FeatureSet,
    options: ExtractionOptions,
) -> PatientFeatures:
    """Features of the whole lesion with those of each class behind; of an absent class they are missing.

    Args:
        features: Features of the whole lesion.
        patients: The patient's images with each class as the lesion, in the order of the classes.
        feature_set: The features.
        options: How they are extracted.

    Raises:
        RadiomicsError: The images cannot be used.
    """
    values, problems = dict(features.values), [features.status.problem] if features.status.problem else []
    for name, patient in zip(options.classes(), patients, strict=True):
        present = patient.has_contour and all(image.mask.any() for image in patient.images.values())
        values[class_column(name, PRESENT)] = float(present)
        if present:
            of_class = patient_features(patient, feature_set, options)
            values |= {class_column(name, column): value for column, value in of_class.values.items()}
            problems += [f"{name}: {of_class.status.problem}"] if of_class.status.problem else []
    status = Status("warned", STAGE, " | ".join(problems), "used") if problems else features.status
    return PatientFeatures(values, status)


def patient_features(
    patient: PatientImages, feature_set: FeatureSet, options: ExtractionOptions
) -> PatientFeatures:
    """The features of a patient.

    Args:
        patient: Images with a contour.
        feature_set: The features.
        options: How they are extracted.

    Raises:
        RadiomicsError: The images cannot be used.
    """
    images = prepared_images(patient, feature_set, options)
    extraction = extract_features(images, feature_set, options.settings.min_voxels, options.workers)
    pet = None if patient.pet is None else patient.pet.image
    problems = [*patient.notes, *extraction.problems, *_border_problems(patient.images, pet)]
    values = dict(extraction.values)
    if pet is not None:
        values |= {**pet_metrics(pet), **partial_volume_metrics(pet)}
    if problems:
        return PatientFeatures(values, Status("warned", STAGE, " | ".join(problems), "used"))
    return PatientFeatures(values, Status("ok", STAGE))


def prepared_images(
    patient: PatientImages, feature_set: FeatureSet, options: ExtractionOptions
) -> dict[str, FeatureImage]:
    """Images after checks, with the subregion as mask, and standardised if the settings say so.

    Raises:
        RadiomicsError: The images cannot be used.
    """
    _require_usable(patient.images, feature_set)
    images = with_subregion(patient, options.contour, options.settings)
    if options.settings.intensities == "zscored":
        images = {name: standardised(image) for name, image in images.items()}
    return images


def standardised(image: FeatureImage) -> FeatureImage:
    """An image with mean 0 and SD 1 over its imaged voxels.

    Raises:
        RadiomicsError: The image is constant.
    """
    imaged = image.values[image.inside].astype(np.float64)
    deviation = imaged.std()
    if not deviation > 0:
        raise RadiomicsError("an image is constant and cannot be standardised")
    return replace(image, values=((image.values - imaged.mean()) / deviation).astype(image.values.dtype))


def _require_usable(images: Mapping[str, FeatureImage], feature_set: FeatureSet) -> None:
    modalities = set(feature_set.modalities)
    if modalities - set(images):
        raise RadiomicsError(
            "the images lack a modality", expected=", ".join(sorted(modalities)), got=", ".join(images)
        )
    for name, image in images.items():
        if not image.mask.any():
            raise RadiomicsError(
                f"the contour is empty on the {name}", action="check the contour and the position of the crop"
            )
        if not np.isfinite(image.values[image.mask]).all():
            raise RadiomicsError(f"the {name} holds values that are not finite within the lesion")


def _border_problems(images: Mapping[str, FeatureImage], pet: FeatureImage | None) -> list[str]:
    """Messages where the lesion touches the border of an image or extends beyond the imaged voxels."""
    problems = []
    if pet is not None and not pet.mask.any():
        problems.append("the contour holds no voxel of the native PET: no PET metrics")
    # Images that share a mask and grid give one message.
    for name, image in {id(image.mask): (name, image) for name, image in images.items()}.values():
        if _touches_border(image.mask):
            problems.append(f"the lesion touches the border of the {name}: shape and wavelets may be cut off")
        problems += _unimaged(name, image)
    if pet is None:
        return problems
    if _touches_border(pet.mask):
        problems.append("the lesion touches the border of the native PET: PET metrics may be cut off")
    if all(image.mask is not pet.mask for image in images.values()):
        problems += _unimaged("native PET", pet)
    return problems


def _touches_border(mask: BoolArray) -> bool:
    faces = [mask.take(i, axis) for axis in range(3) for i in (0, -1) if mask.shape[axis] > 1]
    return any(face.any() for face in faces)


def _unimaged(name: str, image: FeatureImage) -> list[str]:
    outside = int((image.mask & ~image.inside).sum())
    return [f"{outside} voxels of the lesion were not imaged on the {name}"] if outside else []
