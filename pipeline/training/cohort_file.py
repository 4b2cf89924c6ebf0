"""A cohort's crops in one file, standardised: two plain arrays with a header, read patient by patient."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.as_planned import require_as_planned
from pipeline.errors import TrainingError
from pipeline.tables.failures import damage, own_result, raise_machine_failure
from pipeline.tables.whole import whole_folder
from pipeline.training.checkpoint import digest
from pipeline.training.crops import StandardisedCrop

if TYPE_CHECKING:
    import torch

    from pipeline.store.attributes import CropAttributes

HEADER, IMAGES, MASKS = "cohort.json", "images", "masks"


@dataclass(frozen=True)
class CohortHeader:
    """What a cohort's file says of itself.

    Attributes:
        ids: Patient ids, in the order of the rows.
        shape: (C, Z, Y, X) of a patient's image.
        precision: `float32`, `float16` or `bfloat16` of the images; masks are bytes.
        has_mask: Of each patient, whether he has a mask.
        air: Of each patient, the standardised value of air in each channel.
        crc32: Of each patient, the CRC-32 of image and mask.
        channels: Names of the channels.
        spacing_mm: (z, y, x).
        margin: Voxels stored beyond what networks are given, on each side.
        crops_digest: Hash of every array of every patient's crop.
        classes: Names of the classes of labels 1, 2, …; empty: masks tell none apart.
    """

    ids: tuple[str, ...]
    shape: tuple[int, int, int, int]
    precision: str
    has_mask: tuple[bool, ...]
    air: tuple[tuple[float, ...], ...]
    crc32: tuple[int, ...]
    channels: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    margin: int
    crops_digest: str
    classes: tuple[str, ...] = ()

    @property
    def voxels(self) -> int:
        """Voxels of a patient's mask."""
        return self.shape[1] * self.shape[2] * self.shape[3]

    @property
    def image_bytes(self) -> int:
        """Bytes of a patient's image."""
        return self.shape[0] * self.voxels * bytes_per_value(self.precision)

    @property
    def nbytes(self) -> int:
        """Bytes of all images and masks."""
        return len(self.ids) * (self.image_bytes + self.voxels)


def bytes_per_value(precision: str) -> int:
    """Bytes of a value of this precision."""
    return 4 if precision == "float32" else 2


class CohortFile:
    """A cohort's file, open for reading.

    Attributes:
        folder: Where it lies.
        header: What it holds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.header = folder, read_header(folder)
        self._images = (folder / IMAGES).open("rb", buffering=0)
        self._masks = (folder / MASKS).open("rb", buffering=0)

    def read(self, row: int, image: torch.Tensor, mask: torch.Tensor) -> None:
        """Read a patient into tensors that lie contiguous in the machine's memory.

        Args:
            row: Row number.
            image: (C, Z, Y, X) of the file's precision.
            mask: (Z, Y, X) uint8.
        """
        import torch

        with own_result(self.folder, "the cohort's file as it was written"):
            for file, tensor in ((self._images, image), (self._masks, mask)):
                buffer = tensor.view(torch.uint8).reshape(-1).numpy().data
                _read_at(file, buffer, row * len(buffer))

    def check(self) -> None:
        """Read all patients and compare them with their checksums.

        Raises:
            DamageError: A patient is not as he was written.
        """
        sizes = {self._images: self.header.image_bytes, self._masks: self.header.voxels}
        buffer = memoryview(bytearray(max(sizes.values())))
        with own_result(self.folder, "the cohort's file as it was written"):
            for row, expected in enumerate(self.header.crc32):
                got = 0
                for file, size in sizes.items():
                    _read_at(file, buffer[:size], row * size)
                    got = zlib.crc32(buffer[:size], got)
                if got != expected:
                    raise damage(self.folder, f"CRC-32 {expected}", f"CRC-32 {got}")

    def close(self) -> None:
        """Close the file."""
        self._images.close()
        self._masks.close()


def read_header(folder: Path) -> CohortHeader:
    """The header of a cohort's file."""
    with own_result(folder / HEADER, "the header of a cohort's file"):
        values = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        plain = {name: _frozen(value) for name, value in values.items()}
        return CohortHeader(**plain)


