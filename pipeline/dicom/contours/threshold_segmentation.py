"""Segmentation of a lesion on the PET by a threshold, where nobody has drawn a contour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.dicom.contours.roi import ImageMatch, Mask, NoContourError, RoiMask
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import FloatArray, Grid, Volume

METHODS = ("threshold_40", "threshold_41", "fixed_2.5", "fixed_4.0")
_SPHERE = re.compile(r"^sphere\((.*)\)$", re.IGNORECASE)


@dataclass(frozen=True)
class SeedSphere:
    """Where a lesion is looked for.

    Attributes:
        centre_mm: LPS x, y, z.
        radius_mm: Radius.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float


@dataclass(frozen=True)
class SegmentedLesion:
    """A segmented lesion.

    Attributes:
        mask: Boolean (z, y, x).
        threshold_suv: The least SUV inside.
    """

    mask: Mask
    threshold_suv: float


def is_seed_sphere(entry: str) -> bool:
    """Whether a cohort table's `roi` names a seed region: `sphere(x, y, z, radius)`, LPS mm."""
    return bool(_SPHERE.match(entry))


def segmented_roi(suv: Path, entry: str, settings: ContourSettings) -> RoiMask:
    """The lesion on the SUV image in a folder, marked by the method that segmented it.

    Args:
        suv: Folder with `pet_suv*.nii.gz`.
        entry: `sphere(x, y, z, radius)`; empty: the whole image is the seed region.
        settings: The method.

    Raises:
        ContourError: The seed region contains no lesion, or no method was chosen.
    """
    if settings.auto_segment == "none":
        raise ContourError(
            "roi names a seed region but nothing is to be drawn in it",
            got="contours.auto_segment: none",
            action="set contours.auto_segment to " + ", ".join(METHODS),
        )
    files = sorted(suv.glob("pet_suv*.nii.gz"))
    if len(files) != 1:
        raise NoContourError("there is no SUV image to draw on", where="stage suv", got=f"{len(files)} files")
    volume = read_nifti(files[0], "pet_suvbw")
    shape = volume.grid.shape
    seed = sphere_mask(volume.grid, parse_sphere(entry)) if entry else np.ones(shape, dtype=bool)
    lesion = segment_lesion(volume, seed, settings.auto_segment)
    name = f"drawn by {settings.auto_segment}" + ("" if entry else ", whole image")
    facts = {
        "threshold_suv": round(lesion.threshold_suv, 4),
        "suvmax": round(float(volume.array[lesion.mask].max()), 4),
        "seed": entry or "whole image",
    }
    warning = f"no contour was given: the software drew one ({name}, SUV ≥ {lesion.threshold_suv:.2f})"
    match = ImageMatch("pet", "drawn on the PET")
    return RoiMask(name, name, match, lesion.mask, settings.auto_segment, facts=facts, warnings=(warning,))


def segment_lesion(volume: Volume, seed: Mask, method: str) -> SegmentedLesion:
    """The connected voxels (26 neighbours) around the seed region's hottest one.

    Args:
        volume: SUV image.
        seed: Boolean (z, y, x): where the lesion may lie; it never reaches further.
        method: `threshold_40`, 40 % of the region's SUVmax; `threshold_41`, 41 % of it (EANM
            guideline for FDG tumour imaging 2.0, Boellaard et al. 2015, doi 10.1007/s00259-014-2961-x);
            `fixed_2.5` or `fixed_4.0`, an SUV of that value.

    Raises:
        ContourError: No voxel of the region is hot enough, or the region is empty.
    """
    from scipy.ndimage import label

    values = np.where(seed & np.isfinite(volume.array), volume.array, -np.inf)
    peak = np.unravel_index(int(np.argmax(values)), values.shape)
    suv_max = float(values[peak])
    share = {"threshold_40": 0.40, "threshold_41": 0.41}.get(method)
    threshold = share * suv_max if share else float(method.removeprefix("fixed_"))
    if not suv_max > 0 or suv_max < threshold:
        raise ContourError(
            "the seed region holds no uptake to draw",
            expected=f"an SUV of at least {max(threshold, 0):.2f}",
            got="no voxel" if not np.isfinite(suv_max) else f"SUVmax {suv_max:.2f}",
            action="correct the seed region, or choose another contours.auto_segment",
        )
    labels, _ = label(values >= threshold, structure=np.ones((3, 3, 3)))
    return SegmentedLesion(labels == labels[peak], threshold)


def sphere_mask(grid: Grid, sphere: SeedSphere) -> Mask:
    """Voxels (z, y, x) whose centre lies in a sphere."""
    index = np.indices(grid.shape).reshape(3, -1).T
    distance: FloatArray = np.linalg.norm(grid.points(index) - np.array(sphere.centre_mm), axis=1)
    mask: Mask = (distance <= sphere.radius_mm).reshape(grid.shape)
    return mask


def parse_sphere(entry: str) -> SeedSphere:
    """The seed sphere that a cohort table's `roi` names.

    Raises:
        ContourError: It is not four finite numbers with a positive radius.
    """
    match = _SPHERE.match(entry)
    try:
        x, y, z, radius = (float(text) for text in (match[1] if match else "").split(","))
    except ValueError:
        x = y = z = radius = float("nan")
    if not (radius > 0 and np.isfinite([x, y, z, radius]).all()):
        raise ContourError(
            "a seed region cannot be read",
            where="the cohort table's roi",
            expected="sphere(x, y, z, radius): LPS mm, radius > 0",
            got=repr(entry),
        )
    return SeedSphere((x, y, z), radius)
