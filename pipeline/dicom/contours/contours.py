"""A patient's contours as masks on the grids of the images they were drawn on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.dicom.contours.mask_files import is_mask_path, matching_masks, named_masks
from pipeline.dicom.contours.merge import drawn_on_one_image, merge_rois
from pipeline.dicom.contours.roi import (
    LEFT_OUT,
    ContourFile,
    FileRois,
    ImageSeries,
    Mask,
    Modality,
    NoContourError,
    RoiMask,
    converted_images,
    union_mask,
    union_shares,
)
from pipeline.dicom.contours.rtstruct_masks import rtstruct_rois
from pipeline.dicom.contours.seg_read import seg_rois
from pipeline.dicom.contours.threshold_segmentation import METHODS, is_seed_sphere, segmented_roi
from pipeline.dicom.contours.united_rois import doubtful_unions
from pipeline.dicom.pet.reference_region import RoiReference, roi_reference
from pipeline.dicom.series.index_file import Index, files_of, of_role, read_index
from pipeline.errors import ContourError
from pipeline.settings.base import Policy
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Warnings, patient_stage, propagate_exclusion, read_whole
from pipeline.volumes.margins import grow, shell
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Volume

FILE = "contours.json"
CONVENTION = "a voxel is in the mask where more than half of its volume lies inside the contours"


@dataclass(frozen=True)
class ContourSources:
    """What a patient's masks are made from.

    Attributes:
        patient_id: The patient, as the cohort table names him.
        index: Folder of the patient's index (series.json); None: a NIfTI patient.
        convert: Folder with `ct_hu.nii.gz` and `pet_stored.nii.gz`.
        suv: Folder with the SUV image; its status says whether the patient is still in.
        roi: The cohort table's entry: patterns of ROI names, mask files or `sphere(x, y, z, r)`,
            several joined by `;`; empty: the study's patterns.
        folder: The patient's folder, which mask paths start from; needed where there is no index.
    """

    patient_id: str
    index: Path | None
    convert: Path
    suv: Path
    roi: str = ""
    folder: Path | None = None


def contours_patient(sources: ContourSources, out: Path, settings: ContourSettings, policy: Policy) -> None:
    """Write `gtv_ct.nii.gz` and/or `gtv_pet.nii.gz` (uint8, 1 = tumour) and `contours.json`.

    Each mask lies on the grid of the image its contours were drawn on. Without a contour and
    with `contours.required: false` there is no mask and the status is `warned`.

    Raises:
        ContourError: (policy `stop`) no contour although one is required, or one that is
            ambiguous, damaged or outside its image.
        GeometryError: (policy `stop`) a mask that shares neither image's grid.
    """
    if propagate_exclusion(sources.suv, out):
        return
    for folder in filter(None, (sources.index, sources.convert)):
        read_whole(folder)
    with patient_stage("contours", sources.patient_id, out, policy) as work:
        warnings = work.warnings
        patient = _patient(sources)
        try:
            rois = merge_rois(_find_rois(patient, settings, warnings), settings.same_roi)
        except NoContourError as error:
            if settings.required:
                raise
            warnings.warn(f"no contour: {error}")
            _write_report(work.folder, {"contour": "none", "masks": {}}, warnings)
            return
        noted = [text for group in rois.by_image.values() for roi in group for text in roi.warnings]
        patterns = _patterns(patient, settings)
        doubtful = [text for group in rois.by_image.values() for text in doubtful_unions(group, patterns)]
        for text in (*rois.warnings, *noted, *dict.fromkeys(doubtful)):
            warnings.warn(text)
        masks = {
            modality: _write_image_mask(work.folder, group, patient.images[modality], settings)
            for modality, group in rois.by_image.items()
        }
        automatic = all(group[0].source in METHODS for group in rois.by_image.values())
        content: dict[str, Any] = {"contour": "drawn" if automatic else "manual", "masks": masks}
        if settings.reference_roi:
            reference = _reference_region(patient, settings, warnings)
            content["reference"] = None if reference is None else asdict(reference)
        _write_report(work.folder, content, warnings)


@dataclass(frozen=True)
class _Patient:
    """What a patient's ROIs are looked for in.

    Attributes:
        roi: The cohort table's entry.
        index: The patient's series; None: a NIfTI patient.
        images: The converted images.
        suv: Folder with the SUV image.
        folder: Where the paths of mask files start from.
    """

    roi: str
    index: Index | None
    images: Mapping[Modality, ImageSeries]
    suv: Path
    folder: Path


def _patient(sources: ContourSources) -> _Patient:
    index = read_index(sources.index) if sources.index is not None else None
    folder = index.folder if index is not None else sources.folder or Path(".")
    return _Patient(sources.roi, index, converted_images(sources.convert, index), sources.suv, folder)


def _reference_region(
    patient: _Patient, settings: ContourSettings, warnings: Warnings
) -> RoiReference | None:
    """SUV in the study's reference region; None, with a warning, where it is not drawn."""
    wanted = settings.model_copy(update={"roi": settings.reference_roi, "auto_segment": "none"})
    try:
        rois = merge_rois(_find_rois(replace(patient, roi=""), wanted, warnings), settings.same_roi)
    except NoContourError as error:
        warnings.warn(f"no reference region: {error.problem}")
        return None
    for text in rois.warnings:
        warnings.warn(text)
    modality: Modality = "pet" if "pet" in rois.by_image else "ct"
    group = rois.by_image[modality]
    names = tuple(roi.label for roi in group)
    return roi_reference(patient.suv, names, union_mask(group), patient.images[modality].grid)


