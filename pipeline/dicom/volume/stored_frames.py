"""Stored values of DICOM files, decoded frame by frame and freed of bits that are not theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipeline.dicom.header.values import integer_of, value_of
from pipeline.errors import DicomError
from pipeline.tables.failures import raise_machine_failure

Array = npt.NDArray[Any]
_PIXELS = 0x7FE00010
_UNCOMPRESSED = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


@dataclass(frozen=True)
class StoredFrames:
    """Stored values of a file, frame by frame.

    Attributes:
        count: Number of frames.
        shape: Rows and columns.
        values: (rows, columns) of each frame; compressed ones are decoded as they are asked for.
    """

    count: int
    shape: tuple[int, ...]
    values: Iterable[Array]


def frames_of(dataset: Dataset, where: str) -> StoredFrames:
    """Decoded stored values of a file's frames.

    Raises:
        DicomError: No pixels, too few of them, colours, a lookup table, or a compression
            that cannot be decoded; of a compressed file of many frames when the broken one is asked for.
    """
    _require_grey_values(dataset, where)
    frames = integer_of(dataset, "NumberOfFrames") or 1
    uncompressed = _uncompressed_frames(dataset)
    if uncompressed is None and frames > 1:
        size = integer_of(dataset, "Rows") or 0, integer_of(dataset, "Columns") or 0
        return StoredFrames(frames, size, _decoded_one_by_one(dataset, frames, where))
    if uncompressed is None:
        with _decoding(dataset, where):
            uncompressed = dataset.pixel_array
    pixels = uncompressed if uncompressed.ndim == 3 else uncompressed[None]
    return StoredFrames(len(pixels), pixels.shape[1:], _masked(pixels, dataset, where))


def _decoded_one_by_one(dataset: Dataset, frames: int, where: str) -> Iterator[Array]:
    """Frames of a compressed file; memory never holds all of them beside the volume."""
    with _decoding(dataset, where):
        decoded = iter_pixels(dataset)
    for _ in range(frames):
        with _decoding(dataset, where):
            frame = next(decoded)
        yield _masked(frame, dataset, where)


@contextmanager
def _decoding(dataset: Dataset, where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise whatever broken bytes provoke
        raise_machine_failure(error)
        raise DicomError(
            "pixels cannot be decoded",
            where=f"{where}, (7FE0,0010) Pixel Data",
            got=f"{type(error).__name__}, transfer syntax {_syntax(dataset)}",
            action="send the file again, or as Explicit VR Little Endian",
        ) from None


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


def is_compressed(dataset: Dataset) -> bool:
    """Whether a file's pixels are compressed by their transfer syntax."""
    uid = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    return bool(
        uid and uid.is_transfer_syntax and uid.is_compressed and uid != DeflatedExplicitVRLittleEndian
    )


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
    if not _has_overlay_bits(dataset):
        raise DicomError(
            "stored values have more bits than (0028,0101) Bits Stored",
            where=f"{where}, (0028,0101) Bits Stored, (7FE0,0010) Pixel Data",
            expected=f"values of {stored} bits, or overlays declared in the bits above by (60xx,0100) and (60xx,0102)",
            got=f"stored values from {frames.min()} to {frames.max()}",
            action="send the series as the scanner wrote it: Bits Stored, or the values, are wrong",
        )
    shifted: Array = np.right_shift(np.left_shift(frames, spare), spare)
    return shifted


def _has_overlay_bits(dataset: Dataset) -> bool:
    """Whether an overlay lies in the pixels' spare bits (PS3.5 8.1.2, retired): it has bits, a position, no data."""
    return any(
        value_of(dataset, group << 16 | 0x0102) is not None
        and value_of(dataset, group << 16 | 0x3000) is None
        for group in range(0x6000, 0x6020, 2)
    )


def _within(frames: Array, stored: int) -> bool:
    """Whether no value has a bit above the stored ones."""
    if frames.dtype.kind == "u":
        return bool(frames.max() < 1 << stored)
    return bool(frames.max() < 1 << (stored - 1) and frames.min() >= -(1 << (stored - 1)))
