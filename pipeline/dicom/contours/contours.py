"""A patient's contours as masks on the grids of the images they were drawn on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dicom.contours.class_labels import (
    LabelMask,
    Labels,
    label_mask,
    require_classes_on_one_image,
)
from pipeline.dicom.contours.find_rois import RoiSearch, find_class_rois, find_rois, patterns_of
from pipeline.dicom.contours.merge import MergedRois, merge_rois
from pipeline.dicom.contours.roi import (
    ImageSeries,
    Mask,
    Modality,
    NoContourError,
    RoiMask,
    converted_images,
    union_mask,
    union_shares,
)
from pipeline.dicom.contours.threshold_segmentation import METHODS
from pipeline.dicom.contours.united_rois import doubtful_unions
from pipeline.dicom.pet.reference_region import RoiReference, roi_reference
from pipeline.dicom.series.index_file import read_index
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

    Each mask lies on the grid of the image its contours were drawn on; with `contours.classes` its
    values are the classes' labels, 1, 2, … in their order. Without a contour and with
    `contours.required: false` there is no mask and the status is `warned`.

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
            find = find_class_rois if settings.classes else find_rois
            rois = merge_rois(find(patient, settings, warnings), settings.same_roi)
        except NoContourError as error:
            if settings.required:
                raise
            warnings.warn(f"no contour: {error}")
            _write_report(work.folder, {"contour": "none", "masks": {}}, warnings)
            return
        noted = [text for group in rois.by_image.values() for roi in group for text in roi.warnings]
        for text in (*rois.warnings, *noted, *_doubtful(rois, patient, settings)):
            warnings.warn(text)
        require_classes_on_one_image(rois.by_image, settings)
        masks = {}
        for modality, group in rois.by_image.items():
            labelled = label_mask(group, settings, patient.images[modality].grid)
            for text in labelled.warnings:
                warnings.warn(text)
            masks[modality] = _write_image_mask(work.folder, labelled, patient.images[modality], settings)
        automatic = all(group[0].source in METHODS for group in rois.by_image.values())
        content: dict[str, Any] = {"contour": "drawn" if automatic else "manual", "masks": masks}
        if settings.reference_roi:
            reference = _reference_region(patient, settings, warnings)
            content["reference"] = None if reference is None else asdict(reference)
        _write_report(work.folder, content, warnings)


def _patient(sources: ContourSources) -> RoiSearch:
    index = read_index(sources.index) if sources.index is not None else None
    folder = index.folder if index is not None else sources.folder or Path(".")
    return RoiSearch(sources.roi, index, converted_images(sources.convert, index), sources.suv, folder)


def _reference_region(
    patient: RoiSearch, settings: ContourSettings, warnings: Warnings
) -> RoiReference | None:
    """SUV in the study's reference region; None, with a warning, where it is not drawn."""
    wanted = settings.model_copy(update={"roi": settings.reference_roi, "auto_segment": "none"})
    try:
        rois = merge_rois(find_rois(replace(patient, roi=""), wanted, warnings), settings.same_roi)
    except NoContourError as error:
        warnings.warn(f"no reference region: {error.problem}")
        return None
    for text in rois.warnings:
        warnings.warn(text)
    modality: Modality = "pet" if "pet" in rois.by_image else "ct"
    group = rois.by_image[modality]
    names = tuple(roi.label for roi in group)
    if len(group) > 1:
        warnings.warn(f"the reference region unites {', '.join(map(repr, names))} (contours.reference_roi)")
    return roi_reference(patient.suv, names, union_mask(group), patient.images[modality].grid)


def _doubtful(rois: MergedRois, patient: RoiSearch, settings: ContourSettings) -> list[str]:
    """Warnings of unions, within each class where the study has classes."""
    patterns = patterns_of(patient, settings)
    doubtful = [
        text
        for group in rois.by_image.values()
        for name, names in patterns.items()
        for text in doubtful_unions([roi for roi in group if roi.mask_class == name], names)
    ]
    return list(dict.fromkeys(doubtful))