def _patterns(patient: _Patient, settings: ContourSettings) -> list[str]:
    """The patient's entry of the cohort table, part by part, or the study's patterns."""
    return [entry.strip() for entry in patient.roi.split(";") if entry.strip()] or list(settings.roi)


def _find_rois(patient: _Patient, settings: ContourSettings, warnings: Warnings) -> Sequence[RoiMask]:
    """All ROIs that the patient's entry, or the study's patterns, name; warns of those that aren't used."""
    entries = [entry.strip() for entry in patient.roi.split(";") if entry.strip()]
    if entries and all(is_mask_path(entry) for entry in entries):
        return named_masks(entries, patient.folder, patient.images, settings.free_text)
    if entries and is_seed_sphere(entries[0]):
        return [segmented_roi(patient.suv, entries[0], settings)]
    patterns = entries or list(settings.roi)
    try:
        if patient.index is None:
            return matching_masks(patient.folder, patterns, patient.images, settings.free_text)
        rois = _dicom_rois(patient.index, patterns, patient.images, settings)
    except NoContourError:
        if settings.auto_segment == "none" or settings.auto_segment_within != "image":
            raise
        return [segmented_roi(patient.suv, "", settings)]
    own = drawn_on_one_image(rois.masks)
    used = {id(roi) for roi in own}
    left_out = tuple(
        f"ROI {roi.label!r} of {roi.file_label} {LEFT_OUT}" for roi in rois.masks if id(roi) not in used
    )
    for text in (*rois.unused, *left_out):
        warnings.warn(text)
    return own


def _dicom_rois(
    index: Index,
    patterns: Sequence[str],
    images: Mapping[Modality, ImageSeries],
    settings: ContourSettings,
) -> FileRois:
    """ROIs of the patient's RTSTRUCT and DICOM SEG objects."""
    structure_sets = [rtstruct_rois(f, patterns, images, settings) for f in _files(index, "rtstruct")]
    segmentations = [seg_rois(file, patterns, images, settings) for file in _files(index, "seg")]
    rois = FileRois.joined([*structure_sets, *segmentations])
    if not rois.masks:
        raise _no_roi(index, patterns, rois)
    return rois


def _files(index: Index, role: Literal["rtstruct", "seg"]) -> list[ContourFile]:
    """Files in the order of series.json."""
    paths = [path for row in of_role(index, role) for path in files_of(index, row)]
    return [
        ContourFile(path, f"{role.upper()} {number} of {len(paths)}")
        for number, path in enumerate(paths, start=1)
    ]


