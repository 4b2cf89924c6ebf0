"""The rule `chest_slices`: slices of chest-like volumes, with lesions whose place and kind are known.

Made for the study of seed paper 004, whose public images are not part of this repository: three
diagnoses, masks of three kinds of lesion of one of them, several slices of a volume, which are alike.
Intensities: air and lung near 0, soft tissue 1. Ground glass is a faint lobe (0.35), consolidation a dense one
(0.8), pleural effusion a layer of 0.9 at the bottom of a lung, a nodule of cancer a disk of 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import TableError
from pipeline.settings.chest_phantom import DIAGNOSES, LESIONS, ChestSliceSettings

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.uint8]
COVID, CANCER = DIAGNOSES.index("covid_19"), DIAGNOSES.index("cancer")
DENSITY = {"ground_glass": 0.35, "consolidation": 0.8, "pleural_effusion": 0.9}
LUNG, TISSUE = 0.05, 1.0
SHIFT = 0.02
"""SD of a lesion's movement from slice to slice, as a share of the side."""


@dataclass(frozen=True)
class ChestSlice:
    """A slice.

    Attributes:
        image: float32 (y, x).
        mask: uint8 (y, x), labels in the order of `LESIONS`; None unless the diagnosis is covid-19.
        diagnosis: Class of `label_diagnosis`.
    """

    image: npt.NDArray[np.float32]
    mask: Mask | None
    diagnosis: int


def slice_id(volume: int, number: int) -> str:
    """Id of a slice of a volume, both from 1: `V001_02`."""
    return f"V{volume:03d}_{number:02d}"


def place_of(patient_id: str) -> tuple[int, int]:
    """Volume and number of a slice, from its id.

    Raises:
        TableError: The id is not one of this generator.
    """
    match = re.fullmatch(r"V(\d{3,4})_(\d{2})", patient_id)
    if match is None:
        raise TableError(
            "a patient id is not that of a generated chest slice",
            where="column patient_id",
            expected="V001_01, V001_02, …",
            got=repr(patient_id),
            action="write the table anew: python -m pipeline.phantoms.chest_table STUDY.yaml",
        )
    return int(match[1]), int(match[2])


def diagnosis_of(volume: int) -> int:
    """Class of `label_diagnosis` of a volume: the three in turn."""
    return volume % len(DIAGNOSES)


def chest_slice(volume: int, number: int, settings: ChestSliceSettings) -> ChestSlice:
    """One slice, from (seed, volume, number) alone: anatomy and lesions of the volume, moved a little.

    Raises:
        TableError: There is no such slice.
    """
    if not (1 <= volume <= settings.volumes and 1 <= number <= settings.slices):
        raise TableError(
            "there is no such slice",
            where=slice_id(volume, number),
            expected=f"volumes 1 to {settings.volumes}, slices 1 to {settings.slices}",
        )
    of_volume = np.random.default_rng([settings.seed, volume, 21])
    of_slice = np.random.default_rng([settings.seed, volume, number, 22])
    grid = _grid(settings.size_px)
    body = _ellipse(grid, (0.0, 0.0), (0.82, 0.94))
    width = of_volume.uniform(0.3, 0.36)
    height = of_volume.uniform(0.5, 0.62)
    lungs = [_ellipse(grid, (0.0, side * 0.45), (height, width)) for side in (-1, 1)]
    image = np.where(body, TISSUE, 0.0)
    image[lungs[0] | lungs[1]] = LUNG
    image = _with_vessels(image, lungs, of_volume, grid)
    diagnosis, labels = diagnosis_of(volume), np.zeros(body.shape, dtype=np.uint8)
    if diagnosis == COVID:
        for label in _kinds(of_volume):
            region = _lesion(LESIONS[label - 1], lungs, grid, of_volume, of_slice)
            image[region], labels[region] = DENSITY[LESIONS[label - 1]], label
    elif diagnosis == CANCER:
        image[_nodule(lungs, grid, of_volume, of_slice)] = TISSUE
    image = image + settings.noise * of_slice.standard_normal(image.shape)
    return ChestSlice(image.astype(np.float32), labels if diagnosis == COVID else None, diagnosis)


def _grid(size: int) -> tuple[Array, Array]:
    """Coordinates y and x of the pixels' centres, −1 to 1."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def _ellipse(
    grid: tuple[Array, Array], centre: tuple[float, float], radii: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    y, x = grid
    inside: npt.NDArray[np.bool_] = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1
    return inside


def _with_vessels(
    image: Array, lungs: Sequence[npt.NDArray[np.bool_]], rng: np.random.Generator, grid: tuple[Array, Array]
) -> Array:
    """Small bright spots in the lungs, which are no lesions."""
    image = image.copy()
    for _ in range(12):
        spot = _ellipse(grid, (rng.uniform(-0.5, 0.5), rng.uniform(-0.75, 0.75)), (0.03, 0.03))
        image[spot & (lungs[0] | lungs[1])] = 0.6
    return image


def _kinds(rng: np.random.Generator) -> list[int]:
    """Labels of the lesions of a volume: one kind at least, the others by chance."""
    first = int(rng.integers(1, len(LESIONS) + 1))
    others = [label for label in range(1, len(LESIONS) + 1) if label != first and rng.random() < 0.4]
    return sorted([first, *others])


def _lesion(
    kind: str,
    lungs: Sequence[npt.NDArray[np.bool_]],
    grid: tuple[Array, Array],
    of_volume: np.random.Generator,
    of_slice: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Pixels of a lesion of a kind in one of the lungs."""
    side = int(of_volume.integers(2))
    lung, sign = lungs[side], (-1, 1)[side]
    y, _ = grid
    bottom = float(y[lung].max())
    if kind == "pleural_effusion":
        level = bottom - of_volume.uniform(0.2, 0.4) + SHIFT * of_slice.standard_normal()
        return lung & (y > level)
    centre = (of_volume.uniform(-0.35, 0.1), sign * 0.45 + of_volume.uniform(-0.12, 0.12))
    moved = (centre[0] + SHIFT * of_slice.standard_normal(), centre[1] + SHIFT * of_slice.standard_normal())
    size = (0.2, 0.32) if kind == "ground_glass" else (0.12, 0.2)
    return lung & _ellipse(grid, moved, (of_volume.uniform(*size), of_volume.uniform(*size)))


def _nodule(
    lungs: Sequence[npt.NDArray[np.bool_]],
    grid: tuple[Array, Array],
    of_volume: np.random.Generator,
    of_slice: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    side = int(of_volume.integers(2))
    centre = (of_volume.uniform(-0.25, 0.25), (-0.45, 0.45)[side] + of_volume.uniform(-0.1, 0.1))
    radius = of_volume.uniform(0.1, 0.16) + 0.01 * of_slice.standard_normal()
    return _ellipse(grid, centre, (radius, radius))


def write_chest_slices(
    patients: Iterable[str],
    settings: ChestSliceSettings,
    outputs: Sequence[Path],
    classes: tuple[str, ...],
    write_arrays: Callable[..., None],
) -> None:
    """Make the slice and the mask of every row of the cohort table, and store them as crops.

    Args:
        patients: Ids of the rows.
        settings: The generator.
        outputs: Path of each row's crop, in the same order.
        classes: Names of the lesions that the study tells apart; empty: none.
        write_arrays: Stores an image and its mask as a crop; the store lies in another room.

    Raises:
        TableError: An id is not one of this generator's.
    """
    for patient_id, out in zip(patients, outputs, strict=True):
        made = chest_slice(*place_of(patient_id), settings)
        write_arrays(patient_id, made.image, made.mask, out, classes=classes)
