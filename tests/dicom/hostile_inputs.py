"""Hostile inputs by name: each makes its files in a folder, tries them, and returns what came out."""

from __future__ import annotations

import gzip
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.dicom.volume.convert_nifti import convert_nifti
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.messages import require_single_keys
from pipeline.tables.cohort import read_cohort
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import nifti_header
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import RoiSpec, rtstruct, square
from tests.dicom.volume.test_hostile import PET_EDITS
from tests.dicom.write_dicom import FRAME, STUDY, Recipe, write_pair

NIFTI = CohortSettings(
    table="x", source="nifti", nifti_ct="ct.*", nifti_pet="pet.*", nifti_pet_quantity="suvbw"
)
GRID = Grid((6, 8, 8), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))


MADE_AT: list[float] = []
"""Processor time of this process when its input was made."""


def dicom(folder: Path) -> str:
    """A DICOM patient through all stages; the last state and its problem."""
    MADE_AT.append(time.process_time())
    out = folder.parent / "out"
    index_patient(PatientFiles("P1", folder), IndexSettings(), out / "index", "exclude")
    convert_patient(out / "index", out / "convert", ConvertSettings(), "exclude")
    suv_patient(out / "convert", out / "suv", SuvSettings(), "exclude")
    sources = ContourSources("P1", out / "index", out / "convert", out / "suv", "", folder)
    contours_patient(sources, out / "contours", ContourSettings(required=False), "exclude")
    status = read_status(out / "contours")
    return f"{status.state}: {status.stage}: {status.problem}"


def nifti(folder: Path) -> str:
    """A NIfTI patient through all stages."""
    MADE_AT.append(time.process_time())
    out = folder.parent / "out"
    convert_nifti(PatientFiles("P1", folder), out / "convert", NIFTI, "exclude")
    suv_patient(out / "convert", out / "suv", SuvSettings(), "exclude")
    sources = ContourSources("P1", None, out / "convert", out / "suv", "", folder)
    contours_patient(sources, out / "contours", ContourSettings(roi=("mask*",)), "exclude")
    status = read_status(out / "contours")
    return f"{status.state}: {status.stage}: {status.problem}"


def table(folder: Path) -> str:
    """A cohort table, as a study reads it."""
    MADE_AT.append(time.process_time())
    settings = CohortSettings(table=str(folder / "c.csv"), source="dicom", image_root=str(folder))
    cohort = read_cohort(settings, "exclude")
    return f"{'excluded' if cohort.problems else 'ok'}: table: {len(cohort.patients)} patients, {cohort.problems}"


def study(folder: Path) -> str:
    """A study's YAML, as a start reads it."""
    MADE_AT.append(time.process_time())
    require_single_keys([folder / "s.yaml"])
    return "ok: settings:"


