"""Where the tumour is: contours as masks on the grids of the images they were drawn on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.dicom.contours.roi import (
    Image,
    Kind,
    Mask,
    NoContourError,
    RoiMask,
    images_of,
    merge_rois,
    union,
)
from pipeline.dicom.contours.threshold_segmentation import RULES, draw_region, is_sphere
from pipeline.dicom.series.index_file import Index, files_of, of_role, read_index
from pipeline.errors import ContourError
from pipeline.settings.base import Policy
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Warnings, patient_stage, propagate_exclusion
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Volume

FILE = "contours.json"
CONVENTION = "a voxel is in the mask where more than half of its volume lies inside the contours"


@dataclass(frozen=True)
class ContourSources:
    """What a patient's masks are made from.

    Attributes:
        patient_id: The cohort table's name.
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
    with patient_stage("contours", sources.patient_id, out, policy) as warnings:
        index = read_index(sources.index) if sources.index is not None else None
        images = images_of(sources.convert, index)
        try:
            regions = _find(sources, index, images, settings)
        except NoContourError as error:
            if settings.required:
                raise
            warnings.tell(f"no contour: {error}")
            _write_report(out, {"contour": "none", "masks": {}}, warnings)
            return
        found = merge_rois(regions, warnings.tell, settings.same_roi)
        for region in [region for group in found.values() for region in group]:
            for note in region.notes:
                warnings.tell(note)
        masks = {kind: _write(out, kind, group, images[kind], settings) for kind, group in found.items()}
        drawn = all(group[0].source in RULES for group in found.values())
        content: dict[str, Any] = {"contour": "drawn" if drawn else "manual", "masks": masks}
        if settings.reference_roi:
            content["reference"] = _reference(sources, index, images, settings, warnings)
        _write_report(out, content, warnings)


def _reference(
    sources: ContourSources,
    index: Index | None,
    images: Mapping[Kind, Image],
    settings: ContourSettings,
    warnings: Warnings,
) -> dict[str, Any] | None:
    """SUV in the study's reference region; None, with a warning, where it is not drawn."""
    from pipeline.dicom.pet.reference_region import roi_reference

    plain = ContourSources("", sources.index, sources.convert, sources.suv, "", sources.folder)
    wanted = settings.model_copy(update={"roi": settings.reference_roi, "auto_segment": "none"})
    try:
        groups = merge_rois(_find(plain, index, images, wanted), warnings.tell, settings.same_roi)
    except NoContourError as error:
        warnings.tell(f"no reference region: {error.problem}")
        return None
    kind: Kind = "pet" if "pet" in groups else "ct"
    return roi_reference(sources.suv, groups[kind], images[kind])


def _find(
    sources: ContourSources, index: Index | None, images: Mapping[Kind, Image], settings: ContourSettings
) -> list[RoiMask]:
    """All regions that the patient's entry, or the study's patterns, name."""
    from pipeline.dicom.contours.mask_files import file_regions, folder_regions, is_mask_path

    entries = [entry.strip() for entry in sources.roi.split(";") if entry.strip()]
    folder = index.folder if index is not None else sources.folder or Path(".")
    if entries and all(is_mask_path(entry) for entry in entries):
        return file_regions(entries, folder, images)
    if entries and is_sphere(entries[0]):
        return [draw_region(sources.suv, entries[0], settings)]
    patterns = entries or list(settings.roi)
    try:
        if index is None:
            return folder_regions(folder, patterns, images)
        return _dicom_regions(index, patterns, images, settings)
    except NoContourError:
        if settings.auto_segment == "none" or settings.auto_segment_within != "image":
            raise
        return [draw_region(sources.suv, "", settings)]


def _dicom_regions(
    index: Index, patterns: Sequence[str], images: Mapping[Kind, Image], settings: ContourSettings
) -> list[RoiMask]:
    """Regions of the patient's RTSTRUCT and DICOM SEG objects."""
    from pipeline.dicom.contours.rtstruct_masks import structure_regions
    from pipeline.dicom.contours.seg_read import segment_regions

    regions: list[RoiMask] = []
    names: list[str] = []
    unused: list[str] = []
    for file in _files(index, "rtstruct"):
        found, available, reasons = structure_regions(file, patterns, images, settings)
        regions, names, unused = regions + found, names + available, unused + reasons
    for file in _files(index, "seg"):
        found, available, reasons = segment_regions(file, patterns, images)
        regions, names, unused = regions + found, names + available, unused + reasons
    if not regions:
        raise _nothing(index, patterns, names, unused)
    return regions


