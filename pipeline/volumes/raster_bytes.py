"""The bytes of MetaImage and NRRD files, checked before they are believed: whole, of the size that the header says.

ITK passes a compressed MetaImage on whose checksum (Adler-32) doesn't fit. Here compressed values are
unpacked to their end; values that aren't compressed carry no checksum, so that only their number counts.
"""

from __future__ import annotations

import bz2
import gzip
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from pipeline.errors import GeometryError

_CHUNK = 4 << 20
_LONGEST_HEADER = 1 << 20
_META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}  # fmt: skip
_NRRD_BYTES = {
    1: ("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: ("short", "short int", "signed short", "int16", "int16_t", "ushort", "unsigned short", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("longlong", "long long", "int64", "int64_t", "ulonglong", "unsigned long long", "uint64", "uint64_t", "double"),
}  # fmt: skip
_SIZE_OF_TYPE = {name: size for size, names in _NRRD_BYTES.items() for name in names}


@dataclass(frozen=True)
class _Values:
    """Where a file's values lie, and how many bytes they are.

    Attributes:
        path: The file that holds them.
        offset: Where they begin; None: they end with the file.
        bytes: Their size, unpacked.
        packing: `raw`, `zlib`, `gzip` or `bzip2`.
    """

    path: Path
    offset: int | None
    bytes: int
    packing: str


def check_raster(path: Path, max_bytes: int, name: str) -> None:
    """Read a MetaImage or NRRD file to its end and hold its size against its header.

    Args:
        path: `.mha`, `.mhd`, `.nrrd` or `.nhdr`.
        max_bytes: Values of more bytes are refused.
        name: What messages call it.

    Raises:
        GeometryError: The file is cut, damaged or too large, or its header doesn't say how large it is.
        OSError: The machine could not read it.
    """
    with path.open("rb") as stream:
        values = (_nrrd if path.suffix.lower() in (".nrrd", ".nhdr") else _metaimage)(stream, path, name)
    if values is None:
        return
    if values.bytes > max_bytes:
        _refuse(
            "an image file is too large", name, f"at most {max_bytes >> 20} MiB", f"{values.bytes >> 20} MiB"
        )
    if not values.path.is_file():
        _refuse("the values of an image file are missing", name, "a file beside the header", "none")
    try:
        size = _unpacked_size(values)
    except (gzip.BadGzipFile, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        _refuse(
            "a compressed image file is cut or damaged",
            name,
            "values whose length and checksum fit",
            str(error),
        )
    if size != values.bytes:
        problem = (
            "an image file is cut" if size < values.bytes else "an image file is longer than its header says"
        )
        _refuse(problem, name, f"{values.bytes} bytes of values", f"{size} bytes")


def _refuse(problem: str, name: str, expected: str, got: str) -> None:
    raise GeometryError(problem, where=name, expected=expected, got=got, action="send the file again")


def _lines(stream: IO[bytes], name: str) -> Callable[[], bytes]:
    """A reader of header lines; a file without line ends is no header."""

    def line() -> bytes:
        text = stream.readline(_LONGEST_HEADER)
        if not text.endswith(b"\n") or stream.tell() > _LONGEST_HEADER:
            _refuse("an image file's header cannot be read", name, "lines of `key = value`", "other bytes")
        return text.rstrip(b"\r\n")

    return line


def _metaimage(stream: IO[bytes], path: Path, name: str) -> _Values:
    """Where a MetaImage's values are; `ElementDataFile` is the last line of its header."""
    fields: dict[str, str] = {}
    line = _lines(stream, name)
    while "ElementDataFile" not in fields:
        key, _, value = line().decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
    sizes = _numbers(fields.get("DimSize", ""))
    item = _META_BYTES.get(fields.get("ElementType", ""), 0)
    count = math.prod(sizes) * item * (_numbers(fields.get("ElementNumberOfChannels", "1")) or [0])[0]
    if not sizes or count <= 0:
        _refuse("an image file's header cannot be read", name, "DimSize and a known ElementType", "none")
    packing = "zlib" if fields.get("CompressedData", "").lower() == "true" else "raw"
    if fields["ElementDataFile"].upper() == "LOCAL":
        return _Values(path, stream.tell(), count, packing)
    skip = fields.get("HeaderSize", "0")
    offset = None if skip == "-1" else int((_numbers(skip) or [0])[0])
    return _Values(_beside(path, fields["ElementDataFile"], name), offset, count, packing)


def _nrrd(stream: IO[bytes], path: Path, name: str) -> _Values | None:
    """Where an NRRD's values are; None where they are written as text, which ITK reads number by number."""
    line = _lines(stream, name)
    if not line().startswith(b"NRRD000"):
        _refuse("a file does not begin as NRRD does", name, "NRRD0001 to NRRD0005", "other bytes")
    fields: dict[str, str] = {}
    while text := line():
        key, _, value = text.decode("latin-1").partition(":")
        fields[key.strip().lower().replace(" ", "")] = value.strip()
        if key.strip().lower().replace(" ", "") == "datafile" and stream.peek(1)[:1] == b"":  # type: ignore[attr-defined]
            break
    sizes, item = _numbers(fields.get("sizes", "")), _SIZE_OF_TYPE.get(fields.get("type", "").lower(), 0)
    count = math.prod(sizes) * item
    if not sizes or count <= 0:
        _refuse("an image file's header cannot be read", name, "sizes and a known type", "none")
    encoding = fields.get("encoding", "raw").lower()
    packing = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}.get(encoding)
    if packing is None:
        return None
    if "datafile" not in fields:
        return _Values(path, stream.tell(), count, packing)
    skip = int((_numbers(fields.get("byteskip", "0")) or [0])[0])
    offset = None if fields.get("byteskip") == "-1" else skip
    return _Values(_beside(path, fields["datafile"], name), offset, count, packing)


def _numbers(text: str) -> list[int]:
    """Whole numbers of a header field; empty where it holds anything else."""
    words = text.split()
    return [int(word) for word in words] if words and all(word.isdigit() for word in words) else []


def _beside(path: Path, text: str, name: str) -> Path:
    """The file of values, which must lie beside its header: no list, no pattern, no other folder."""
    if not text or "/" in text or "\\" in text or "%" in text or text.upper().startswith("LIST"):
        _refuse(
            "an image file's values lie elsewhere",
            name,
            "one file of values beside the header",
            "a list or a path",
        )
    return path.with_name(text)


def _unpacked_size(values: _Values) -> int:
    """Bytes that a file of values unpacks to, counted no further than is needed to see that there are too many."""
    size = values.path.stat().st_size
    if values.packing == "raw":
        return values.bytes if values.offset is None and size >= values.bytes else size - (values.offset or 0)
    with values.path.open("rb") as stream:
        stream.seek(values.offset or 0)
        if values.packing == "zlib":
            return _inflated_size(stream, values.bytes)
        opened = gzip.GzipFile(fileobj=stream) if values.packing == "gzip" else bz2.BZ2File(stream)
        with cast(IO[bytes], opened) as unpacked:
            return _read_size(unpacked, values.bytes)


def _read_size(stream: IO[bytes], enough: int) -> int:
    size = 0
    while size <= enough and (part := stream.read(_CHUNK)):
        size += len(part)
    return size


def _inflated_size(stream: IO[bytes], enough: int) -> int:
    """The same of zlib's format, or gzip's; its checksum is held against the values at its end."""
    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)
    size = 0
    while size <= enough and not unpacker.eof:
        packed = unpacker.unconsumed_tail or stream.read(_CHUNK)
        if not packed:
            raise EOFError("the compressed values end too early")
        size += len(unpacker.decompress(packed, _CHUNK))
    return size
