"""Stored values of DICOM files as real ones: how much of them is taken, rescale, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from pipeline.dicom.header.frames import Rescale
from pipeline.dicom.header.values import integer_of, value_of
from pipeline.dicom.volume.stored_frames import is_compressed
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings

Array = npt.NDArray[Any]
_SEAM = 0.01  # maps of neighbouring ranges agree by this share where they meet


def require_size(dataset: Dataset, files: int, settings: ConvertSettings, where: str) -> None:
    """Refuse pixels that no memory should be given to, before anything is unpacked.

    Args:
        dataset: One file of a series.
        files: How many files the series has.
        settings: The limits.
        where: Names the series.

    Raises:
        DicomError: A frame, the file, or the series if all its files were like this one, is larger.
    """
    rows, columns, bits = (integer_of(dataset, n) or 0 for n in ("Rows", "Columns", "BitsAllocated"))
    frame = rows * columns * max(bits, 8) // 8 * (integer_of(dataset, "SamplesPerPixel") or 1)
    frames = max(1, integer_of(dataset, "NumberOfFrames") or 1)
    # The volume as float32, and beside it one file as it was read, or one frame of it as it was unpacked.
    held = frame if is_compressed(dataset) else frame * frames
    series = rows * columns * 4 * frames * files + held
    for size, limit, name, what in (
        (frame, settings.max_frame_mib, "max_frame_mib", "an image"),
        (series, settings.max_series_mib, "max_series_mib", "a series"),
    ):
        if size > limit << 20:
            raise DicomError(
                f"{what} is too large",
                where=f"{where}, (0028,0010) Rows, (0028,0011) Columns, (0028,0008) Number of Frames",
                expected=f"at most {limit} MiB unpacked",
                got=f"{size >> 20} MiB ({rows}×{columns}, {bits} bits)",
                action=f"raise convert.{name} if the series is meant",
            )


def put_integers(frame: Array, rescale: Rescale, into: Array) -> bool:
    """Write rescaled values into an int16 array.

    Returns:
        Whether they are integers that fit; otherwise nothing was written.
    """
    if not rescale.integral() or frame.dtype.kind not in "iu":
        return False
    slope, intercept = int(rescale.slope), int(rescale.intercept)
    stored = int(frame.min()), int(frame.max())
    ends = [value * slope + intercept for value in stored]
    limits = np.iinfo(np.int16)
    if min(*ends) < limits.min or max(*ends) > limits.max:
        return False
    if slope == 1 and limits.min <= intercept <= limits.max and max(stored) <= limits.max:
        np.add(frame, np.int16(intercept), out=into, dtype=np.int16, casting="unsafe")
    else:
        into[...] = frame.astype(np.int64) * slope + intercept
    return True


def real_values(frame: Array, rescale: Rescale) -> Array:
    """Rescaled values as float32, computed in double precision."""
    return (frame.astype(np.float64) * rescale.slope + rescale.intercept).astype(np.float32)


def mapped_values(
    frame: Array, rescales: Sequence[Rescale], padded: npt.NDArray[np.bool_] | None, where: str
) -> Array:
    """Real values as float32 by maps that each hold for a range of stored values.

    Raises:
        DicomError: Stored values lie in no range, or in two that map them differently.
    """
    values = np.full(frame.shape, np.nan, dtype=np.float64)
    for rescale in rescales:
        inside = (frame >= rescale.first) & (frame <= rescale.last)
        mapped = frame[inside].astype(np.float64) * rescale.slope + rescale.intercept
        before = values[inside]
        if not np.allclose(mapped, np.where(np.isnan(before), mapped, before), rtol=1e-6, atol=0):
            _refuse_map(rescales, frame, where, "stored values that two maps turn into different ones")
        values[inside] = mapped
    ordered = sorted(rescales, key=lambda rescale: rescale.first)
    for below, above in pairwise(ordered):
        ends = [r.slope * at + r.intercept for r, at in ((below, below.last), (above, above.first))]
        if abs(ends[1] - ends[0]) > max(_SEAM * abs(ends[0]), 3 * abs(below.slope), 3 * abs(above.slope)):
            _refuse_map(rescales, frame, where, "maps that jump where they meet")
    if padded is not None:
        values[padded] = 0.0  # no image, whatever the maps say of its value
    outside = np.isnan(values)
    if outside.any():
        percent = 100 * float(outside.mean())
        _refuse_map(rescales, frame, where, f"{percent:.3g} % of a frame's stored values in no range")
    return values.astype(np.float32)


def _refuse_map(rescales: Sequence[Rescale], frame: Array, where: str, problem: str) -> None:
    ranges = ", ".join(f"{rescale.first:g} to {rescale.last:g}" for rescale in rescales)
    raise DicomError(
        "real world value maps do not give each stored value one meaning",
        where=f"{where}, (0040,9096) Real World Value Mapping Sequence",
        expected="(0040,9216) to (0040,9211) over all stored values, once",
        got=f"{problem}; ranges {ranges}; stored {frame.min():g} to {frame.max():g}",
        action="send the series as the scanner wrote it",
    )


AIR = {"ct_hu": -1024.0, "pet_stored": 0.0}
"""What stands where nothing was imaged."""
_AIR_LIMIT = {"ct_hu": -900.0, "pet_stored": 0.0}


@dataclass(frozen=True)
class Padding:
    """Stored values that are no image: (0028,0120) *Pixel Padding Value* to (0028,0121) *… Range Limit*."""

    low: int
    high: int

    def voxels(self, frame: Array, rescale: Rescale, quantity: str) -> npt.NDArray[np.bool_] | None:
        """Voxels of a frame that are padding; None where there are none, or the value is not believed.

        Some programs write a value that tissue has, 0 in a CT without intercept, or the greatest
        one of a PET scaled slice by slice. So the value counts where it stands for air. Another one counts
        where the frame's corners, outside the round field of view, hold it, and there as far as it reaches
        from the frame's border: within the body it is tissue.
        """
        mask: npt.NDArray[np.bool_] = (frame >= self.low) & (frame <= self.high)
        if not mask.any():
            return None
        real = max(value * rescale.slope + rescale.intercept for value in (self.low, self.high))
        corners = mask[[0, 0, -1, -1], [0, -1, 0, -1]]
        if real <= _AIR_LIMIT[quantity]:
            return mask
        return _from_the_border(mask) if corners.all() else None


def _from_the_border(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Voxels of a frame's mask that are connected to its border."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    reached: npt.NDArray[np.bool_] = np.isin(parts, edge[edge > 0])
    return reached


def padding_of(dataset: Dataset) -> Padding | None:
    """The padding that a file declares (PS3.3 C.7.5.1.1.2); None where it declares none."""
    ends = [_stored_value(dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [value for value in ends if value is not None]
    return Padding(min(known), max(known)) if ends[0] is not None else None


def _stored_value(dataset: Dataset, name: str) -> int | None:
    """An element of the pixels' own type, whichever sign its representation was written with."""
    value = value_of(dataset, name)
    if isinstance(value, bytes) and len(value) == 2:
        value = int.from_bytes(value, "little")
    if not isinstance(value, int):
        return None
    signed = integer_of(dataset, "PixelRepresentation") == 1
    if signed and value > 0x7FFF:
        return value - 0x10000
    return value + 0x10000 if not signed and value < 0 else value
