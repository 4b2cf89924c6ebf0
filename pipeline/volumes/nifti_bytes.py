"""The bytes of a NIfTI file, checked before they are believed: whole, of the size that the header says.

ITK fills what a cut file lacks with zeros and reports success; a changed byte of a compressed file
it passes on. Here a compressed file is read to its end, so that the length and the CRC of gzip count.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from pipeline.errors import GeometryError
from pipeline.volumes.nifti_forms import NIFTI1, NIFTI2, FormFields, has_place, require_one_place

MAX_BYTES = 2 << 30
"""Values of more bytes than this are refused where no setting says otherwise."""
MIN_SPACING_MM, MAX_SPACING_MM = 0.01, 100.0
MAX_POSITION_MM = 1e5
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_OTHER_TYPES = {1: "bits", 32: "complex", 128: "colour", 1536: "float128", 1792: "complex", 2304: "colour"}
# Millimetres per unit of (xyzt_units & 7); 0 is unknown, taken as mm.
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_CHUNK = 4 << 20
_MAX_EXTENSION = 64 << 20


@dataclass(frozen=True)
class NiftiHeader:
    """What a NIfTI header says of its values.

    Attributes:
        dtype: Type of the stored values, byte order included.
        shape: Sizes along x, y, z, ….
        spacing_mm: Along x, y, z.
        offset: Where the values begin.
        has_place: qform or sform says where the image lies and how its axes run.
        has_unit: xyzt_units names the unit of length; otherwise mm are meant.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    offset: int
    has_place: bool
    has_unit: bool

    def bytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def is_nifti(path: Path) -> bool:
    """Whether a file's name says NIfTI in one file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def check_nifti(path: Path, max_bytes: int = MAX_BYTES, label: str = "") -> None:
    """Read a NIfTI file to its end and hold its size against its header.

    Args:
        path: `.nii` or `.nii.gz`.
        max_bytes: Values of more bytes are refused.
        label: What messages call it; empty: its name.

    Raises:
        GeometryError: The file is cut or damaged, is no NIfTI of real numbers in three axes, or
            its header holds values that no image has.
        OSError: The machine could not read it.
    """
    name = label or path.name
    if not path.is_file():
        raise GeometryError("not a regular file", where=name, expected="a NIfTI file", got=_kind(path))
    try:
        with _opened(path, name) as stream:
            header = read_header(stream, name, max_bytes)
            non_finite = _read_values(stream, header, name)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise GeometryError(
            "a compressed image file is cut or damaged",
            where=name,
            expected="a gzip stream whose length and checksum fit",
            got=str(error) or type(error).__name__,
            action="send the file again",
        ) from None
    if non_finite:  # ITK's reader turns such values into 0 without a warning
        refuse_non_finite(non_finite, name)


def place_warnings(path: Path, label: str) -> list[str]:
    """Warn of a NIfTI file, checked before, that does not say where its image lies, nor which side is left."""
    if not is_nifti(path):
        return []
    with _opened(path, label) as stream:
        header = read_header(stream, label)
    if header.has_place:
        return []
    unit = "" if header.has_unit else "; nor does it name a unit of length, so that mm are taken"
    return [
        f"{label}: its header says neither where the image lies nor how its axes run (qform_code and sform_code are "
        f"0); left and right may be exchanged{unit}"
    ]


def refuse_non_finite(share: float, name: str) -> None:
    """Refuse an image with values that are NaN or infinite."""
    raise GeometryError(
        "an image holds values that are not numbers",
        where=name,
        got=f"{100 * share:.2f} % of voxels",
        action="fill them on purpose, and send the file again",
    )


def _kind(path: Path) -> str:
    return "nothing of that name" if not path.exists() else "a folder, a pipe or a device"


def _opened(path: Path, name: str) -> IO[bytes]:
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    if compressed != (path.suffix.lower() == ".gz"):
        raise GeometryError(
            "an image file's name and content differ",
            where=name,
            expected="gzip in .nii.gz, no compression in .nii",
            got="gzip" if compressed else "no gzip",
            action="rename it",
        )
    if compressed:
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")


def read_header(stream: IO[bytes], name: str, max_bytes: int = MAX_BYTES) -> NiftiHeader:
    """Read and check a header of NIfTI-1 or NIfTI-2 (nifti1.h, nifti2.h).

    Raises:
        GeometryError: See :func:`check_nifti`.
    """
    head = stream.read(348)
    for order in "<>":
        size = struct.unpack_from(order + "i", head)[0] if len(head) == 348 else 0
        if size == 348 and head[344:348] == b"n+1\0":
            return _checked(order, head, _NIFTI1, name, max_bytes)
        if size == 540 and head[4:8] == b"n+2\0":
            head += stream.read(540 - 348)
            if len(head) == 540:
                return _checked(order, head, _NIFTI2, name, max_bytes)
    raise GeometryError(
        "a file does not begin as NIfTI does",
        where=name,
        expected="NIfTI-1 or NIfTI-2 in one file",
        got=f"{len(head)} bytes" if len(head) < 348 else "another format (Analyze, or .hdr and .img?)",
        action="write it again as .nii or .nii.gz",
    )


@dataclass(frozen=True)
class _Layout:
    """Places and formats of header fields."""

    size: int
    dim: tuple[int, str]
    datatype: int
    pixdim: tuple[int, str]
    offset: tuple[int, str]
    scale: tuple[int, str]
    units: tuple[int, str]
    forms: FormFields


_NIFTI1 = _Layout(352, (40, "8h"), 70, (76, "8f"), (108, "f"), (112, "2f"), (123, "B"), NIFTI1)
_NIFTI2 = _Layout(544, (16, "8q"), 12, (104, "8d"), (168, "q"), (176, "2d"), (500, "i"), NIFTI2)


def _checked(order: str, head: bytes, layout: _Layout, name: str, max_bytes: int) -> NiftiHeader:
    def field(place: tuple[int, str]) -> tuple[Any, ...]:
        return struct.unpack_from(order + place[1], head, place[0])

    code, bits = struct.unpack_from(order + "2h", head, layout.datatype)
    if code not in _TYPES or bits != np.dtype(_TYPES[code]).itemsize * 8:
        raise GeometryError(
            "an image file holds values of a type that is not read",
            where=f"{name}, datatype and bitpix",
            expected="whole or floating-point numbers of 8 to 64 bits",
            got=f"{_OTHER_TYPES.get(code, f'code {code}')}, {bits} bits",
            action="write it again as int16 or float32",
        )
    shape = _shape(field(layout.dim), name)
    unit = _UNIT_MM.get(int(field(layout.units)[0]) & 7, 0.0)
    spacing = tuple(float(v) * unit for v in field(layout.pixdim)[1:4])
    if not all(MIN_SPACING_MM <= value <= MAX_SPACING_MM for value in spacing):
        _refuse_value("pixdim", f"{MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm", spacing, name)
    require_one_place(order, head, layout.forms, shape, name)
    offset = float(field(layout.offset)[0])
    if not (layout.size <= offset <= _MAX_EXTENSION and offset == int(offset)):
        _refuse_value("vox_offset", f"a whole number from {layout.size}", (offset,), name)
    scale = field(layout.scale)
    # A slope of 0 means no scaling (nifti1.h); its library and ITK read NaN as 0, and ITK adds the intercept anyway.
    if math.isnan(scale[0]) or scale[0] == 0:
        if scale[1] != 0 and not math.isnan(scale[1]):
            _refuse_value("scl_slope and scl_inter", "no intercept without a slope", scale, name)
    elif not all(math.isfinite(value) and abs(value) < 1e12 for value in scale):
        _refuse_value("scl_slope and scl_inter", "finite numbers", scale, name)
    header = NiftiHeader(
        np.dtype(order + _TYPES[code]),
        shape,
        spacing,
        int(offset),
        has_place(order, head, layout.forms),
        int(field(layout.units)[0]) & 7 > 0,
    )
    if header.bytes() > max_bytes:
        raise GeometryError(
            "an image file is too large",
            where=f"{name}, dim",
            expected=f"at most {max_bytes >> 20} MiB of values",
            got=f"{header.bytes() >> 20} MiB ({'×'.join(map(str, shape))})",
            action="crop it, or raise cohort.nifti_max_mib if it is meant",
        )
    return header


def _shape(dim: tuple[int, ...], name: str) -> tuple[int, ...]:
    axes = dim[0]
    if not 3 <= axes <= 7 or any(n < 1 for n in dim[1 : axes + 1]) or any(n > 1 for n in dim[4 : axes + 1]):
        raise GeometryError(
            "an image is not a 3D volume of single values",
            where=f"{name}, dim",
            expected="3 axes, 1 value per voxel",
            got="×".join(map(str, dim[1 : axes + 1])) if 1 <= axes <= 7 else f"{axes} axes",
        )
    return tuple(int(n) for n in dim[1:4])


def _refuse_value(what: str, expected: str, values: tuple[float, ...], name: str) -> None:
    raise GeometryError(
        "an image file's header holds a value that cannot be",
        where=f"{name}, {what}",
        expected=expected,
        got=", ".join(f"{value:g}" for value in values),
        action="write the file again from its source",
    )


def _read_values(stream: IO[bytes], header: NiftiHeader, name: str) -> float:
    """Read on to the end; returns the share of values that are not finite."""
    _skip(stream, header.offset - stream.tell())
    left, broken = header.bytes(), 0
    floating = header.dtype.kind == "f"
    while left > 0:
        raw = stream.read(min(_CHUNK, left))
        if not raw:
            break
        left -= len(raw)
        if floating:
            values = np.frombuffer(
                raw[: len(raw) // header.dtype.itemsize * header.dtype.itemsize], header.dtype
            )
            broken += int((~np.isfinite(values)).sum())
    surplus = left == 0 and stream.read(1) != b""
    if left or surplus:
        raise GeometryError(
            "an image file is cut" if left else "an image file is longer than its header says",
            where=name,
            expected=f"{header.bytes()} bytes of values ({'×'.join(map(str, header.shape))}, {header.dtype.name})",
            got=f"{header.bytes() - left} bytes" if left else "more",
            action="send the file again",
        )
    return broken / max(1, math.prod(header.shape))


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        part = len(stream.read(min(_CHUNK, count)))
        if not part:
            return
        count -= part
