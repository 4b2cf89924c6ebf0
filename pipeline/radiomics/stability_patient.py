"""Features under perturbed contours: what another observer might have drawn."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pipeline.errors import PatientError, RadiomicsError
from pipeline.radiomics.images import BoolArray, FeatureImage, Spacing, lesion_box, widened
from pipeline.radiomics.pet_metrics import INDEX_COLUMNS
from pipeline.radiomics.radiomics_patient import EXCLUDED, Wanted, patient_features, prepared, require_images
from pipeline.radiomics.sets import feature_columns, load_feature_set, settings_hash
from pipeline.radiomics.sources import NativeSources, PatientImages, read_images
from pipeline.settings.base import Policy
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.tables.status import data_and_machine_told_apart, stop_or_exclude

log = logging.getLogger(__name__)
UNCHANGED = "as drawn"


def perturbed(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> Iterator[tuple[str, BoolArray]]:
    """A contour as drawn, grown, shrunk, and moved both ways along each axis.

    Growing takes voxels whose centres lie within the distance of the contour's voxels,
    shrinking leaves those farther than the distance from voxels outside (Zwanenburg et al.,
    Sci Rep 2019;9:614, on perturbation in place of repeated contours). Where all
    axes' voxels are larger than the distance, one voxel of the finest axis is taken; a move is
    a whole number of voxels, at least one. What is moved out of the image is lost;
    a mask that nothing is left of is not yielded.

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
    images: PatientImages, feature_set: FeatureSet, settings: RadiomicsSettings
) -> list[dict[str, float | str]]:
    """A patient's features under each perturbation of the manual contour.

    A perturbed contour that no features can be taken from (shrunk to less than a voxel of a
    coarser grid) is left out, and told.

    Returns:
        A row per perturbation: `patient_id`, `perturbation`, the set's columns and
        `pet_index_*`; none where the patient is excluded or has no contour.

    Raises:
        RadiomicsError: The images cannot be used even with the contour as drawn.
    """
    rows: list[dict[str, float | str]] = []
    if not images.contour:
        return rows
    wanted = Wanted(settings, "manual", "stop")
    prepared(images, feature_set, wanted)
    for name, masks in _perturbations(images.pictures, settings.perturb_mm):
        changed = {m: replace(p, mask=masks[m]) for m, p in images.pictures.items()}
        try:
            values, _ = patient_features(replace(images, pictures=changed), feature_set, wanted)
        except RadiomicsError as error:
            if name == UNCHANGED:
                raise
            log.warning("patient %s, contour %s: %s", images.patient_id, name, error)
            continue
        rows.append({"patient_id": images.patient_id, "perturbation": name, **values})
    return rows


def _perturbations(
    pictures: Mapping[str, FeatureImage], by_mm: float
) -> Iterator[tuple[str, dict[str, BoolArray]]]:
    """Perturbations that every picture's contour survives."""
    found = {m: dict(perturbed(p.mask, p.spacing_mm, by_mm)) for m, p in pictures.items()}
    first = next(iter(found.values()))
    for name in first:
        if all(name in masks for masks in found.values()):
            yield name, {modality: masks[name] for modality, masks in found.items()}


def stability_patient(
    source: Path | NativeSources, out: Path, settings: RadiomicsSettings, policy: Policy
) -> None:
    """Write a patient's features under perturbed contours: parquet, a row per perturbation.

    Patients excluded before or here, or without a contour, get no rows. The schema's metadata
    holds `settings_hash` and `status`.

    Args:
        source: Zarr store of the crop stage, or the native volumes.
        out: Parquet file.
        settings: The study's radiomics section.
        policy: What a patient does whose features cannot be computed.

    Raises:
        RadiomicsError: With policy `stop`: the images cannot be used.
        SettingsError: The study asks for the other kind of images.
    """
    require_images(settings, source)
    feature_set = load_feature_set(settings)
    rows: list[dict[str, float | str]] = []
    try:
        with data_and_machine_told_apart():
            images = read_images(source)
            status = images.status
            rows = perturbed_features(images, feature_set, settings)
    except PatientError as error:
        status = stop_or_exclude(error, out.stem, EXCLUDED, policy)
    _write(
        out, rows, feature_set, {b"status": asdict(status), b"settings_hash": _hash(settings, feature_set)}
    )


def _hash(settings: RadiomicsSettings, feature_set: FeatureSet) -> str:
    return settings_hash(settings, feature_set, f"perturbed by {settings.perturb_mm:g} mm")


def _write(
    out: Path,
    rows: list[dict[str, float | str]],
    feature_set: FeatureSet,
    metadata: Mapping[bytes, object],
) -> None:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field(name, pa.string()) for name in ("patient_id", "perturbation")]
    fields += [pa.field(name, pa.float64()) for name in feature_columns(feature_set) + INDEX_COLUMNS]
    schema = pa.schema(fields, metadata={key: json.dumps(value) for key, value in metadata.items()})
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)
