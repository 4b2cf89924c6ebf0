"""The rule `disks`: noisy disks whose survival time is their area (seed paper 000, section 3).

Each image shows one disk of random area and position in white Gaussian noise. Its time is the
area, scaled linearly to 4 … 11, plus N(0, 0.1), and every event is observed. The area is uniform,
so that a perfect measurement of it reaches a C-index of about
1 − (2 / 7) · 0.1 √2 · φ(0) = 0.984 under the noise of the times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import TableError
from pipeline.settings.phantom import DiskSettings

TIME_ROUNDING = 1e-5
"""Times are written to the table with six decimals."""


@dataclass(frozen=True)
class Disk:
    """The true disk of an image.

    Attributes:
        centre_px: Centre (y, x) in pixels; pixel centres have whole numbers.
        radius_px: Radius.
        scaled_area: Area scaled to the range of times (4 … 11).
        time: Survival time (dimensionless): scaled area plus noise.
    """

    centre_px: tuple[float, float]
    radius_px: float
    scaled_area: float
    time: float


@dataclass(frozen=True)
class DiskImage:
    """An image of a disk.

    Attributes:
        image: float32 (y, x): 1 inside, 0 outside, plus white noise.
        mask: uint8 (y, x): pixels whose centre lies inside.
        time: Survival time (dimensionless; longer is better).
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8]
    time: float


def disk_id(number: int) -> str:
    """Patient id of an image, `D0001` for number 1."""
    return f"D{number:04d}"


def disk_number(patient_id: str) -> int:
    """Number of an image from its patient id.

    Raises:
        TableError: The id is not one of this generator.
    """
    match = re.fullmatch(r"D(\d{4})", patient_id)
    if match is None:
        raise TableError(
            "a patient id is not that of a generated disk",
            where="column patient_id",
            expected="D0001, D0002, …",
            got=repr(patient_id),
            action="write the table anew: python -m pipeline.phantoms.disk_table STUDY.yaml",
        )
    return int(match.group(1))


def draw_disk(number: int, settings: DiskSettings) -> Disk:
    """Position, size and time of one disk, from (seed, number) alone; it lies inside the image.

    Raises:
        TableError: There is no such image, or noise made the time negative.
    """
    low, high = settings.radius_px
    where = f"disk {number}"
    if not 1 <= number <= settings.images:
        raise TableError("there is no such disk", where=where, expected=f"1 to {settings.images}")
    rng = np.random.default_rng([settings.seed, number, 11])
    share = float(rng.random())
    radius = sqrt(low**2 + share * (high**2 - low**2))
    centre = rng.uniform(radius, settings.size_px - 1 - radius, 2)
    first, last = settings.time_range
    area = first + share * (last - first)
    time = area + settings.time_noise * float(rng.normal())
    if not time > 0:
        raise TableError(
            "a disk has no positive time", where=where, got=f"{time:g}", action="lower time_noise"
        )
    return Disk((float(centre[0]), float(centre[1])), radius, area, time)


def disk_image(number: int, settings: DiskSettings) -> DiskImage:
    """The image of one disk, with white noise of SD `settings.noise`.

    Args:
        number: 1 to `settings.images`.
        settings: The generator.

    Raises:
        TableError: See :func:`draw_disk`.
    """
    disk = draw_disk(number, settings)
    y, x = np.ogrid[: settings.size_px, : settings.size_px]
    mask = (y - disk.centre_px[0]) ** 2 + (x - disk.centre_px[1]) ** 2 <= disk.radius_px**2
    rng = np.random.default_rng([settings.seed, number, 12])
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    image = mask.astype(np.float32) + np.float32(settings.noise) * noise
    return DiskImage(image, mask.astype(np.uint8), disk.time)


def disk_of_row(patient_id: str, time: float, settings: DiskSettings) -> DiskImage:
    """The image of a row of the cohort table.

    Args:
        patient_id: `D0001`, …
        time: The row's time (dimensionless).
        settings: The generator.

    Raises:
        TableError: The time of the row is not that of the disk: the table was written with other
            settings or read in another unit, and every outcome would belong to another image.
    """
    disk = disk_image(disk_number(patient_id), settings)
    if abs(time - disk.time) > TIME_ROUNDING:
        raise TableError(
            "the cohort table and the generator of disks disagree",
            where=f"row {patient_id}, column time_days",
            expected=f"{disk.time:.6f}",
            got=f"{time:.6f}",
            action="write the table anew: python -m pipeline.phantoms.disk_table STUDY.yaml; and set "
            "cohort.time_unit: none",
        )
    return disk


def write_disks(
    rows: Iterable[tuple[str, float]],
    settings: DiskSettings,
    outputs: Sequence[Path],
    write_arrays: Callable[[str, npt.NDArray[np.float32], npt.NDArray[np.uint8], Path], None],
) -> None:
    """Make the image and the mask of every row of the cohort table, and store them as crops.

    Args:
        rows: Patient id and time (dimensionless) of each row.
        settings: The generator.
        outputs: Path of each row's crop, in the same order.
        write_arrays: Stores a patient's image and mask as a crop; the store lies in another room.

    Raises:
        TableError: See :func:`disk_of_row`.
    """
    for (patient_id, time), out in zip(rows, outputs, strict=True):
        disk = disk_of_row(patient_id, time, settings)
        write_arrays(patient_id, disk.image, disk.mask, out)