def _no_roi(index: Index, patterns: Sequence[str], rois: FileRois) -> NoContourError:
    wanted = "an ROI named like " + " or ".join(patterns)
    if rois.unused:
        return NoContourError("no contour can be used", expected=wanted, got="; ".join(rois.unused))
    if rois.names:
        listed = sorted(set(rois.names), key=str.lower)
        return NoContourError(
            "no ROI has a name that fits",
            expected=wanted,
            got="ROIs " + ", ".join(map(repr, listed)),
            action="set contours.roi or the cohort table's roi to one of these names",
        )
    other = sum(row.role in ("rtstruct", "seg") and not row.chosen for row in index.series)
    return NoContourError(
        "there is no RTSTRUCT and no DICOM SEG for these images",
        expected=wanted,
        got=f"{other} that belong to other images" if other else "none",
        action="add one, name a mask file in the cohort table's roi, or set contours.required: false",
    )


def _write_image_mask(
    out: Path, rois: Sequence[RoiMask], image: ImageSeries, settings: ContourSettings
) -> dict[str, Any]:
    """Write one image's mask; return its entry of the report."""
    modality = rois[0].match.modality
    mask = union_mask(rois)
    if not mask.any():
        raise ContourError(
            f"the mask on the {modality.upper()} is empty",
            got="contours that fill no voxel by more than half",
            action="check the contours, or draw them on the finer image",
        )
    entry: dict[str, Any] = {"file": f"gtv_{modality}.nii.gz", "rois": []}
    for number, roi in enumerate(rois, start=1):
        facts = _facts(roi, image)
        if settings.keep_rois:
            facts["file"] = f"roi_{modality}_{number}.nii.gz"
            _write_mask(out / facts["file"], roi.mask, image)
        entry["rois"].append(facts)
    if settings.partial_volume:
        entry |= _write_shares(out, rois, image)
    mask = _with_margins(mask, modality, image, settings)
    entry |= {"volume_mask_ml": _ml(mask, image), "voxels": int(mask.sum())}
    entry |= {"margin_mm": settings.margin_mm, "shell_mm": settings.shell_mm}
    _write_mask(out / entry["file"], mask, image)
    return entry


def _write_shares(out: Path, rois: Sequence[RoiMask], image: ImageSeries) -> dict[str, Any]:
    """Write the shares of voxels inside the contours; return their part of the report."""
    shares = union_shares(rois)
    name = f"gtv_{rois[0].match.modality}_share.nii.gz"
    write_nifti(out / name, Volume(shares, image.grid, "other"))
    volume = float(shares.sum(dtype=np.float64)) * image.grid.voxel_ml()
    return {"share_file": name, "volume_share_ml": round(volume, 4)}


def _with_margins(mask: Mask, modality: Modality, image: ImageSeries, settings: ContourSettings) -> Mask:
    if settings.margin_mm:
        mask = grow(mask, image.grid.spacing_mm, settings.margin_mm)
    if settings.shell_mm:
        mask = shell(mask, image.grid.spacing_mm, 0.0, settings.shell_mm)
    if not mask.any():
        raise ContourError(
            f"nothing of the mask on the {modality.upper()} is left after its margin",
            got=f"contours.margin_mm = {settings.margin_mm:g}",
            action="shrink it by less",
        )
    return mask


def _facts(roi: RoiMask, image: ImageSeries) -> dict[str, Any]:
    return {
        "name": roi.label,
        "source": roi.source,
        "matched_by": roi.match.matched_by,
        "voxels": int(roi.mask.sum()),
        "volume_mask_ml": _ml(roi.mask, image),
        **roi.facts,
    }


def _ml(mask: Mask, image: ImageSeries) -> float:
    return round(float(mask.sum()) * image.grid.voxel_ml(), 4)


def _write_mask(path: Path, mask: Mask, image: ImageSeries) -> None:
    write_nifti(path, Volume(mask.astype(np.uint8), image.grid, "mask"))


def _write_report(out: Path, content: dict[str, Any], warnings: Warnings) -> None:
    text = json.dumps({**content, "convention": CONVENTION, "warnings": list(warnings)}, indent=2)
    (out / FILE).write_text(text + "\n", encoding="utf-8")
