"""DICOM SEG: the segments whose names match, each with the image that it was drawn on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.contours.roi import (
    LEFT_OUT,
    MASK_DIFFERENCE_PERCENT,
    ContourFile,
    FileRois,
    ImageMatch,
    ImageSeries,
    Mask,
    Modality,
    RoiMask,
    mask_difference_percent,
)
from pipeline.dicom.contours.seg_image import (
    frames_of_segments,
    image_of,
    named_planes,
    require_one_image,
)
from pipeline.dicom.contours.seg_lattice import frames_of, segment_of
from pipeline.dicom.contours.seg_masks import SegmentMask, segment_masks
from pipeline.dicom.header.free_text import shown_name
from pipeline.dicom.header.rtstruct import content_time_of, matches, reading
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.volume import Grid

if TYPE_CHECKING:
    from pydicom import Dataset


def seg_rois(
    file: ContourFile,
    patterns: Sequence[str],
    images: Mapping[Modality, ImageSeries],
    settings: ContourSettings,
) -> FileRois:
    """Masks of a SEG's segments whose label, or where none does description or tracking identifier, matches.

    Args:
        file: The SEG object.
        patterns: Patterns of names.
        images: The images it may have been drawn on.
        settings: Whether one that was drawn on another image is placed, and whether shares of voxels are kept.

    Raises:
        ContourError: The object is damaged or of an unknown type.
        GeometryError: Its pixels do not fall on the voxels of its image.
    """
    with reading("a DICOM SEG", file.label):
        return _matching_segments(_read(file), file.label, patterns, images, settings)


def _matching_segments(
    dataset: Dataset,
    label: str,
    patterns: Sequence[str],
    images: Mapping[Modality, ImageSeries],
    settings: ContourSettings,
) -> FileRois:
    segments = list(dataset.get("SegmentSequence") or ())
    labels = tuple(_called(item, settings) for item in segments)
    _require_declared(dataset, segments, label)
    by_label = any(matches(_name(item), patterns) for item in segments)
    chosen = {
        int(item.SegmentNumber): (_name(item), called)
        for item, called in zip(segments, labels, strict=True)
        if (matches(_name(item), patterns) if by_label else _described(item, patterns))
    }
    if not chosen:
        return FileRois(names=labels)
    frames = frames_of_segments(dataset, chosen, label)
    sources = [frame.source_uids() for frame in frames]
    match = image_of(dataset, sources, images)
    if match is None:
        reason = f"segments of {label} refer neither to the CT or PET nor to their frame of reference"
        return FileRois(names=labels, unused=(reason,))
    if match.drawn_elsewhere and settings.other_image == "leave_out":
        left_out = tuple(f"segment {called!r} of {label} {LEFT_OUT}" for _, called in chosen.values())
        return FileRois(names=labels, unused=left_out)
    require_one_image(sources, images[match.modality], label)
    told = named_planes(frames, images, label)
    grid = images[match.modality].grid
    masks = segment_masks(dataset, list(chosen), grid, label)
    rois = tuple(
        RoiMask(
            name=name,
            label=called,
            match=match,
            mask=masks[number].mask,
            source="seg",
            shares=masks[number].shares if settings.partial_volume else None,
            file_label=label,
            facts={"segment": number, **_occupancy_facts(masks[number], grid)},
            warnings=(
                *told,
                *_segment_warnings(called, match, masks[number].mask, by_label),
                *_occupancy_warnings(called, match, masks[number], grid),
            ),
            content_time=content_time_of(dataset, "ContentDate", "ContentTime"),
        )
        for number, (name, called) in chosen.items()
    )
    return FileRois(rois, labels)


def _name(item: Dataset) -> str:
    return str(item.get("SegmentLabel", "")).strip()


def _called(item: Dataset, settings: ContourSettings) -> str:
    """What messages call a segment."""
    return shown_name(_name(item), settings.free_text, f"no. {item.get('SegmentNumber', '?')}")


def _segment_warnings(called: str, match: ImageMatch, mask: Mask, by_label: bool) -> tuple[str, ...]:
    warnings = []
    if match.drawn_elsewhere:
        warnings.append(
            f"segment {called!r} was drawn on images that are not in use (contours.other_image: place)"
        )
    if match.by_frame:
        warnings.append(
            f"segment {called!r} names no image; it is placed on the {match.modality.upper()} by its frame of reference"
        )
    if not by_label:
        warnings.append(f"segment {called!r} was chosen by its description; its label is no name looked for")
    if not mask.any():
        warnings.append(f"segment {called!r} is empty")
    if missing := _missing_slices(mask):
        warnings.append(
            f"segment {called!r}: {missing} slices between filled ones are empty; nothing was filled in"
        )
    return tuple(warnings)


def _occupancy_facts(segment: SegmentMask, grid: Grid) -> dict[str, float | None]:
    """The volume by occupancies, and by how much the mask's differs; nothing where the segment has none."""
    if segment.shares is None:
        return {}
    enclosed_ml = segment.shares.volume_ml(grid)
    return {
        "volume_occupancy_ml": round(enclosed_ml, 4),
        "mask_to_occupancy_percent": mask_difference_percent(segment.mask, grid, enclosed_ml),
    }


