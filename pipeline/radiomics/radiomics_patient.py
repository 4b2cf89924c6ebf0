"""The stage: a patient's images and contour in, a row of features out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PatientError, RadiomicsError, SettingsError
from pipeline.provenance import versions
from pipeline.radiomics.feature_row import FeatureRow, write_row
from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.pet_metrics import INDEX_COLUMNS, pet_indices
from pipeline.radiomics.sets import feature_columns, load_feature_set, settings_hash
from pipeline.radiomics.sources import NativeSources, PatientImages, read_images
from pipeline.radiomics.subregions import with_region
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import Contour, FeatureSet, RadiomicsSettings
from pipeline.tables.status import Status, data_and_machine_told_apart, stop_or_exclude

log = logging.getLogger(__name__)
STAGE = "radiomics"
EXCLUDED = Status("excluded", STAGE, consequence="no radiomics features")
"""What is said of a patient whose features cannot be computed."""


def radiomics_patient(
    source: Path | NativeSources,
    out: Path,
    settings: RadiomicsSettings,
    policy: Policy,
    contour: Contour = "manual",
    workers: int = 1,
) -> None:
    """Extract a patient's features from the crop store, or from the native volumes.

    Writes a parquet file with one row: `patient_id`, the set's columns and `pet_index_*`. A
    patient excluded here or upstream, or without a contour, gets the same columns and no row.
    The schema's metadata holds `status` (JSON: state, stage, problem, consequence),
    `settings_hash`, `feature_set`, `contour`, `versions` and `patient_id`.

    Args:
        source: Zarr store of the crop stage; or native volumes, each image with its own
            contour on its own grid.
        out: Parquet file.
        settings: The study's radiomics section.
        policy: What a patient does whose features cannot be computed.
        contour: The region: the drawn contour, its hot part, or the shell around it.
        workers: Processes for the patient's images.

    Raises:
        RadiomicsError: With policy `stop`: images lack a modality, hold values that are not
            finite, or the region is empty.
        SettingsError: The feature set is absent or wrong, or the study asks for the other
            kind of images.
    """
    require_images(settings, source)
    _stage(source, out, Wanted(settings, contour, policy, workers))


@dataclass(frozen=True)
class Wanted:
    """How features are extracted.

    Attributes:
        settings: The study's radiomics section.
        contour: The region of the contour.
        policy: What a patient does whose features cannot be computed.
        workers: Processes for a patient's images.
    """

    settings: RadiomicsSettings
    contour: Contour
    policy: Policy
    workers: int = 1


def require_images(settings: RadiomicsSettings, source: Path | NativeSources) -> None:
    """Refuse to take features from other images than the study asks for.

    Raises:
        SettingsError: The study asks for others.
    """
    given = "native" if isinstance(source, NativeSources) else "crop"
    if settings.images != given:
        raise SettingsError(
            f"radiomics.images asks for {settings.images!r}, but features were to be taken from {given!r}",
            action=f"set radiomics.images: {given}",
        )


def _stage(source: Path | NativeSources, out: Path, wanted: Wanted) -> None:
    feature_set = load_feature_set(wanted.settings)
    patient_id = source.patient_id if isinstance(source, NativeSources) else source.stem
    values: Mapping[str, float] | None = None
    try:
        with data_and_machine_told_apart():
            images = read_images(source)
            patient_id = images.patient_id
            status = images.status
            if images.contour:
                values, status = patient_features(images, feature_set, wanted)
        if status.state == "warned":
            log.warning("patient %s: %s", patient_id, status.problem)
    except PatientError as error:
        status = stop_or_exclude(error, patient_id, EXCLUDED, wanted.policy)
    columns = feature_columns(feature_set) + INDEX_COLUMNS
    metadata = {**table_metadata(feature_set, wanted.settings, wanted.contour), b"status": asdict(status)}
    write_row(out, FeatureRow(patient_id, values), columns, metadata)


def table_metadata(feature_set: FeatureSet, settings: RadiomicsSettings, contour: str) -> dict[bytes, Any]:
    """What a feature file says of how it was made."""
    return {
        b"settings_hash": settings_hash(settings, feature_set, contour),
        b"feature_set": feature_set.title,
        b"contour": contour,
        b"versions": versions("pyradiomics", "numpy", "PyWavelets", "SimpleITK"),
    }


def prepared(images: PatientImages, feature_set: FeatureSet, wanted: Wanted) -> dict[str, FeatureImage]:
    """Pictures checked, standardised where asked for, with the region asked for.

    Raises:
        RadiomicsError: They cannot be used.
    """
    _require_usable(images.pictures, feature_set)
    pictures = with_region(images.pictures, wanted.contour, wanted.settings)
    if wanted.settings.intensities == "zscored":
        pictures = {name: standardised(picture) for name, picture in pictures.items()}
    return pictures


def patient_features(
    images: PatientImages, feature_set: FeatureSet, wanted: Wanted
) -> tuple[dict[str, float], Status]:
    """A patient's values by column, and what is told of them.

    Args:
        images: With a contour.
        feature_set: What is extracted.
        wanted: How.

    Raises:
        RadiomicsError: The images cannot be used.
    """
    pictures = prepared(images, feature_set, wanted)
    found = extract_features(pictures, feature_set, wanted.settings.min_voxels, wanted.workers)
    problems = [*images.notes, *found.problems, *_border(images.pictures)]
    values = {**found.values, **pet_indices(images.pictures["pet"])}
    if problems:
        return values, Status("warned", STAGE, " | ".join(problems), "used")
    return values, Status("ok", STAGE)


def standardised(picture: FeatureImage) -> FeatureImage:
    """A picture with mean 0 and SD 1 over its imaged voxels.

    Raises:
        RadiomicsError: The image is constant.
    """
    known = picture.image[picture.inside].astype(np.float64)
    deviation = known.std()
    if not deviation > 0:
        raise RadiomicsError("an image is constant and cannot be standardised")
    scaled = ((picture.image - known.mean()) / deviation).astype(picture.image.dtype)
    return replace(picture, image=scaled)


def _require_usable(pictures: Mapping[str, FeatureImage], feature_set: FeatureSet) -> None:
    wanted = {*feature_set.modalities, "pet"}
    if wanted - set(pictures):
        raise RadiomicsError(
            "the images lack a modality", expected=", ".join(sorted(wanted)), got=", ".join(pictures)
        )
    for name, picture in pictures.items():
        if not picture.mask.any():
            raise RadiomicsError(
                f"the contour is empty on the {name}", action="look at the contour and at the crop's place"
            )
        if not np.isfinite(picture.image[picture.mask]).all():
            raise RadiomicsError(f"the {name} holds values that are not finite within the lesion")


def _border(pictures: Mapping[str, FeatureImage]) -> list[str]:
    """Messages where the lesion touches the image's border or leaves what was imaged."""
    found = []
    # One mask on one grid is told of once.
    for name, picture in {id(p.mask): (n, p) for n, p in pictures.items()}.values():
        mask = picture.mask
        faces = [mask.take(i, axis) for axis in range(3) for i in (0, -1) if mask.shape[axis] > 1]
        if any(face.any() for face in faces):
            found.append(f"the lesion touches the border of the {name}: shape and rim may be cut")
        unseen = int((mask & ~picture.inside).sum())
        if unseen:
            found.append(f"{unseen} voxels of the lesion were not imaged on the {name}")
    return found
