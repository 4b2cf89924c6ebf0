"""Where a patient's ROIs are looked for, and by which names: the cohort table's entry or the study's patterns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.dicom.contours.mask_files import is_mask_path, matching_masks, named_masks
from pipeline.dicom.contours.merge import drawn_on_one_image
from pipeline.dicom.contours.roi import (
    LEFT_OUT,
    UNNAMED_LEFT_OUT,
    ContourFile,
    FileRois,
    ImageSeries,
    Modality,
    NoContourError,
    RoiMask,
)
from pipeline.dicom.contours.rtstruct_masks import rtstruct_rois
from pipeline.dicom.contours.seg_read import seg_rois
from pipeline.dicom.contours.threshold_segmentation import is_seed_sphere, segmented_roi
from pipeline.dicom.series.index_file import Index, files_of, of_role
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Warnings

_OF_CLASS = re.compile(r"^([a-z][a-z0-9_]*)\s*=\s*(.+)$")
"""Part of the cohort table's `roi` in a study with classes: `gtvp=GTV 1`."""


@dataclass(frozen=True)
class RoiSearch:
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

    def entries(self) -> list[str]:
        """The parts of the cohort table's entry."""
        return [entry.strip() for entry in self.roi.split(";") if entry.strip()]


def patterns_of(patient: RoiSearch, settings: ContourSettings) -> dict[str, list[str]]:
    """Class → patterns of its ROI names, the patient's or else the study's; the class is empty without classes.

    Raises:
        ContourError: The study has classes, and the patient's entry does not say which one a pattern is of.
    """
    entries = patient.entries()
    if not settings.classes:
        return {"": entries or list(settings.roi)}
    if settings.class_values():
        return {name: entries or list(settings.roi) for name in settings.classes}
    patterns = {name: list(of_class) for name, of_class in settings.class_patterns().items()}
    own: dict[str, list[str]] = {}
    for entry in entries:
        match = _OF_CLASS.match(entry)
        if match is None or match[1] not in patterns or is_mask_path(match[2]):
            raise ContourError(
                "an entry of roi does not say which class it is of",
                where="the cohort table's roi",
                expected="; ".join(f"{name}=pattern" for name in patterns),
                got=repr(entry),
                action="name classes and patterns of ROI names so, or leave roi blank and set contours.classes",
            )
        own.setdefault(match[1], []).append(match[2])
    # A patient with an entry has the classes that it names, and no others.
    return {name: own.get(name, []) for name in patterns} if own else patterns


def find_rois(patient: RoiSearch, settings: ContourSettings, warnings: Warnings) -> Sequence[RoiMask]:
    """All ROIs that the patient's entry, or the study's patterns, name; warns of those that aren't used."""
    entries = patient.entries()
    if entries and all(is_mask_path(entry) for entry in entries):
        return named_masks(entries, patient.folder, patient.images, settings.free_text)
    if entries and is_seed_sphere(entries[0]):
        return [segmented_roi(patient.suv, entries[0], settings)]
    patterns = entries or list(settings.roi)
    try:
        if patient.index is None:
            return matching_masks(patient.folder, patterns, patient.images, settings.free_text)
        rois = _dicom_rois(patient.index, patterns, patient.images, settings)
        if not rois.masks:
            raise _no_roi(patient.index, patterns, rois)
    except NoContourError:
        if settings.auto_segment == "none" or settings.auto_segment_within != "image":
            raise
        return [segmented_roi(patient.suv, "", settings)]
    return _on_one_image(rois, warnings)


def find_class_rois(patient: RoiSearch, settings: ContourSettings, warnings: Warnings) -> Sequence[RoiMask]:
    """The ROIs of every class of the study, each marked with its class.

    A class without a contour is absent in the patient: with a warning where it was looked for by name, since
    the ROI may have another one.

    Raises:
        NoContourError: No class has a contour.
        ContourError: A class has contours that cannot be used, or two classes name one ROI.
    """
    if settings.class_values():
        return _valued_rois(patient, settings)
    rois, absent = FileRois(), dict[str, NoContourError]()
    for name, patterns in patterns_of(patient, settings).items():
        try:
            of_class = _rois_named(patient, patterns, settings) if patterns else FileRois()
        except NoContourError as error:
            absent[name] = error
            continue
        rois = FileRois.joined([rois, _of_class(of_class, name)])
    if not rois.masks:
        raise _no_class(absent)
    _require_one_class_each(rois.masks)
    for name, reason in absent.items():
        if reason.problem == UNUSABLE:
            raise ContourError(
                f"the contours of class {name} cannot be used, while those of others can",
                expected=reason.expected,
                got=reason.got,
                action="correct them, or name other ROIs in contours.classes",
            )
        warnings.warn(f"class {name}: {reason.problem} ({reason.expected}); the patient counts as without it")
    return _on_one_image(rois, warnings)


def _of_class(rois: FileRois, name: str) -> FileRois:
    return replace(rois, masks=tuple(replace(roi, mask_class=name) for roi in rois.masks))


