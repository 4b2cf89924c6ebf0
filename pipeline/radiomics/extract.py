"""The stage: a patient's images and contour in, a row of features out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline.errors import PatientError, RadiomicsError
from pipeline.provenance import versions
from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import Picture
from pipeline.radiomics.indices import INDEX_COLUMNS, pet_indices
from pipeline.radiomics.regions import with_region
from pipeline.radiomics.sets import feature_columns, load_feature_set, settings_hash
from pipeline.radiomics.sources import NativeSources, PatientImages, read_crop, read_native, with_predicted
from pipeline.radiomics.table import Row, write_row
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.tables.status import Status

log = logging.getLogger(__name__)
STAGE = "radiomics"


def radiomics_patient(
    crop: Path, out: Path, settings: RadiomicsSettings, policy: Policy, workers: int = 1
) -> None:
    """Extract a patient's features from the crop store.

    Writes a parquet file with one row: `patient_id`, the set's columns and `pet_index_*`. A
    patient excluded here or upstream, or without a contour, gets the same columns and no row.
    The schema's metadata holds `status` (JSON: state, stage, problem, consequence),
    `settings_hash`, `feature_set`, `versions` and `patient_id`.

    Args:
        crop: Zarr store of the crop stage.
        out: Parquet file.
        settings: The study's radiomics section.
        policy: What a patient does whose features cannot be computed.
        workers: Processes for the patient's images.

    Raises:
        RadiomicsError: With policy `stop`: images lack a modality, hold values that are not
            finite, or the mask is empty.
        SettingsError: The feature set is absent or wrong.
    """
    _stage(lambda: read_crop(crop), out, settings, policy, workers)


def radiomics_native(
    sources: NativeSources, out: Path, settings: RadiomicsSettings, policy: Policy, workers: int = 1
) -> None:
    """The same from native volumes, each image with its own contour on its own grid.

    Raises:
        As :func:`radiomics_patient`.
    """
    _stage(lambda: read_native(sources), out, settings, policy, workers)


def radiomics_predicted(
    crop: Path, masks: Path, out: Path, settings: RadiomicsSettings, policy: Policy
) -> None:
    """The same from the crop store on the contour a network predicted (a fold's `masks.zarr`).

    The caller gives development patients the fold that held them out.

    Raises:
        As :func:`radiomics_patient`.
    """
    _stage(lambda: with_predicted(read_crop(crop), masks), out, settings, policy, 1)


def _stage(
    read: Callable[[], PatientImages], out: Path, settings: RadiomicsSettings, policy: Policy, workers: int
) -> None:
    feature_set = load_feature_set(settings)
    patient_id = out.stem
    values: Mapping[str, float] | None = None
    try:
        images = read()
        patient_id = images.patient_id
        status = images.status
        if images.contour:
            values, status = _features(images, feature_set, settings, workers)
    except PatientError as error:
        if policy == "stop":
            error.where = f"patient {patient_id}" + (f", {error.where}" if error.where else "")
            error.action = error.action or "mend the data, or set study.on_bad_patient: exclude"
            raise
        log.error("patient %s excluded at %s: %s", patient_id, STAGE, error)
        status = Status("excluded", STAGE, str(error), "no radiomics features")
    metadata = {
        b"status": asdict(status),
        b"settings_hash": settings_hash(settings, feature_set),
        b"feature_set": feature_set.title,
        b"versions": versions("pyradiomics", "numpy", "PyWavelets", "SimpleITK"),
    }
    columns = feature_columns(feature_set) + INDEX_COLUMNS
    write_row(out, Row(patient_id, values), columns, metadata)


def prepared(
    images: PatientImages, feature_set: FeatureSet, settings: RadiomicsSettings
) -> dict[str, Picture]:
    """Pictures checked, standardised where asked for, with the region asked for.

    Raises:
        RadiomicsError: They cannot be used.
    """
    _require_usable(images.pictures, feature_set)
    pictures = with_region(images.pictures, settings)
    if settings.intensities == "zscored":
        pictures = {name: standardised(picture) for name, picture in pictures.items()}
    return pictures


def _features(
    images: PatientImages, feature_set: FeatureSet, settings: RadiomicsSettings, workers: int
) -> tuple[dict[str, float], Status]:
    pictures = prepared(images, feature_set, settings)
    found = extract_features(pictures, feature_set, settings.min_voxels, workers)
    problems = [*images.notes, *found.problems, *_border(images.pictures)]
    for problem in problems:
        log.warning("patient %s: %s", images.patient_id, problem)
    values = {**found.values, **pet_indices(images.pictures["pet"])}
    if problems:
        return values, Status("warned", STAGE, " | ".join(problems), "used")
    return values, Status("ok", STAGE)


def standardised(picture: Picture) -> Picture:
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


def _require_usable(pictures: Mapping[str, Picture], feature_set: FeatureSet) -> None:
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


def _border(pictures: Mapping[str, Picture]) -> list[str]:
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
