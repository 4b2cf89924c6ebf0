"""Pixels of DICOM files as the values they stand for: decoded, masked, rescaled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from pipeline.dicom.header_values import integer_of, value_of
from pipeline.dicom.volume_frames import Rescale
from pipeline.errors import DicomError

Array = npt.NDArray[Any]


def frames_of(dataset: Dataset, where: str) -> Array:
    """Decoded stored values (frames, rows, columns).

    Raises:
        DicomError: No pixels, too few of them, colours, a lookup table, or a compression
            that cannot be decoded.
    """
    _require_plain(dataset, where)
    try:
        pixels = dataset.pixel_array
    except Exception as error:  # decoders raise whatever broken bytes provoke
        raise DicomError(
            "pixels cannot be decoded",
            where=f"{where}, (7FE0,0010) Pixel Data",
            got=f"{type(error).__name__}, transfer syntax {_syntax(dataset)}",
            action="send the file again, or as Explicit VR Little Endian",
        ) from None
    frames = pixels if pixels.ndim == 3 else pixels[None]
    return _masked(frames, dataset, where)


def _syntax(dataset: Dataset) -> str:
    uid = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    return str(getattr(uid, "name", "not given"))


def _require_plain(dataset: Dataset, where: str) -> None:
    if (integer_of(dataset, "SamplesPerPixel") or 1) != 1:
        raise DicomError("colour pixels", where=f"{where}, (0028,0002) Samples per Pixel", expected="1")
    if value_of(dataset, "ModalityLUTSequence") is not None:
        raise DicomError(
            "values through a lookup table",
            where=f"{where}, (0028,3000) Modality LUT Sequence",
            expected="a linear rescale",
        )


def _masked(frames: Array, dataset: Dataset, where: str) -> Array:
    """Drop bits above (0028,0101) Bits Stored, where old scanners kept overlays."""
    if frames.dtype.kind not in "iu":
        return frames
    allocated, stored = frames.dtype.itemsize * 8, integer_of(dataset, "BitsStored")
    if (
        stored is None
        or not 0 < stored <= allocated
        or integer_of(dataset, "HighBit") not in (None, stored - 1)
    ):
        raise DicomError(
            "bits that cannot be",
            where=f"{where}, (0028,0101) Bits Stored, (0028,0102) High Bit",
            expected=f"at most {allocated} bits, high bit one less",
            got=f"{stored}, {integer_of(dataset, 'HighBit')}",
        )
    spare = allocated - stored
    if spare == 0 or dataset.file_meta.TransferSyntaxUID.is_compressed:
        return frames
    shifted: Array = np.right_shift(np.left_shift(frames, spare), spare)
    return shifted


def whole_values(frame: Array, rescale: Rescale) -> Array | None:
    """Rescaled values as int16 where they are whole and fit, else None."""
    if not rescale.integral() or frame.dtype.kind not in "iu":
        return None
    slope, intercept = int(rescale.slope), int(rescale.intercept)
    stored = int(frame.min()), int(frame.max())
    ends = [value * slope + intercept for value in stored]
    limits = np.iinfo(np.int16)
    if min(*ends) < limits.min or max(*ends) > limits.max:
        return None
    if slope == 1 and -32768 <= intercept <= 32767:
        # Both wrap around alike, so that the sum, which fits, comes out right.
        return frame.astype(np.int16) + np.int16(intercept)
    return (frame.astype(np.int64) * slope + intercept).astype(np.int16)


def real_values(frame: Array, rescale: Rescale) -> Array:
    """Rescaled values as float32, computed in double precision."""
    return (frame.astype(np.float64) * rescale.slope + rescale.intercept).astype(np.float32)
