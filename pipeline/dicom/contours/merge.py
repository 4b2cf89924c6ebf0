"""ROIs of several files as one set by image: which file counts where two draw an ROI of one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.dicom.contours.roi import Modality, RoiMask, dice, union_mask
from pipeline.errors import ContourError

AGREEING_DICE = 0.999
"""Two files contain the same ROI where its masks overlap at least this much."""


@dataclass(frozen=True)
class MergedRois:
    """ROIs by image, each from one file only.

    Attributes:
        by_image: The ROIs on each image that has any.
        warnings: What the user should know about the choice between files.
    """

    by_image: Mapping[Modality, tuple[RoiMask, ...]]
    warnings: tuple[str, ...]


def merge_rois(rois: Sequence[RoiMask], same_roi: Literal["refuse", "newest"] = "refuse") -> MergedRois:
    """ROIs by image; an ROI that several files contain is taken once.

    Args:
        rois: The ROIs of all files.
        same_roi: What is done where files contain different ROIs of one name.

    Raises:
        ContourError: Two files contain different ROIs of one name on one image, and the rule
            is to refuse, or their dates do not say which is newer.
    """
    named: dict[tuple[Modality, str], dict[str, list[RoiMask]]] = {}
    for roi in rois:
        files = named.setdefault((roi.match.modality, roi.name.lower()), {})
        files.setdefault(roi.file_label, []).append(roi)
    by_image: dict[Modality, tuple[RoiMask, ...]] = {}
    warnings: list[str] = []
    for (modality, _), files in named.items():
        choice = _one_file(list(files.values()), same_roi)
        warnings += choice.warnings
        by_image[modality] = by_image.get(modality, ()) + tuple(choice.rois)
    return MergedRois(by_image, tuple(warnings))


@dataclass(frozen=True)
class _Choice:
    """The ROIs of one name that are used, and what the user should know of it."""

    rois: Sequence[RoiMask]
    warnings: tuple[str, ...] = ()


def _one_file(files: Sequence[Sequence[RoiMask]], same_roi: str) -> _Choice:
    """Of the files with an ROI of one name: the first if all agree, else the newest or none."""
    first, name = files[0], files[0][0].label
    warnings: tuple[str, ...] = ()
    if len(first) > 1 and first[0].source == "rtstruct":
        warnings = (f"{len(first)} ROIs of one file are named {name!r}; they are united",)
    overlaps = [(file, dice(union_mask(first), union_mask(file))) for file in files[1:]]
    differing = [(file, overlap) for file, overlap in overlaps if overlap < AGREEING_DICE]
    if not overlaps:
        return _Choice(first, warnings)
    if not differing:
        warning = f"ROI {name!r} is given by several files that agree; the first is used"
        return _Choice(first, (*warnings, warning))
    newest = max(files, key=lambda file: file[0].content_time)
    times = [file[0].content_time for file in files]
    if same_roi == "newest" and all(times) and times.count(newest[0].content_time) == 1:
        label = newest[0].file_label
        warning = f"ROI {name!r} is drawn differently by {len(files)} files; the newest, {label}, is used"
        return _Choice(newest, (*warnings, warning))
    other, overlap = differing[0]
    raise ContourError(
        f"two files draw the ROI {name!r} differently",
        where=f"{first[0].file_label} and {other[0].file_label}",
        expected="one contour per ROI name and image",
        got=f"Dice {overlap:.3f}"
        + ("; their dates do not say which is newer" if same_roi == "newest" else ""),
        action="remove one of the files, name another ROI in the cohort table's roi, or set "
        "contours.same_roi: newest",
    )


def drawn_on_one_image(rois: Sequence[RoiMask]) -> Sequence[RoiMask]:
    """ROIs drawn on the images in use; those drawn elsewhere only where there are no others.

    ROIs that only their frame of reference places may be of any image in it: they count only where no
    ROI names an image in use.

    Raises:
        ContourError: Several files were drawn elsewhere, so that it isn't clear which one to take.
    """
    own = [roi for roi in rois if not roi.match.drawn_elsewhere]
    if own:
        return [roi for roi in own if not roi.match.by_frame] or own
    files = sorted({roi.file_label for roi in rois})
    if len(files) > 1:
        raise ContourError(
            "several files were drawn on images that are not in use",
            where=", ".join(files),
            expected="contours of one image",
            got="ROIs " + ", ".join(repr(roi.label) for roi in rois),
            action="name one file's ROI in the cohort table's roi, or remove the others",
        )
    return rois