def _valued_rois(patient: RoiSearch, settings: ContourSettings) -> Sequence[RoiMask]:
    """Regions of mask files by the values of the classes."""
    entries, values = patient.entries(), settings.class_values()
    if entries and all(is_mask_path(entry) for entry in entries):
        return named_masks(entries, patient.folder, patient.images, settings.free_text, values)
    if patient.index is None and not (entries and is_seed_sphere(entries[0])):
        patterns = entries or list(settings.roi)
        return matching_masks(patient.folder, patterns, patient.images, settings.free_text, values)
    kind = ContourError if entries else NoContourError
    raise kind(
        "classes are named by the values of mask files, and there is none",
        where="the cohort table's roi",
        expected="the path of a mask file",
        got=repr(patient.roi) if entries else "nothing",
        action="name the mask file, or name classes by patterns of ROI names in contours.classes",
    )


def _rois_named(patient: RoiSearch, patterns: Sequence[str], settings: ContourSettings) -> FileRois:
    """ROIs whose names match, of whatever kind of files the patient has.

    Raises:
        NoContourError: There is none.
    """
    if patient.index is None:
        masks = matching_masks(patient.folder, patterns, patient.images, settings.free_text)
        return FileRois(tuple(masks))
    rois = _dicom_rois(patient.index, patterns, patient.images, settings)
    if not rois.masks:
        raise _no_roi(patient.index, patterns, rois)
    return rois


def _require_one_class_each(rois: Sequence[RoiMask]) -> None:
    """Refuse an ROI that the patterns of two classes name."""
    classes: dict[tuple[str, str], str] = {}
    for roi in rois:
        first = classes.setdefault((roi.file_label, roi.name), roi.mask_class)
        if first != roi.mask_class:
            raise ContourError(
                f"the ROI {roi.label!r} fits the patterns of two classes",
                where="contours.classes",
                expected="each ROI in one class",
                got=f"{first} and {roi.mask_class}",
                action="write narrower patterns",
            )


def _on_one_image(rois: FileRois, warnings: Warnings) -> Sequence[RoiMask]:
    """The ROIs of the images in use; warns of those that are left out.

    Raises:
        ContourError: Nothing of a class is left.
    """
    own = drawn_on_one_image(rois.masks)
    used = {id(roi) for roi in own}
    left_out = tuple(
        f"ROI {roi.label!r} of {roi.file_label} {LEFT_OUT if roi.match.drawn_elsewhere else UNNAMED_LEFT_OUT}"
        for roi in rois.masks
        if id(roi) not in used
    )
    if lost := {roi.mask_class for roi in rois.masks} - {roi.mask_class for roi in own}:
        raise ContourError(
            f"the contours of class {min(lost)} cannot be used, while those of others can",
            expected="contours of all classes that name the image they were drawn on",
            got="; ".join(left_out),
            action="correct them, or name other ROIs in contours.classes",
        )
    for text in dict.fromkeys((*rois.unused, *left_out)):
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
    return FileRois.joined([*structure_sets, *segmentations])


def _files(index: Index, role: Literal["rtstruct", "seg"]) -> list[ContourFile]:
    """Files in the order of series.json."""
    paths = [path for row in of_role(index, role) for path in files_of(index, row)]
    return [
        ContourFile(path, f"{role.upper()} {number} of {len(paths)}")
        for number, path in enumerate(paths, start=1)
    ]


UNUSABLE = "no contour can be used"


def _no_roi(index: Index, patterns: Sequence[str], rois: FileRois) -> NoContourError:
    wanted = "an ROI named like " + " or ".join(patterns)
    if rois.unused:
        return NoContourError(UNUSABLE, expected=wanted, got="; ".join(rois.unused))
    if rois.names:
        listed = sorted(set(rois.names), key=str.lower)
        return NoContourError(
            "no ROI has a name that fits",
            expected=wanted,
            got="ROIs " + ", ".join(map(repr, listed)),
            action="set contours.roi or the cohort table's roi to one of these names",
        )
    other = [row for row in index.series if row.role in ("rtstruct", "seg") and not row.chosen]
    unnamed = sum(not row.references and not row.frame_of_reference_uid for row in other)
    found = {"that belong to other images": len(other) - unnamed, "that name no image and no frame": unnamed}
    return NoContourError(
        "there is no RTSTRUCT and no DICOM SEG for these images",
        expected=wanted,
        got=", ".join(f"{count} {which}" for which, count in found.items() if count) or "none",
        action="add one, name a mask file in the cohort table's roi, or set contours.required: false",
    )


def _no_class(absent: Mapping[str, NoContourError]) -> NoContourError:
    """No class has a contour: the first one's problem, with what every class was looked for by."""
    first = next(iter(absent.values()))
    wanted = "; ".join(f"{name}: {error.expected}" for name, error in absent.items())
    return NoContourError(first.problem, expected=wanted, got=first.got, action=first.action)
