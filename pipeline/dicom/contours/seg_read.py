"""DICOM SEG: segments as masks on the grid of the image that they were drawn on.

Binary, fractional and label-map objects (PS3.3 C.8.20). Frames may be sparse, overlap each
other, cover a part of the plane and lie in any order; each pixel must fall on a voxel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.roi import (
    LEFT_OUT,
    ContourFile,
    FileRois,
    ImageMatch,
    ImageSeries,
    Mask,
    Modality,
    RoiMask,
)
from pipeline.dicom.contours.seg_image import (
    frames_of_segments,
    image_of,
    named_planes,
    require_one_image,
)
from pipeline.dicom.contours.seg_lattice import SegFrame, frames_of, off_grid, segment_of, voxels_of
from pipeline.dicom.header.free_text import shown_name
from pipeline.dicom.header.rtstruct import content_time_of, matches, reading
from pipeline.errors import ContourError, GeometryError
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.failures import raise_machine_failure
from pipeline.volumes.volume import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_VOXELS = 2 << 30
"""More voxels, all segments together, are not unpacked."""


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
        settings: Whether one that was drawn on another image is placed.

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
    masks = segment_masks(dataset, list(chosen), images[match.modality].grid, label)
    rois = tuple(
        RoiMask(
            name=name,
            label=called,
            match=match,
            mask=masks[number],
            source="seg",
            file_label=label,
            facts={"segment": number},
            warnings=(*told, *_segment_warnings(called, match, masks[number], by_label)),
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


def segment_masks(dataset: Dataset, numbers: Sequence[int], grid: Grid, where: str = "") -> dict[int, Mask]:
    """Masks (z, y, x) of segments, by segment number, on a grid.

    Args:
        dataset: The SEG object.
        numbers: (0062,0004) *Segment Number*s asked for.
        grid: Grid of the image.
        where: The file, for messages.

    Raises:
        ContourError: Unknown (0062,0001) *Segmentation Type*, or frames without position.
        GeometryError: Pixels do not fall on voxels, or marked ones lie outside the grid.
    """
    kind = str(dataset.get("SegmentationType", ""))
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise ContourError(
            "a SEG has an unknown type",
            where=f"{where}, (0062,0001) Segmentation Type",
            expected="BINARY, FRACTIONAL or LABELMAP",
            got=kind or "nothing",
        )
    masks = {number: np.zeros(grid.shape, dtype=bool) for number in numbers}
    half = _full_fraction(dataset, where) / 2 if kind == "FRACTIONAL" else 0.0
    for pixels, frame in _pixels_by_frame(dataset, where):
        if kind == "LABELMAP":
            marked = {number: pixels == number for number in numbers}
        else:
            number = segment_of(frame)
            marked = {number: pixels > half} if number in masks else {}
        for number, segment in marked.items():
            if segment.any():
                _mark(segment, frame, grid, masks[number])
    return masks


def _full_fraction(dataset: Dataset, where: str) -> float:
    """The value that stands for 1; of type 1C, and no default is right for all writers."""
    value = dataset.get("MaximumFractionalValue")
    if value is None or not float(value) > 0:
        raise ContourError(
            "a fractional SEG does not say which value means 1",
            where=f"{where}, (0062,000E) Maximum Fractional Value",
            expected="a positive number",
            got="none" if value is None else str(value),
            action="export the SEG again",
        )
    return float(value)


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


def _require_size(dataset: Dataset, where: str) -> None:
    """Refuse pixels that no memory should be given to, before they are unpacked (a byte each)."""
    sizes = [int(dataset.get(name) or 1) for name in ("NumberOfFrames", "Rows", "Columns")]
    if math.prod(sizes) > MAX_VOXELS:
        raise ContourError(
            "a DICOM SEG is too large",
            where=f"{where}, (0028,0008) Number of Frames, (0028,0010) Rows, (0028,0011) Columns",
            expected=f"at most {MAX_VOXELS >> 20} Mi voxels in all segments",
            got="×".join(map(str, sizes)),
            action="export the segments that are needed only",
        )


def _pixels_by_frame(dataset: Dataset, where: str) -> Iterator[tuple[npt.NDArray[Any], SegFrame]]:
    _require_size(dataset, where)
    try:
        pixels = dataset.pixel_array
    except Exception as error:
        raise_machine_failure(error)
        # Decoders raise many kinds of error for damaged pixel data; all mean the same here.
        raise ContourError(
            "the pixels of a DICOM SEG cannot be decoded", where=where, got=type(error).__name__
        ) from None
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    frames = frames_of(dataset, where)
    if len(frames) != len(pixels):
        raise ContourError(
            "a DICOM SEG has another number of frames than positions",
            where=f"{where}, (5200,9230) Per-Frame Functional Groups Sequence",
            expected=f"{len(pixels)} frames",
            got=str(len(frames)),
        )
    yield from zip(pixels, frames, strict=True)


def _mark(segment: Mask, frame: SegFrame, grid: Grid, mask: Mask) -> None:
    """Set the voxels of a frame's segment in a mask."""
    voxels = voxels_of(frame, grid)
    if voxels is None:
        raise off_grid(segment.shape, frame, grid)
    rows, columns = np.nonzero(segment)
    index = (voxels.first[:, None] + voxels.steps @ np.stack([columns, rows])).astype(np.int64)[::-1]
    inside = ((index >= 0) & (index < np.array(grid.shape)[:, None])).all(axis=0)
    if not inside.all():
        raise GeometryError(
            "a segment reaches beyond its image",
            where=frame.where,
            expected=grid.describe(),
            got=f"{int((~inside).sum())} marked pixels of a frame outside",
            action="send the whole image that the segment was drawn on",
        )
    mask[tuple(index)] = True
