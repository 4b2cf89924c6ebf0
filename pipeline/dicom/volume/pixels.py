"""Pixels of DICOM files: decoded, freed of bits that are not theirs, rescaled to real values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipeline.dicom.header.frames import Rescale
from pipeline.dicom.header.values import integer_of, value_of
from pipeline.errors import DicomError

Array = npt.NDArray[Any]
_PIXELS = 0x7FE00010
_UNCOMPRESSED = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def frames_of(dataset: Dataset, where: str) -> Array:
    """Decoded stored values (frames, rows, columns).

    Raises:
        DicomError: No pixels, too few of them, colours, a lookup table, or a compression
            that cannot be decoded.
    """
    _require_grey_values(dataset, where)
    uncompressed = _uncompressed_frames(dataset)
    if uncompressed is not None:
        return _masked(uncompressed, dataset, where)
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


def _uncompressed_frames(dataset: Dataset) -> Array | None:
    """Uncompressed integers without copying them; None where the general decoder is needed.

    pydicom's general decoder takes longer than reading the file.
    """
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None or syntax not in _UNCOMPRESSED:
        return None
    sizes = [
        integer_of(dataset, name) for name in ("Rows", "Columns", "BitsAllocated", "PixelRepresentation")
    ]
    raw = value_of(dataset, _PIXELS)
    rows, columns, bits, signed = sizes
    if not (rows and columns and bits in (8, 16, 32) and signed in (0, 1) and isinstance(raw, bytes)):
        return None
    frames = integer_of(dataset, "NumberOfFrames") or 1
    count = frames * rows * columns
    if not 0 <= len(raw) - count * bits // 8 <= count * bits // 8 % 2:
        return None
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    pixels = np.frombuffer(raw, f"{order}{'i' if signed else 'u'}{bits // 8}", count)
    return pixels.reshape(frames, rows, columns)


def _syntax(dataset: Dataset) -> str:
    uid = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    return str(getattr(uid, "name", "not given"))


def _require_grey_values(dataset: Dataset, where: str) -> None:
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
    if spare == 0 or dataset.file_meta.TransferSyntaxUID.is_compressed or _within(frames, stored):
        return frames
    shifted: Array = np.right_shift(np.left_shift(frames, spare), spare)
    return shifted


def _within(frames: Array, stored: int) -> bool:
    """Whether no value has a bit above the stored ones."""
    if frames.dtype.kind == "u":
        return bool(frames.max() < 1 << stored)
    return bool(frames.max() < 1 << (stored - 1) and frames.min() >= -(1 << (stored - 1)))


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