def _files(index: Index, role: Literal["rtstruct", "seg"]) -> list[tuple[Path, str]]:
    """Files in the order of series.json, with what messages call them: names may identify."""
    paths = [path for row in of_role(index, role) for path in files_of(index, row)]
    return [(path, f"{role.upper()} {n} of {len(paths)}") for n, path in enumerate(paths, start=1)]


def _nothing(
    index: Index, patterns: Sequence[str], names: Sequence[str], unused: Sequence[str]
) -> NoContourError:
    wanted = "an ROI named like " + " or ".join(patterns)
    if unused:
        return NoContourError("no contour can be used", expected=wanted, got="; ".join(unused))
    if names:
        listed = sorted(set(names), key=str.lower)
        return NoContourError(
            "no ROI has a name that fits",
            expected=wanted,
            got="ROIs " + ", ".join(map(repr, listed)),
            action="set contours.roi or the cohort table's roi to one of these names",
        )
    apart = sum(row.role in ("rtstruct", "seg") and not row.chosen for row in index.series)
    return NoContourError(
        "there is no RTSTRUCT and no DICOM SEG for these images",
        expected=wanted,
        got=f"{apart} that belong to other images" if apart else "none",
        action="add one, name a mask file in the cohort table's roi, or set contours.required: false",
    )


def _write(
    out: Path, kind: Kind, regions: Sequence[RoiMask], image: Image, settings: ContourSettings
) -> dict[str, Any]:
    """Write one image's mask; return its entry of the report."""
    from pipeline.volumes.margins import grow, ring

    mask = union(regions)
    if not mask.any():
        raise ContourError(
            f"the mask on the {kind.upper()} is empty",
            got="contours that fill no voxel by more than half",
            action="check the contours, or draw them on the finer image",
        )
    entry: dict[str, Any] = {"file": f"gtv_{kind}.nii.gz", "rois": []}
    for number, region in enumerate(regions, start=1):
        facts = _facts(region, image)
        if settings.keep_rois:
            facts["file"] = f"roi_{kind}_{number}.nii.gz"
            _write_mask(out / facts["file"], region.mask, image)
        entry["rois"].append(facts)
    if settings.margin_mm:
        mask = grow(mask, image.grid.spacing_mm, settings.margin_mm)
    if settings.shell_mm:
        mask = ring(mask, image.grid.spacing_mm, 0.0, settings.shell_mm)
    if not mask.any():
        raise ContourError(
            f"nothing of the mask on the {kind.upper()} is left after its margin",
            got=f"contours.margin_mm = {settings.margin_mm:g}",
            action="shrink it by less",
        )
    entry |= {"volume_mask_ml": _ml(mask, image), "voxels": int(mask.sum())}
    entry |= {"margin_mm": settings.margin_mm, "shell_mm": settings.shell_mm}
    _write_mask(out / entry["file"], mask, image)
    return entry


def _facts(region: RoiMask, image: Image) -> dict[str, Any]:
    return {
        "name": region.name,
        "source": region.source,
        "matched_by": region.matched_by,
        "voxels": int(region.mask.sum()),
        "volume_mask_ml": _ml(region.mask, image),
        **region.facts,
    }


def _ml(mask: Mask, image: Image) -> float:
    return round(float(mask.sum()) * image.grid.voxel_ml(), 4)


def _write_mask(path: Path, mask: Mask, image: Image) -> None:
    write_nifti(path, Volume(mask.astype(np.uint8), image.grid, "mask"))


def _write_report(out: Path, content: dict[str, Any], warnings: Warnings) -> None:
    text = json.dumps({**content, "convention": CONVENTION, "warnings": list(warnings)}, indent=2)
    (out / FILE).write_text(text + "\n", encoding="utf-8")