def _occupancy_warnings(called: str, match: ImageMatch, segment: SegmentMask, grid: Grid) -> list[str]:
    """Warnings about a mask whose volume is not that of the occupancies."""
    if segment.shares is None:
        return []
    enclosed_ml, modality = segment.shares.volume_ml(grid), match.modality.upper()
    difference = mask_difference_percent(segment.mask, grid, enclosed_ml)
    if difference is None or abs(difference) < MASK_DIFFERENCE_PERCENT:
        return []
    return [
        f"segment {called!r}: the mask's volume on the {modality} differs by {difference:+.1f} % from the "
        f"{enclosed_ml:.3g} mL of its occupancies, (0062,0010): voxels filled by half or less are not in the mask, and "
        "others count whole (contours.partial_volume measures by shares of voxels)"
    ]


def _missing_slices(mask: Mask) -> int:
    """Empty slices (the first axis) whose filled neighbours below and above share a pixel."""
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    return sum(
        int(high - low - 1)
        for low, high in pairwise(filled)
        if high - low > 1 and (mask[low] & mask[high]).any()
    )


def _require_declared(dataset: Dataset, segments: Sequence[Dataset], where: str) -> None:
    """Refuse segments of one number, and frames of segments that there are not: whose pixels they are is unknown."""
    numbers = [int(item.SegmentNumber) for item in segments]
    double = sorted({number for number in numbers if numbers.count(number) > 1})
    stray: list[int] = []
    if dataset.get("SegmentationType") in ("BINARY", "FRACTIONAL"):
        stray = sorted({segment_of(frame) for frame in frames_of(dataset, where)} - set(numbers))
    if double or stray:
        raise ContourError(
            "the segments of a DICOM SEG cannot be told apart",
            where=f"{where}, (0062,0004) Segment Number",
            expected="a number for each segment, and frames of these alone",
            got=f"several segments of number {double[0]}" if double else f"frames of segment {stray[0]}",
            action="export the SEG again",
        )


def _described(item: Dataset, patterns: Sequence[str]) -> bool:
    """Whether a segment's description or tracking identifier matches; asked where no label of the file does."""
    names = (str(item.get(key, "") or "") for key in ("SegmentDescription", "TrackingID"))
    return any(matches(name, patterns) for name in names if name)


def _read(file: ContourFile) -> Dataset:
    from pydicom import dcmread

    dataset = dcmread(file.path, force=True)  # files without preamble are DICOM, too
    if dataset.get("Modality") != "SEG":
        raise ContourError(
            "a file is not a DICOM SEG",
            where=f"{file.label}, (0008,0060) Modality",
            got=str(dataset.get("Modality")),
        )
    return dataset
