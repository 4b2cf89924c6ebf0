"""What a patient's viewer holds: the crop or the whole scan, with contours and, where it was explained, saliency."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report import slices
from pipeline.report.job import ReportJob
from pipeline.report.mask_classes import Labels
from pipeline.report.patient_volumes import ViewedCrop
from pipeline.report.slices import Example
from pipeline.store.crops import Crop
from pipeline.volumes.grids import coarse_grid, sub_grid
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.resample import Sampling, resample
from pipeline.volumes.resample_masks import resample_labels
from pipeline.volumes.stage_files import read_suv
from pipeline.volumes.transform import inverse, pet_matrix
from pipeline.volumes.volume import FloatArray, Grid, Volume

SALIENCY = "saliency"
WHOLE_SCAN_MM = 3.0
"""Voxels of the whole scan in the viewer; larger ones where the file would be too large."""
AIR_HU = -1024.0


def viewed_volumes(job: ReportJob, crop: Crop, example: Example) -> ViewedCrop | None:
    """The volumes of a patient's viewer; None where the study has none, or the image is a single slice.

    Args:
        job: The study; `report.viewer` decides between crop and whole scan.
        crop: The patient's crop.
        example: The same without its margin, with the predicted contour.
    """
    if job.settings.report.viewer == "off" or crop.image.shape[1] == 1:
        return None
    inner = slices.without_margin(crop.image.shape[1:], crop.attributes.margin)
    grid = sub_grid(crop.attributes.grid(crop.image.shape), (inner[0], inner[1], inner[2]))
    images = {name: image for name, image in example.images.items() if name in ("ct", "pet")}
    if not images:
        return None
    if (
        saliency := saliency_of(job, crop.attributes.patient_id)
    ) is not None and saliency.shape == grid.shape:
        images[SALIENCY] = saliency
    masks = {"manual": example.manual, "predicted": example.predicted}
    drawn = {name: labels for name, labels in masks.items() if labels is not None and labels.any()}
    seen = ViewedCrop(images, drawn, grid, slices.focus(example))
    return seen if job.settings.report.viewer == "crop" else whole_scan(job, crop, seen)


def saliency_of(job: ReportJob, patient_id: str) -> npt.NDArray[np.float32] | None:
    """The first map (its size, without sign) of the first network that explained a patient, from 0 to 1; else None."""
    for model in job.settings.explain.models:
        path = job.results / "explain" / model / f"{patient_id}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as maps:
                values = np.abs(np.asarray(maps[maps.files[0]], dtype=np.float32))
            return np.asarray(values / max(float(values.max()), 1e-12), dtype=np.float32)
    return None


def whole_scan(job: ReportJob, crop: Crop, seen: ViewedCrop) -> ViewedCrop:
    """The patient's whole images in scanner coordinates, with what the crop holds moved back to them.

    Args:
        job: The study, whose stages `convert`, `suv`, `contours` and `registration` are read.
        crop: The crop, which says where it lies in the patient.
        seen: What the viewer would hold of the crop.
    """
    patient_id = crop.attributes.patient_id
    stage = {name: job.results / name / patient_id for name in ("convert", "suv", "registration")}
    natives: dict[str, tuple[Volume, FloatArray]] = {}
    if "ct" in seen.images:
        natives["ct"] = (read_nifti(stage["convert"] / "ct_hu.nii.gz", "ct_hu"), np.eye(4))
    if "pet" in seen.images:
        natives["pet"] = (read_suv(stage["suv"]), pet_matrix(stage["convert"], stage["registration"]))
    first = next(iter(natives.values()))[0].grid
    grid = coarse_grid(first, max(WHOLE_SCAN_MM, min(first.spacing_mm)))
    images: dict[str, npt.NDArray[Any]] = {
        name: resample(volume, grid, matrix, Sampling("linear", AIR_HU if name == "ct" else 0.0))
        for name, (volume, matrix) in natives.items()
    }
    to_crop = inverse(np.asarray(crop.attributes.transform, dtype=np.float64))
    if SALIENCY in seen.images:
        images[SALIENCY] = resample(_volume(seen, SALIENCY), grid, to_crop, Sampling("linear", 0.0))
    masks = {name: _moved(labels, seen.grid, grid, to_crop) for name, labels in seen.masks.items()}
    point = crop.attributes.scanner_points([np.add(seen.focus, crop.attributes.margin)], crop.image.shape)
    z, y, x = (int(v) for v in np.clip(np.rint(grid.indices(point)[0]), 0, np.array(grid.shape) - 1))
    return ViewedCrop(images, masks, grid, (z, y, x))


def _volume(seen: ViewedCrop, name: str) -> Volume:
    return Volume(seen.images[name], seen.grid)


def _moved(labels: Labels, grid: Grid, target: Grid, to_crop: FloatArray) -> Labels:
    """Labels of the crop on the grid of the whole scan."""
    return resample_labels(Volume(labels.astype(np.uint8), grid, "mask"), target, to_crop, "nearest")
