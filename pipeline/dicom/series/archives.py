"""What is packed: members of ZIP archives, and deflated DICOM, each unpacked up to a limit."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydicom.filereader import _read_file_meta_info, read_preamble

from pipeline.errors import DicomError, PipelineError
from pipeline.tables.failures import raise_machine_failure

NOT_DICOM = "not DICOM"
BROKEN_ARCHIVE = "archive that cannot be unpacked"
DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Transfer syntax of a dataset that is compressed as a whole."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much a patient's files may unpack to.

    Attributes:
        unpacked_mib: All members of ZIP archives together.
        deflated_mib: One deflated DICOM file.
    """

    unpacked_mib: int = 8192
    deflated_mib: int = 512


@dataclass
class Unpacked:
    """Members of archives.

    Attributes:
        files: The members that begin as DICOM does, as numbered files.
        passed: Why others were passed over.
        bytes: Their size together.
    """

    files: list[Path] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    bytes: int = 0


def begins_as_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes are DICOM's: a preamble, or group 0002 or 0008 without one."""
    if start[128:132] == b"DICM":
        return True
    return len(start) >= 8 and start[:2] in (b"\x02\x00", b"\x08\x00") and start[3] == 0


def unpack(archive: Path, target: Path, limits: Limits, into: Unpacked) -> None:
    """Write the DICOM members of a ZIP archive as numbered files, so that no member's name counts.

    A broken archive is passed over; what was unpacked before it broke stays.

    Raises:
        DicomError: All archives together hold more than the limit.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            dicom = [member for member in members if _begins_as_dicom(content, member)]
            into.passed += [NOT_DICOM] * (len(members) - len(dicom))
            if into.bytes + sum(member.file_size for member in dicom) > limits.unpacked_mib << 20:
                raise _too_large(limits)
            for number, member in enumerate(dicom):
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # they name the patient
                target.mkdir(exist_ok=True)
                path = target / f"{number:06d}.dcm"
                with content.open(member) as packed, path.open("wb") as stream:
                    _copy(packed, stream, limits, into)
                into.files.append(path)
    except PipelineError:
        raise
    except Exception as error:  # the errors of the decompressors have no common base
        raise_machine_failure(error)
        into.passed.append(BROKEN_ARCHIVE)


def _begins_as_dicom(content: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    with content.open(member) as packed:
        return begins_as_dicom(packed.read(132))


def _too_large(limits: Limits) -> DicomError:
    return DicomError(
        "ZIP archives unpack to more than is allowed",
        where="image_path",
        expected=f"at most {limits.unpacked_mib} MiB of DICOM",
        got="more",
        action="unpack them yourself and leave out what is not needed, or raise index.max_unpacked_mib",
    )


def _copy(packed: object, stream: BinaryIO, limits: Limits, into: Unpacked) -> None:
    """Copy a member, which may be larger than memory, and than its entry says."""
    while part := packed.read(_CHUNK):  # type: ignore[attr-defined]
        into.bytes += len(part)
        if into.bytes > limits.unpacked_mib << 20:
            raise _too_large(limits)
        stream.write(part)


def inflates_beyond(stream: BinaryIO, limits: Limits) -> bool:
    """Whether a deflated DICOM file unpacks to more than the limit; it is unpacked in pieces to see."""
    stream.seek(0)
    read_preamble(stream, True)
    _read_file_meta_info(stream)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    size, limit = 0, limits.deflated_mib << 20
    while packed := stream.read(_CHUNK):
        while packed:
            size += len(unpacker.decompress(packed, _CHUNK))
            if size > limit:
                return True
            packed = unpacker.unconsumed_tail
    return False
