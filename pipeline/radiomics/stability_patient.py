"""The rule `stability_patient`: features under perturbed contours, as another observer might draw them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline.errors import PatientError, RadiomicsError
from pipeline.radiomics.feature_table import Row, write_feature_table
from pipeline.radiomics.images import BoolArray, FeatureImage, Spacing, lesion_box, widened
from pipeline.radiomics.native_pet import FeatureSources
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
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.tables.status import data_and_machine_told_apart, stop_or_exclude

log = logging.getLogger(__name__)
UNCHANGED = "as drawn"


def perturbed(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> Iterator[tuple[str, BoolArray]]:
    """A contour as drawn, grown, shrunk, and moved both ways along each axis.

    Growing adds voxels whose centres lie within the distance of the contour's voxels; shrinking
    leaves voxels farther than the distance from voxels outside (Zwanenburg et al., Sci Rep
    2019;9:614, on perturbations in place of repeated contours). If the voxels are larger than
    the distance along all axes, the voxel size of the finest axis is used; a move is a whole
    number of voxels, at least one. Voxels that are moved out of the image are lost, and a mask
    without voxels is not yielded.

    Args:
        mask: Lesion (z, y, x), not empty.
        spacing_mm: Distance of voxel centres (z, y, x).
        by_mm: Distance.
    """
    yield UNCHANGED, mask
    yield "grown", _grown(mask, spacing_mm, by_mm)
    shrunk = _shrunk(mask, spacing_mm, by_mm)
    if shrunk.any():
        yield "shrunk", shrunk
    for axis, name in enumerate("zyx"):
        steps = max(1, round(by_mm / spacing_mm[axis]))
        for sign in (-1, 1):
            moved = _moved(mask, axis, sign * steps)
            if moved.any():
                yield f"moved {'+' if sign > 0 else '-'}{name}", moved


def _grown(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> BoolArray:
    from scipy import ndimage

    distance = max(by_mm, min(spacing_mm))
    reach = [int(distance / s) + 1 for s in spacing_mm]
    box = widened(lesion_box(mask), mask.shape, (reach[0], reach[1], reach[2]))
    grown = mask.copy()
    grown[box] = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm) <= distance
    return grown


def _shrunk(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> BoolArray:
    from scipy import ndimage

    distance = max(by_mm, min(spacing_mm))
    box = widened(lesion_box(mask), mask.shape, (1, 1, 1))
    shrunk = mask.copy()
    if not mask[box].all():
        shrunk[box] = ndimage.distance_transform_edt(mask[box], sampling=spacing_mm) > distance
    return shrunk


def _moved(mask: BoolArray, axis: int, steps: int) -> BoolArray:
    moved = np.zeros_like(mask)
    source, target = [slice(None)] * 3, [slice(None)] * 3
    source[axis] = slice(max(0, -steps), mask.shape[axis] - max(0, steps))
    target[axis] = slice(max(0, steps), mask.shape[axis] - max(0, -steps))
    moved[tuple(target)] = mask[tuple(source)]
    return moved


def perturbed_features(
    patient: PatientImages, feature_set: FeatureSet, settings: RadiomicsSettings
) -> list[Row]:
    """A patient's features under each perturbation of the manual contour.

    A perturbed contour for which no features can be computed (shrunk to less than a voxel of a
    coarser grid) is left out with a warning.

    Returns:
        A row per perturbation: `patient_id`, `perturbation`, the columns of the set and
        `pet_index_*`; none where the patient is excluded or has no contour.

    Raises:
        RadiomicsError: The images cannot be used even with the contour as drawn.
    """
    rows: list[Row] = []
    if patient.pet is None:
        return rows
    options = ExtractionOptions(settings, "manual", "stop")
    prepared_images(patient, feature_set, options)
    pet = patient.pet.image
    on_pet = dict(perturbed(pet.mask, pet.spacing_mm, settings.perturb_mm)) if pet.mask.any() else {}
    for name, masks in _perturbations(patient.images, settings.perturb_mm):
        images = {
            modality: replace(image, mask=masks[modality]) for modality, image in patient.images.items()
        }
        # Where nothing is left on the coarser voxels of the PET, only the PET metrics are missing.
        native = replace(pet, mask=on_pet.get(name, np.zeros_like(pet.mask)), shares=None)
        changed = replace(patient, images=images, pet=replace(patient.pet, image=native))
        try:
            features = patient_features(changed, feature_set, options)
        except RadiomicsError as error:
            if name == UNCHANGED:
                raise
            log.warning("patient %s, contour %s: %s", patient.patient_id, name, error)
            continue
        rows.append({"patient_id": patient.patient_id, "perturbation": name, **features.values})
    return rows


def _perturbations(
    images: Mapping[str, FeatureImage], by_mm: float
) -> Iterator[tuple[str, dict[str, BoolArray]]]:
    """Perturbations that leave a contour on every image: name, and masks by modality."""
    masks = {m: dict(perturbed(image.mask, image.spacing_mm, by_mm)) for m, image in images.items()}
    for name in next(iter(masks.values())):
        if all(name in of_image for of_image in masks.values()):
            yield name, {modality: of_image[name] for modality, of_image in masks.items()}


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
            patient = read_images(sources)
            status = patient.status
            rows = perturbed_features(patient, feature_set, settings)
    except PatientError as error:
        status = stop_or_exclude(error, sources.patient_id, EXCLUDED, policy)
    contour = f"perturbed by {settings.perturb_mm:g} mm"
    metadata = {
        b"status": asdict(status),
        b"settings_hash": settings_hash(settings, feature_set, contour),
    }
    write_feature_table(out, rows, {"patient_id": str, "perturbation": str}, feature_set, metadata)
