"""DICOM SEG: segments as masks on the grid of the image that they were drawn on.

Binary, fractional and label-map objects (PS3.3 C.8.20). Frames may be sparse, overlap each
other, cover a part of the plane and lie in any order; each pixel must fall on a voxel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.roi import Image, Kind, Mask, RoiMask, by_reference, in_frame
from pipeline.dicom.header.rtstruct import matches, moment_of, reading
from pipeline.errors import ContourError, GeometryError
from pipeline.volumes.volume import FloatArray, Grid

if TYPE_CHECKING:
    from pydicom import Dataset

OFF_VOXEL = 0.05
"""A pixel's centre may lie this far (in voxels) from the voxel's."""


def segment_regions(
    file: tuple[Path, str], patterns: Sequence[str], images: Mapping[Kind, Image]
) -> tuple[list[RoiMask], list[str], list[str]]:
    """Masks of a SEG's segments whose label, description or tracking identifier fits.

    Args:
        file: The SEG object, and what messages call it.
        patterns: Patterns of names.
        images: The images it may have been drawn on.

    Returns:
        Regions; labels of all segments; why segments that fit were not used.

    Raises:
        ContourError: The object is damaged or of an unknown type.
        GeometryError: Its pixels do not fall on the voxels of its image.
    """
    path, label = file
    with reading("a DICOM SEG", label):
        return _segment_regions(_read(path, label), label, patterns, images)


def _segment_regions(
    dataset: Dataset, label: str, patterns: Sequence[str], images: Mapping[Kind, Image]
) -> tuple[list[RoiMask], list[str], list[str]]:
    segments = list(dataset.get("SegmentSequence") or ())
    labels = [str(item.get("SegmentLabel", "")).strip() for item in segments]
    chosen = {
        int(item.SegmentNumber): name
        for item, name in zip(segments, labels, strict=True)
        if _fits(item, patterns)
    }
    if not chosen:
        return [], labels, []
    belongs = _image_of(dataset, images)
    if belongs is None:
        reason = f"segments of {label} refer neither to the CT or PET nor to their frame of reference"
        return [], labels, [reason]
    kind, matched_by = belongs
    masks = segment_masks(dataset, list(chosen), images[kind].grid, label)
    regions = []
    for number, name in chosen.items():
        notes = () if masks[number].any() else (f"segment {name!r} is empty",)
        facts = {"segment": number}
        moment = moment_of(dataset, "ContentDate", "ContentTime")
        regions.append(RoiMask(name, kind, masks[number], "seg", label, matched_by, facts, notes, moment))
    return regions, labels, []


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
    for frame, groups in _frames(dataset, where):
        if kind == "LABELMAP":
            marked = {number: frame == number for number in numbers}
        else:
            number = _segment_of(groups, where)
            marked = {number: frame > half} if number in masks else {}
        for number, pixels in marked.items():
            if pixels.any():
                _place(pixels, groups, grid, masks[number], where)
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


def _fits(item: Dataset, patterns: Sequence[str]) -> bool:
    names = (str(item.get(key, "") or "") for key in ("SegmentLabel", "SegmentDescription", "TrackingID"))
    return any(matches(name, patterns) for name in names if name)


def _read(path: Path, label: str) -> Dataset:
    from pydicom import dcmread

    dataset = dcmread(path, force=True)  # files without preamble are DICOM, too
    if dataset.get("Modality") != "SEG":
        raise ContourError(
            "a file is not a DICOM SEG",
            where=f"{label}, (0008,0060) Modality",
            got=str(dataset.get("Modality")),
        )
    return dataset


def _image_of(dataset: Dataset, images: Mapping[Kind, Image]) -> tuple[Kind, str] | None:
    """The image a SEG belongs to: by series, then instances, then frame and grid."""
    series, sops = set(), set()
    for item in dataset.get("ReferencedSeriesSequence") or ():
        series.add(str(item.get("SeriesInstanceUID", "")))
        for instance in item.get("ReferencedInstanceSequence") or ():
            sops.add(str(instance.get("ReferencedSOPInstanceUID", "")))
    kind = by_reference(images, frozenset(series), frozenset(sops))
    if kind is not None:
        return kind, "referenced series"
    candidates = in_frame(images, frozenset({str(dataset.get("FrameOfReferenceUID", ""))}))
    first = _groups(dataset)
    for candidate in candidates:
        if first and _voxels(first[0], images[candidate].grid, "") is not None:
            return candidate, "frame of reference and voxels"
    return (candidates[0], "frame of reference") if candidates else None


Groups = tuple[Any, Any]
"""A frame's own and the shared functional groups."""