def pet(edit: Callable[..., None]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        return dicom(write_pair(folder, pet_edit=edit))

    return make


def beside_a_pair(write: Callable[[Path], None]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        write_pair(folder)
        write(folder)
        return dicom(folder)

    return make


def zip_of_zeros(members: int, declared: bool) -> Callable[[Path], None]:
    """A ZIP of members of 256 MiB of zeros behind a DICOM preamble; their sizes told rightly or as 1 kB."""

    def write(folder: Path) -> None:
        content = b"\0" * 128 + b"DICM" + bytes(256 << 20)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = packer.compress(content) + packer.flush()
        size = len(content) if declared else 1024
        tail = struct.pack("<HHHIIIHH", 8, 0, 0, zlib.crc32(content), len(data), size, 5, 0)
        local, central = b"", b""
        for number in range(members):
            name = f"{number:05d}".encode()
            central += b"PK\x01\x02" + struct.pack("<HHH", 20, 20, 0) + tail
            central += struct.pack("<HHHII", 0, 0, 0, 0, len(local)) + name
            local += b"PK\x03\x04" + struct.pack("<HH", 20, 0) + tail + name + data
        end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, members, members, len(central), len(local), 0)
        (folder / "a.zip").write_bytes(local + central + end)

    return write


def deflated_bomb(folder: Path) -> None:
    sound = pydicom.dcmread(next((folder / "pet").iterdir()))
    sound.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    sound.add_new(0x7FE10010, "OB", bytes(700 << 20))
    sound.save_as(folder / "bomb.dcm", enforce_file_format=True)


def drawn(contours: list[np.ndarray], name: str = "GTV") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = rtstruct(folder / "rs.dcm", [RoiSpec(name, contours)], (Recipe(description="ct").uid,), FRAME)
        ds = pydicom.dcmread(path)
        ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3.4", STUDY
        ds.save_as(path)

    return write


def ring(points: int, z: float = 46.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([-14 + 3 * np.cos(angle), -22 + 3 * np.sin(angle), np.full(points, z)], 1)


def huge_seg(folder: Path) -> None:
    ds = pydicom.dcmread(next((folder / "ct").iterdir()))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    ds.Modality, ds.SeriesInstanceUID, ds.SOPInstanceUID = "SEG", "1.2.3.5", "1.2.3.5.1"
    ds.SegmentationType, ds.Rows, ds.Columns, ds.NumberOfFrames = "BINARY", 65535, 65535, 60000
    ds.BitsAllocated = ds.BitsStored = 1
    segment = pydicom.Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "GTV"
    ds.SegmentSequence = [segment]
    ds.save_as(folder / "seg.dcm")


def nested(folder: Path) -> None:
    """A sequence in a sequence, 3,000 deep, in the PET's first file."""
    path = next((folder / "pet").iterdir())
    ds = pydicom.dcmread(path)
    deep = b""
    for _ in range(3000):
        deep = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(deep)) + deep
        deep = b"\x08\x00\x15\x11SQ\0\0" + struct.pack("<I", len(deep)) + deep
    content = path.read_bytes()
    place = content.index(b"\x08\x00\x3e\x10")
    path.write_bytes(content[:place] + deep + content[place:])
    assert ds


def whole_nifti(folder: Path, change: Callable[[Path], None] = lambda folder: None) -> str:
    folder.mkdir(parents=True)
    values = np.random.default_rng(1).random(GRID.shape).astype(np.float32)
    for name, array in (("ct", values * 2000 - 1000), ("pet", values * 8), ("mask", (values > 0.5) * 1.0)):
        header = nifti_header(GRID, np.dtype("float32"))
        (folder / f"{name}.nii.gz").write_bytes(gzip.compress(header + array.astype(np.float32).tobytes()))
    change(folder)
    return nifti(folder)


def nifti_with(
    name: str, edit: Callable[[bytearray], bytes | bytearray], packed: bool = True
) -> Callable[[Path], str]:
    def change(folder: Path) -> None:
        path = folder / f"{name}.nii.gz"
        data = bytearray(gzip.decompress(path.read_bytes()))
        path.write_bytes(
            gzip.compress(bytes(edit(data))) if packed else bytes(edit(bytearray(path.read_bytes())))
        )

    return lambda folder: whole_nifti(folder, change)


def put(place: int, kind: str, *values: float) -> Callable[[bytearray], bytearray]:
    def edit(data: bytearray) -> bytearray:
        struct.pack_into("<" + kind, data, place, *values)
        return data

    return edit


def pipe(folder: Path) -> None:
    (folder / "pet.nii.gz").unlink()
    os.mkfifo(folder / "pet.nii.gz")


def swapped(data: bytearray) -> bytearray:
    data[len(data) // 2] ^= 0x55
    return data


def mha_bomb(folder: Path) -> None:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 8 8 6\nElementType = MET_UCHAR\nCompressedData = True\n"
    (folder / "mask.nii.gz").unlink()
    (folder / "mask.mha").write_bytes(
        (head + "ElementDataFile = LOCAL\n").encode() + zlib.compress(bytes(1 << 30), 1)
    )


def rows(*lines: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        folder.mkdir(parents=True)
        head = "patient_id,set,centre,image_path,roi,time_days,event\n"
        text = head + "".join(line + "\n" for line in ("P0,development,A,P0,,10,1", *lines))
        (folder / "c.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
        return table(folder)

    return make


def yaml(text: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        folder.mkdir(parents=True)
        (folder / "s.yaml").write_text(text)
        return study(folder)

    return make


def names_and_links(folder: Path) -> None:
    os.rename(folder / "pet" / "000.dcm", os.fsencode(folder / "pet") + b"/\xe9{x}\x1b.dcm")
    (folder / "ring").symlink_to(folder / "ring")
    (folder / "top").symlink_to("/proc/self/fd")
    os.mkfifo(folder / "pipe.dcm")


LAUGHS = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
INPUTS: dict[str, Callable[[Path], str]] = {
    **{f"PET: {name}": pet(edit) for name, edit in PET_EDITS.items()},
    "ZIP of 10 GiB of zeros": beside_a_pair(zip_of_zeros(40, declared=True)),
    "ZIP whose members lie about their size": beside_a_pair(zip_of_zeros(40, declared=False)),
    "deflated DICOM of 700 MiB": beside_a_pair(deflated_bomb),
    "sequences nested 3,000 deep": beside_a_pair(nested),
    "names, links, pipes": beside_a_pair(names_and_links),
    "RTSTRUCT: 2,000 contours over one another": beside_a_pair(
        drawn([square(-18 + 0.001 * n, -10, 46.0, -26, -16) for n in range(2000)])
    ),
    "RTSTRUCT: a contour of 1,000,000 points": beside_a_pair(drawn([ring(1_000_000)])),
    "RTSTRUCT: two crossing contours of 20,000 points": beside_a_pair(
        drawn([ring(20_000), ring(20_000) + np.array([1.0, 0.0, 0.0])])
    ),
    "RTSTRUCT: 25,000 contours": beside_a_pair(drawn([ring(3, 46 + 0.0001 * n) for n in range(25_000)])),
    "RTSTRUCT: coordinates of 1e12": beside_a_pair(drawn([ring(9) * 1e11])),
    "RTSTRUCT: a name of control characters": beside_a_pair(drawn([ring(9)], "GTV\x1b[2J\x07")),
    "SEG: 60,000 frames of 65535 squared": beside_a_pair(huge_seg),
    "NIfTI: axes of 32,767": nifti_with("ct", put(42, "3h", 32767, 32767, 32767)),
    "NIfTI: offset of 1e30": nifti_with("pet", put(108, "f", 1e30)),
    "NIfTI: negative offset": nifti_with("pet", put(108, "f", -352.0)),
    "NIfTI: spacing of 1e30": nifti_with("pet", put(80, "f", 1e30)),
    "NIfTI: complex": nifti_with("pet", put(70, "2h", 32, 64)),
    "NIfTI: slope of 1e30": nifti_with("pet", put(112, "f", 1e30)),
    "NIfTI: 1 GiB behind its values": nifti_with("ct", lambda data: bytes(data) + bytes(1 << 30)),
    "NIfTI: cut": nifti_with("ct", lambda data: data[: len(data) // 2]),
    "NIfTI: a changed byte": nifti_with("mask", swapped, packed=False),
    "NIfTI: a pipe": lambda folder: whole_nifti(folder, pipe),
    "MetaImage of 1 GiB of zeros": lambda folder: whole_nifti(folder, mha_bomb),
    "table: a field of 5,000,000 characters": rows("P1,development,A," + "x" * 5_000_000 + ",,10,1"),
    "table: NUL, braces, escapes, no UTF-8": rows(
        "P1\0,development,A,{P}\x1b[2J,,10,1", "P2,development,\udce9,P2,,10,1"),
    "table: times of 1e308, nan and -1": rows(
        "P1,development,A,P1,,1e308,1", "P2,development,A,P2,,nan,1", "P3,development,A,P3,,-1,1"),
    "YAML: anchors that multiply": yaml(LAUGHS),
    "YAML: an anchor in itself": yaml("a: &a [1, *a]\n"),
}  # fmt: skip
