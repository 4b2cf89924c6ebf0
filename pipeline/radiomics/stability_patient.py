"""The rule `stability_patient`: features under perturbations, as another observer or scan might give them."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline.errors import PatientError, RadiomicsError
from pipeline.radiomics.feature_table import Row, write_feature_table
from pipeline.radiomics.native_pet import FeatureSources
from pipeline.radiomics.perturbations import UNCHANGED, perturbations
from pipeline.radiomics.pet_harmonisation import harmonised
from pipeline.radiomics.radiomics_patient import (
    EXCLUDED,
    ExtractionOptions,
    patient_features,
    prepared_images,
    require_images,
)
from pipeline.radiomics.sets import load_feature_set, settings_hash
from pipeline.radiomics.sources import PatientImages, read_images
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import PERTURBATION_KEYS, FeatureSet, RadiomicsSettings
from pipeline.tables.status import data_and_machine_told_apart, stop_or_exclude

log = logging.getLogger(__name__)


def perturbed_features(
    patient: PatientImages, feature_set: FeatureSet, settings: RadiomicsSettings
) -> list[Row]:
    """A patient's features under each perturbation of the manual contour and the images.

    A perturbation under which a contour loses all its voxels, or for which no features can be
    computed (shrunk to less than a voxel of a coarser grid), is left out.

    Returns:
        A row per perturbation: `patient_id`, `perturbation`, the columns of the set and
        `pet_index_*`; none where the patient is excluded or has no contour.

    Raises:
        RadiomicsError: The images cannot be used even with the contour as drawn.
    """
    rows: list[Row] = []
    if not patient.has_contour:
        return rows
    options = ExtractionOptions(settings, "manual", "stop")
    prepared_images(patient, feature_set, options)
    # Whole voxels throughout: a perturbed contour has no shares of voxels.
    pet = None if patient.pet is None else replace(patient.pet.image, shares=None)
    for perturbation in perturbations(settings, patient.patient_id):
        changes = {name: perturbation.apply(image, name) for name, image in patient.images.items()}
        images = {name: image for name, image in changes.items() if image is not None}
        if len(images) < len(changes):
            log.warning("patient %s, %s: no voxel is left", patient.patient_id, perturbation.name)
            continue
        # Where nothing is left on the coarser voxels of the PET, only the PET metrics are missing.
        changed = replace(patient, images=images)
        if patient.pet is not None and pet is not None:
            native = perturbation.apply(pet, "pet") if pet.mask.any() else pet
            native = native if native is not None else replace(pet, mask=np.zeros_like(pet.mask))
            changed = replace(changed, pet=replace(patient.pet, image=native))
        name = perturbation.name
        try:
            features = patient_features(changed, feature_set, options)
        except RadiomicsError as error:
            if name == UNCHANGED:
                raise
            log.warning("patient %s, %s: %s", patient.patient_id, name, error)
            continue
        rows.append({"patient_id": patient.patient_id, "perturbation": name, **features.values})
    return rows


def stability_patient(
    sources: FeatureSources, out: Path, settings: RadiomicsSettings, policy: Policy
) -> None:
    """Write a patient's features under perturbed contours: parquet, a row per perturbation.

    Patients excluded before or here, or without a contour, get no rows. The schema's metadata
    holds `settings_hash` and `status`.

    Args:
        sources: The patient's files.
        out: Parquet file.
        settings: The study's radiomics section.
        policy: What happens to a patient whose features cannot be computed.

    Raises:
        RadiomicsError: With policy `stop`: the images cannot be used.
        SettingsError: The study asks for the other kind of images.
    """
    require_images(settings, sources)
    feature_set = load_feature_set(settings)
    rows: list[Row] = []
    try:
        with data_and_machine_told_apart():
            patient = harmonised(read_images(sources), sources.suv, settings.pet_fwhm_mm)
            status = patient.status
            rows = perturbed_features(patient, feature_set, settings)
    except PatientError as error:
        status = stop_or_exclude(error, sources.patient_id, EXCLUDED, policy)
    perturbed = {key: value for key, value in settings.model_dump().items() if key in PERTURBATION_KEYS}
    metadata = {
        b"status": asdict(status),
        b"settings_hash": settings_hash(settings, feature_set, f"perturbed: {sorted(perturbed.items())}"),
    }
    write_feature_table(out, rows, {"patient_id": str, "perturbation": str}, feature_set, metadata)
