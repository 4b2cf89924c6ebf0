"""The stage: a patient's crop in, a row of features out."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.errors import PatientError, RadiomicsError
from pipeline.provenance import versions
from pipeline.radiomics.features import Extraction, extract_features
from pipeline.radiomics.images import CropImages, FloatArray, read_images
from pipeline.radiomics.indices import INDEX_COLUMNS, pet_indices
from pipeline.radiomics.sets import feature_columns, load_feature_set, settings_hash
from pipeline.radiomics.table import SETTINGS, STATUS, write_row
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.tables.status import Status

log = logging.getLogger(__name__)
STAGE = "radiomics"
NO_CONTOUR = Status(
    "warned", STAGE, "the patient has no contour", "no radiomics features; networks are not affected"
)


def radiomics_patient(crop: Path, out: Path, settings: RadiomicsSettings, policy: Policy) -> None:
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

    Raises:
        RadiomicsError: With policy `stop`: images lack a modality, hold values that are not
            finite, or the mask is empty.
        SettingsError: The feature set is absent or wrong.
    """
    feature_set = load_feature_set(settings)
    patient_id = out.stem
    values: dict[str, float] | None = None
    try:
        images = read_images(crop)
        patient_id = images.patient_id
        if images.status.get("state") == "excluded":
            status = Status(**images.status)  # type: ignore[arg-type]
        elif images.mask is None:
            status = NO_CONTOUR
        else:
            values, status = _features(images, feature_set, settings)
    except PatientError as error:
        if policy == "stop":
            error.where = f"patient {patient_id}" + (f", {error.where}" if error.where else "")
            error.action = error.action or "mend the data, or set study.on_bad_patient: exclude"
            raise
        log.error("patient %s excluded at %s: %s", patient_id, STAGE, error)
        status = Status("excluded", STAGE, str(error), "no radiomics features")
    metadata = {
        STATUS: asdict(status),
        SETTINGS: settings_hash(settings, feature_set),
        b"feature_set": feature_set.title,
        b"versions": versions("pyradiomics", "numpy", "PyWavelets", "SimpleITK"),
        b"patient_id": patient_id,
    }
    columns = feature_columns(feature_set) + INDEX_COLUMNS
    write_row(out, patient_id, values, columns, metadata)


def _features(
    images: CropImages, feature_set: FeatureSet, settings: RadiomicsSettings
) -> tuple[dict[str, float], Status]:
    _require_usable(images, feature_set)
    assert images.mask is not None
    inputs = images.images
    if settings.intensities == "zscored":
        inputs = {name: standardised(image, images) for name, image in inputs.items()}
    found: Extraction = extract_features(
        inputs, images.mask, images.spacing_mm, feature_set, settings.min_voxels
    )
    problems = [*found.problems, *_border(images)]
    for problem in problems:
        log.warning("patient %s: %s", images.patient_id, problem)
    values = {**found.values, **pet_indices(images)}
    if problems:
        return values, Status("warned", STAGE, " | ".join(problems), "used")
    return values, Status("ok", STAGE)


def standardised(image: FloatArray, images: CropImages) -> FloatArray:
    """An image with mean 0 and SD 1 over its imaged voxels."""
    known = image[images.inside].astype(np.float64)
    deviation = known.std()
    if not deviation > 0:
        raise RadiomicsError("an image is constant and cannot be standardised")
    scaled: FloatArray = ((image - known.mean()) / deviation).astype(image.dtype)
    return scaled


def _require_usable(images: CropImages, feature_set: FeatureSet) -> None:
    mask = images.mask
    assert mask is not None
    missing = [m for m in {*feature_set.modalities, "pet"} if m not in images.images]
    if missing:
        raise RadiomicsError(
            "the crop lacks a modality",
            expected=", ".join(feature_set.modalities),
            got=", ".join(images.images),
        )
    if not mask.any():
        raise RadiomicsError("the mask is empty", action="look at the contour and at the crop's place")
    for name, image in images.images.items():
        if not np.isfinite(image[mask]).all():
            raise RadiomicsError(f"the {name} holds values that are not finite within the lesion")


def _border(images: CropImages) -> list[str]:
    """Messages where the lesion touches the crop's border or leaves what was imaged."""
    mask = images.mask
    assert mask is not None
    found = []
    faces = [mask.take(i, axis) for axis in range(3) for i in (0, -1) if mask.shape[axis] > 1]
    if any(face.any() for face in faces):
        found.append("the lesion touches the crop's border: shape and rim may be cut")
    unseen = int((mask & ~images.inside).sum())
    if unseen:
        found.append(f"{unseen} voxels of the lesion were not imaged")
    return found