def write_cohort(folder: Path, precision: str, crops: Iterable[StandardisedCrop]) -> None:
    """Write a cohort's file, one patient in memory at a time; it has its name only when it is whole.

    Raises:
        TrainingError: A value does not fit the precision.
        MachineError: It cannot be written.
    """
    entries: list[PatientEntry] = []
    try:
        with whole_folder(folder) as partial:
            with (partial / IMAGES).open("wb") as images, (partial / MASKS).open("wb") as masks:
                for crop in crops:
                    image, mask = _as_bytes(crop, precision), crop.mask.tobytes()
                    images.write(image)
                    masks.write(mask)
                    entries.append(entry_of(crop, zlib.crc32(mask, zlib.crc32(image))))
            require_as_planned()  # The file outlives a job that fails, and other jobs read it.
            header = json.dumps(asdict(header_of(entries, precision)))
            (partial / HEADER).write_text(header, encoding="utf-8")
    except OSError as error:
        raise_machine_failure(error)
        raise


@dataclass(frozen=True)
class PatientEntry:
    """What a header says of one patient."""

    shape: tuple[int, ...]
    has_mask: bool
    air: tuple[float, ...]
    crc32: int
    attributes: CropAttributes


def entry_of(crop: StandardisedCrop, crc32: int = 0) -> PatientEntry:
    """The entry of a patient; the checksum is of a file's bytes."""
    air = tuple(float(value) for value in crop.air)
    return PatientEntry(crop.image.shape, crop.has_mask, air, crc32, crop.attributes)


def header_of(entries: Sequence[PatientEntry], precision: str) -> CohortHeader:
    """The header of a cohort of these patients.

    Raises:
        TrainingError: Masks differ in their classes.
    """
    first = entries[0]
    (c, z, y, x), spacing = first.shape, first.attributes.spacing_mm
    checksums = [str(sorted(entry.attributes.checksums.items())).encode() for entry in entries]
    return CohortHeader(
        ids=tuple(entry.attributes.patient_id for entry in entries),
        shape=(c, z, y, x),
        precision=precision,
        has_mask=tuple(entry.has_mask for entry in entries),
        air=tuple(entry.air for entry in entries),
        crc32=tuple(entry.crc32 for entry in entries),
        channels=tuple(first.attributes.channels),
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        margin=int(first.attributes.margin),
        crops_digest=digest(*checksums),
        classes=_one_list_of_classes(entries),
    )


def _one_list_of_classes(entries: Sequence[PatientEntry]) -> tuple[str, ...]:
    """The classes that all masks tell apart; empty where no patient has a mask."""
    masked = [entry.attributes for entry in entries if entry.has_mask]
    for crop in masked:
        if crop.classes != masked[0].classes:
            raise TrainingError(
                "masks differ in their classes",
                where=f"patient {crop.patient_id}",
                expected=f"{', '.join(masked[0].classes) or 'none'}, as patient {masked[0].patient_id}",
                got=", ".join(crop.classes) or "none",
                action="remake the crops with one setting of contours.classes",
            )
    return masked[0].classes if masked else ()


def in_precision(crop: StandardisedCrop, precision: str) -> torch.Tensor:
    """A patient's image (C, Z, Y, X) in a precision.

    Raises:
        TrainingError: A value is larger than the precision can hold.
    """
    import torch

    image = torch.from_numpy(crop.image).to(torch_type(precision))
    if not bool(image.isfinite().all()):
        raise TrainingError(
            f"an image holds values that do not fit {precision}",
            where=f"patient {crop.attributes.patient_id}",
            expected=f"at most {torch.finfo(image.dtype).max:g}",
            got=f"{float(abs(crop.image).max()):g}",
            action="set training.stored_as: float32",
        )
    return image


def _as_bytes(crop: StandardisedCrop, precision: str) -> bytes:
    import torch

    return in_precision(crop, precision).view(torch.uint8).numpy().tobytes()


def torch_type(precision: str) -> torch.dtype:
    """PyTorch's type of a precision."""
    import torch

    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[precision]


def _read_at(file: IO[bytes], buffer: memoryview, offset: int) -> None:
    """Fill a buffer from a place in a file; a read gives at most 2 GiB at once.

    Raises:
        EOFError: The file is shorter.
    """
    done = 0
    while done < len(buffer):
        count = os.preadv(file.fileno(), [buffer[done:]], offset + done)
        if not count:
            raise EOFError("the file is shorter than its header says")
        done += count


def _frozen(value: Any) -> Any:
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list) else value