def _groups(dataset: Dataset) -> list[Groups]:
    shared = dataset.get("SharedFunctionalGroupsSequence") or [None]
    return [(item, shared[0]) for item in dataset.get("PerFrameFunctionalGroupsSequence") or ()]


def _frames(dataset: Dataset, where: str) -> Iterator[tuple[npt.NDArray[Any], Groups]]:
    try:
        pixels = dataset.pixel_array
    except Exception as error:
        # Decoders raise many kinds of error for damaged pixel data; all mean the same here.
        raise ContourError(
            "the pixels of a DICOM SEG cannot be decoded", where=where, got=f"{type(error).__name__}: {error}"
        ) from None
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    groups = _groups(dataset)
    if len(groups) != len(pixels):
        raise ContourError(
            "a DICOM SEG has another number of frames than positions",
            where=f"{where}, (5200,9230) Per-Frame Functional Groups Sequence",
            expected=f"{len(pixels)} frames",
            got=str(len(groups)),
        )
    yield from zip(pixels, groups, strict=True)


def _item(groups: Groups, name: str) -> Dataset | None:
    for group in groups:
        sequence = group.get(name) if group is not None else None
        if sequence:
            return sequence[0]  # type: ignore[no-any-return]
    return None


def _segment_of(groups: Groups, where: str) -> int:
    item = _item(groups, "SegmentIdentificationSequence")
    if item is None:
        raise ContourError(
            "a frame names no segment", where=f"{where}, (0062,000A) Segment Identification Sequence"
        )
    return int(item.ReferencedSegmentNumber)


def _frame_grid(groups: Groups, where: str) -> tuple[FloatArray, FloatArray]:
    """A frame's first pixel (3,) and its steps along x and y (3, 2), LPS mm."""
    position = _item(groups, "PlanePositionSequence")
    orientation = _item(groups, "PlaneOrientationSequence")
    measures = _item(groups, "PixelMeasuresSequence")
    if position is None or orientation is None or measures is None:
        raise ContourError(
            "a frame lacks its position, orientation or pixel spacing",
            where=f"{where}, (0020,9113), (0020,9116), (0028,9110)",
            action="export the SEG again",
        )
    cosines = np.array(orientation.ImageOrientationPatient, dtype=float).reshape(2, 3)
    row_mm, column_mm = (float(value) for value in measures.PixelSpacing)
    steps = np.stack([cosines[0] * column_mm, cosines[1] * row_mm], axis=1)
    return np.array(position.ImagePositionPatient, dtype=float), steps


def _voxels(groups: Groups, grid: Grid, where: str) -> tuple[FloatArray, FloatArray] | None:
    """A frame's first pixel and steps in voxels (x, y, z); None where they are not whole."""
    first, steps = _frame_grid(groups, where)
    start = grid.indices(first)[0, ::-1]
    moves = np.linalg.solve(grid.affine()[:3, :3], steps)
    off = np.abs(moves - np.round(moves)).max() * max(grid.shape)
    unit = (np.abs(np.round(moves)).sum(axis=0) == 1).all()
    if not unit or off > 0.5 or np.abs(start - np.round(start)).max() > OFF_VOXEL:
        return None
    return np.round(start), np.round(moves)


def _place(pixels: Mask, groups: Groups, grid: Grid, mask: Mask, where: str) -> None:
    """Mark a frame's pixels in a mask."""
    found = _voxels(groups, grid, where)
    if found is None:
        raise _off_grid(pixels.shape, groups, grid, where)
    start, moves = found
    rows, columns = np.nonzero(pixels)
    index = (start[:, None] + moves @ np.stack([columns, rows])).astype(np.int64)[::-1]
    inside = ((index >= 0) & (index < np.array(grid.shape)[:, None])).all(axis=0)
    if not inside.all():
        raise GeometryError(
            "a segment reaches beyond its image",
            where=where,
            expected=grid.describe(),
            got=f"{int((~inside).sum())} marked pixels of a frame outside",
            action="send the whole image that the segment was drawn on",
        )
    mask[tuple(index)] = True


def _off_grid(shape: tuple[int, ...], groups: Groups, grid: Grid, where: str) -> GeometryError:
    first, steps = _frame_grid(groups, where)
    row_mm, column_mm = np.linalg.norm(steps[:, 1]), np.linalg.norm(steps[:, 0])
    origin = ", ".join(f"{value:.2f}" for value in first)
    return GeometryError(
        "the pixels of a DICOM SEG do not fall on the voxels of its image",
        where=where,
        expected=grid.describe(),
        got=f"{shape[0]}×{shape[1]} pixels (y,x) of {row_mm:.4g}×{column_mm:.4g} mm, "
        f"first at ({origin}) mm LPS",
        action="export the segmentation on the grid of the image it was drawn on",
    )
