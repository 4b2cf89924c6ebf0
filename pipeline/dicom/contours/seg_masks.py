"""Pixels of a DICOM SEG as masks, and as shares of voxels, on the grid of the image that it was drawn on.

Binary, fractional and label-map objects (PS3.3 C.8.20). Frames may be sparse, overlap each
other, cover a part of the plane and lie in any order; each pixel must fall on a voxel. A fractional object
of type `OCCUPANCY` says how much of each voxel its segment fills, and so has a volume of its own; one of type
`PROBABILITY` says how sure its writer is, which is no volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.rasterise import VoxelShares
from pipeline.dicom.contours.roi import Mask
from pipeline.dicom.contours.seg_lattice import SegFrame, frames_of, off_grid, segment_of, voxels_of
from pipeline.errors import ContourError, GeometryError
from pipeline.tables.failures import raise_machine_failure
from pipeline.volumes.grids import bounding_box
from pipeline.volumes.volume import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_VOXELS = 2 << 30
"""More voxels, all segments together, are not unpacked."""


@dataclass(frozen=True)
class SegmentMask:
    """One segment on the grid of its image.

    Attributes:
        mask: Boolean (z, y, x); of a fractional segment the voxels above half of the value that stands for 1.
        shares: Shares of voxels that the segment fills, where the object is of type `OCCUPANCY`; else None.
    """

    mask: Mask
    shares: VoxelShares | None = None


def segment_masks(
    dataset: Dataset, numbers: Sequence[int], grid: Grid, where: str = ""
) -> dict[int, SegmentMask]:
    """Segments, by segment number, on a grid.

    Args:
        dataset: The SEG object.
        numbers: (0062,0004) *Segment Number*s asked for.
        grid: Grid of the image.
        where: The file, for messages.

    Raises:
        ContourError: Unknown (0062,0001) *Segmentation Type*, frames without position, or occupancies above 1.
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
    full = _full_fraction(dataset, where) if kind == "FRACTIONAL" else 0.0
    if kind == "FRACTIONAL" and dataset.get("SegmentationFractionalType") == "OCCUPANCY":
        return _occupied(dataset, numbers, grid, full, where)
    masks = {number: np.zeros(grid.shape, dtype=bool) for number in numbers}
    for pixels, frame in _pixels_by_frame(dataset, where):
        if kind == "LABELMAP":
            marked = {number: pixels == number for number in numbers}
        else:
            number = segment_of(frame)
            marked = {number: pixels > full / 2} if number in masks else {}
        for number, segment in marked.items():
            _mark(segment, frame, grid, masks[number])
    return {number: SegmentMask(mask) for number, mask in masks.items()}


def _occupied(
    dataset: Dataset, numbers: Sequence[int], grid: Grid, full: float, where: str
) -> dict[int, SegmentMask]:
    """Segments whose pixels say how much of a voxel they fill, (0062,0010) `OCCUPANCY`."""
    # Held as stored, a byte a voxel: as shares, several segments of a whole body would take gigabytes.
    stored = {number: np.zeros(grid.shape, dtype=np.min_scalar_type(math.ceil(full))) for number in numbers}
    for pixels, frame in _pixels_by_frame(dataset, where):
        number = segment_of(frame)
        if number not in stored:
            continue
        if (highest := pixels.max(initial=0)) > full:
            raise ContourError(
                "a DICOM SEG fills voxels by more than the whole",
                where=f"{where}, (7FE0,0010) Pixel Data, (0062,000E) Maximum Fractional Value",
                expected=f"occupancies of at most {full:g}, which stands for 1",
                got=str(highest),
                action="export the SEG again",
            )
        _mark(pixels, frame, grid, stored[number])
    return {
        number: SegmentMask(values > full / 2, _shares(values, full)) for number, values in stored.items()
    }


def _shares(stored: npt.NDArray[Any], full: float) -> VoxelShares:
    box = bounding_box(stored) or (slice(0, 0), slice(0, 0), slice(0, 0))
    return VoxelShares(box, (stored[box] / full).astype(np.float32))


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


def _mark(pixels: npt.NDArray[Any], frame: SegFrame, grid: Grid, image: npt.NDArray[Any]) -> None:
    """Raise an image's voxels to the values of a frame's pixels; those of 0 or below are not marked."""
    rows, columns = np.nonzero(pixels > 0)
    if not rows.size:
        return
    voxels = voxels_of(frame, grid)
    if voxels is None:
        raise off_grid(pixels.shape, frame, grid)
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
    place = tuple(index)
    image[place] = np.maximum(image[place], pixels[rows, columns])