def _empty(labelled: LabelMask, modality: Modality) -> ContourError:
    """Why a mask is empty: contours too small for the voxels, or ones that cancel each other."""
    problem = f"the mask on the {modality.upper()} is empty"
    if all(roi.source == "seg" for roi in labelled.rois):
        return ContourError(
            problem,
            where="(7FE0,0010) Pixel Data of the DICOM SEG",
            expected="marked pixels; in a fractional one above half of (0062,000E) Maximum Fractional Value",
            got="none in " + ", ".join(repr(roi.label) for roi in labelled.rois),
            action="export the segmentation again",
        )
    hollow = sum(int(roi.facts.get("hollow_planes", 0)) for roi in labelled.rois)
    if not hollow:
        return ContourError(
            problem,
            got="contours that fill no voxel by more than half",
            action="check the contours, or draw them on the finer image",
        )
    return ContourError(
        problem,
        where="(3006,0050) Contour Data",
        expected="each outline once: a contour inside another is a hole",
        got=f"contours of one plane that cancel each other, on {hollow} planes",
        action="export the structure again: it is stored twice, a little apart",
    )


def _write_image_mask(
    out: Path, labelled: LabelMask, image: ImageSeries, settings: ContourSettings
) -> dict[str, Any]:
    """Write one image's mask; return its entry of the report."""
    rois, labels = labelled.rois, labelled.labels
    modality = rois[0].match.modality
    if not labels.any():
        raise _empty(labelled, modality)
    entry: dict[str, Any] = {"file": f"gtv_{modality}.nii.gz", "rois": []}
    for number, roi in enumerate(rois, start=1):
        facts = _facts(roi, image)
        if settings.keep_rois:
            facts["file"] = f"roi_{modality}_{number}.nii.gz"
            _write_mask(out / facts["file"], roi.mask, image)
        entry["rois"].append(facts)
    if settings.partial_volume:
        entry |= _write_shares(out, rois, image)
    if settings.classes:
        entry["classes"] = _class_facts(labels, image, settings)
    else:
        labels = _with_margins(labels > 0, modality, image, settings).astype(np.uint8)
    entry |= {"volume_mask_ml": _ml(labels > 0, image), "voxels": int((labels > 0).sum())}
    entry |= {"margin_mm": settings.margin_mm, "shell_mm": settings.shell_mm}
    _write_mask(out / entry["file"], labels, image)
    return entry


def _class_facts(labels: Labels, image: ImageSeries, settings: ContourSettings) -> list[dict[str, Any]]:
    """Name, label and volume of each class, in the order of labels; of absent ones too."""
    masks = {name: labels == label for label, name in enumerate(settings.class_names(), start=1)}
    return [
        {"name": name, "label": label, "voxels": int(mask.sum()), "volume_mask_ml": _ml(mask, image)}
        for label, (name, mask) in enumerate(masks.items(), start=1)
    ]


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
        **({"class": roi.mask_class} if roi.mask_class else {}),
        "source": roi.source,
        "matched_by": roi.match.matched_by,
        "voxels": int(roi.mask.sum()),
        "volume_mask_ml": _ml(roi.mask, image),
        **roi.facts,
    }


def _ml(mask: Mask, image: ImageSeries) -> float:
    return round(float(mask.sum()) * image.grid.voxel_ml(), 4)


def _write_mask(path: Path, mask: Mask | Labels, image: ImageSeries) -> None:
    write_nifti(path, Volume(mask.astype(np.uint8), image.grid, "mask"))


def _write_report(out: Path, content: dict[str, Any], warnings: Warnings) -> None:
    text = json.dumps({**content, "convention": CONVENTION, "warnings": list(warnings)}, indent=2)
    (out / FILE).write_text(text + "\n", encoding="utf-8")
