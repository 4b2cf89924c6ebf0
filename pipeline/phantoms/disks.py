"""Noisy disks whose survival time is their area (seed paper 000, section 3).

An image of one disk of random area and place in white Gaussian noise; its time is the area,
scaled linearly to 4 … 11, plus N(0, 0.1), and every event is observed. The area is uniform,
so that a perfect measurement of it reaches a C-index of about
1 − (2 / 7) · 0.1 √2 · φ(0) = 0.984 under the noise of the times.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import TableError
from pipeline.settings.phantom import DiskSettings

COLUMNS = (
    "patient_id",
    "set",
    "centre",
    "image_path",
    "roi",
    "time_days",
    "event",
    "truth_log_hazard",
    "truth_area_px",
)
TIME_ROUNDING = 1e-5
"""Times are written with six decimals."""


@dataclass(frozen=True)
class Disk:
    """What is true of one image.

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
            "a generated disk has another kind of id",
            where="column patient_id",
            expected="D0001, D0002, …",
            got=repr(patient_id),
            action="write the table with write_disk_table",
        )
    return int(match.group(1))


def draw_disk(number: int, settings: DiskSettings) -> Disk:
    """Place, size and time of one disk, from (seed, number) alone; the disk lies inside the image.

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


def disk(number: int, settings: DiskSettings) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], float]:
    """One image, its mask and its time.

    Args:
        number: 1 to `settings.images`.
        settings: The generator.

    Returns:
        Image float32 (y, x): 1 inside, 0 outside, plus white noise of SD `settings.noise`;
        mask uint8 (y, x): pixels whose centre lies inside; time (dimensionless; longer = better).

    Raises:
        TableError: See :func:`draw_disk`.
    """
    one = draw_disk(number, settings)
    y, x = np.ogrid[: settings.size_px, : settings.size_px]
    mask = (y - one.centre_px[0]) ** 2 + (x - one.centre_px[1]) ** 2 <= one.radius_px**2
    rng = np.random.default_rng([settings.seed, number, 12])
    noise = rng.standard_normal(mask.shape, dtype=np.float32)
    image = mask.astype(np.float32) + np.float32(settings.noise) * noise
    return image, mask.astype(np.uint8), one.time


def disk_of_row(
    patient_id: str, time: float, settings: DiskSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Image and mask (y, x) of a row of the cohort table.

    Args:
        patient_id: `D0001`, …
        time: The row's time (dimensionless).
        settings: The generator.

    Raises:
        TableError: The row's time is not the disk's: the table was written with other settings
            or read in another unit, and every outcome would belong to another image.
    """
    image, mask, truth = disk(disk_number(patient_id), settings)
    if abs(time - truth) > TIME_ROUNDING:
        raise TableError(
            "the cohort table and the generator of disks disagree",
            where=f"row {patient_id}, column time_days",
            expected=f"{truth:.6f}",
            got=f"{time:.6f}",
            action="write the table anew: python -m pipeline.phantoms.disk_table STUDY.yaml; and set "
            "cohort.time_unit: none",
        )
    return image, mask


def write_disks(
    rows: Iterable[tuple[str, float]],
    settings: DiskSettings,
    outputs: Sequence[Path],
    write_crop: Callable[[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]], Path], None],
) -> None:
    """Make the image and the mask of every row of the cohort table, and store them as crops.

    Args:
        rows: Patient id and time (dimensionless) of each row.
        settings: The generator.
        outputs: One crop store per row, in the same order.
        write_crop: Stores the image and the mask of a patient at a path.

    Raises:
        TableError: See :func:`disk_of_row`.
    """
    for (patient_id, time), out in zip(rows, outputs, strict=True):
        write_crop(patient_id, disk_of_row(patient_id, time, settings), out)


def write_disk_table(settings: DiskSettings, path: Path) -> None:
    """Write the cohort table of the disks; times are dimensionless (`cohort.time_unit: none`).

    `truth_log_hazard` is minus the scaled area without noise (higher = worse).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number in range(1, settings.images + 1):
            one, name = draw_disk(number, settings), disk_id(number)
            group = "development" if number <= settings.development else "external"
            truth = [f"{-one.scaled_area:.6f}", f"{pi * one.radius_px**2:.3f}"]
            writer.writerow([name, group, "generated", name, "", f"{one.time:.6f}", 1, *truth])
