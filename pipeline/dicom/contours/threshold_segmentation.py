"""Contours that the software draws on the PET where nobody has drawn one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pipeline.dicom.contours.roi import Mask, NoContourError, RoiMask
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import FloatArray, Grid, Volume

RULES = ("threshold_40", "threshold_41", "fixed_2.5", "fixed_4.0")
_SPHERE = re.compile(r"^sphere\((.*)\)$", re.IGNORECASE)


def is_sphere(entry: str) -> bool:
    """Whether a cohort table's `roi` names a seed region: `sphere(x, y, z, radius)`, LPS mm."""
    return bool(_SPHERE.match(entry))


def draw_region(suv: Path, entry: str, settings: ContourSettings) -> RoiMask:
    """A lesion drawn on the SUV image in a folder, marked by its rule.

    Args:
        suv: Folder with `pet_suv*.nii.gz`.
        entry: `sphere(x, y, z, radius)`; empty: the whole image is the seed region.
        settings: The rule.

    Raises:
        ContourError: The seed region holds nothing to draw, or no rule was chosen.
    """
    if settings.auto_segment == "none":
        raise ContourError(
            "roi names a seed region but nothing is to be drawn in it",
            got="contours.auto_segment: none",
            action="set contours.auto_segment to " + ", ".join(RULES),
        )
    files = sorted(suv.glob("pet_suv*.nii.gz"))
    if len(files) != 1:
        raise NoContourError("there is no SUV image to draw on", where=str(suv), got=f"{len(files)} files")
    volume = read_nifti(files[0], "pet_suvbw")
    seed = sphere(volume.grid, _numbers(entry)) if entry else np.ones(volume.grid.shape, dtype=bool)
    mask, threshold = draw_lesion(volume, seed, settings.auto_segment)
    name = f"drawn by {settings.auto_segment}" + ("" if entry else ", whole image")
    facts = {
        "threshold_suv": round(threshold, 4),
        "suvmax": round(float(volume.array[mask].max()), 4),
        "seed": entry or "whole image",
    }
    notes = (f"no contour was given: the software drew one ({name}, SUV ≥ {threshold:.2f})",)
    return RoiMask(name, "pet", mask, settings.auto_segment, "", "drawn on the PET", facts, notes)


def draw_lesion(volume: Volume, seed: Mask, rule: str) -> tuple[Mask, float]:
    """The connected voxels (26 neighbours) around the seed region's hottest one.

    Args:
        volume: SUV image.
        seed: Boolean (z, y, x): where the lesion may lie; nothing outside is drawn.
        rule: `threshold_40`, 40 % of the region's SUVmax; `threshold_41`, 41 % of it (EANM
            guideline for FDG tumour imaging 2.0, Boellaard et al. 2015, doi 10.1007/s00259-014-2961-x); `fixed_2.5` or
            `fixed_4.0`, an SUV of that value.

    Returns:
        Boolean mask (z, y, x) and the threshold used (SUV).

    Raises:
        ContourError: No voxel of the region is hot enough, or the region is empty.
    """
    from scipy.ndimage import label

    values = np.where(seed & np.isfinite(volume.array), volume.array, -np.inf)
    peak = np.unravel_index(int(np.argmax(values)), values.shape)
    hottest = float(values[peak])
    share = {"threshold_40": 0.40, "threshold_41": 0.41}.get(rule)
    threshold = share * hottest if share else float(rule.removeprefix("fixed_"))
    if not hottest > 0 or hottest < threshold:
        raise ContourError(
            "the seed region holds no uptake to draw",
            expected=f"an SUV of at least {max(threshold, 0):.2f}",
            got="no voxel" if not np.isfinite(hottest) else f"SUVmax {hottest:.2f}",
            action="mend the seed region, or choose another contours.auto_segment",
        )
    labels, _ = label(values >= threshold, structure=np.ones((3, 3, 3)))
    mask: Mask = labels == labels[peak]
    return mask, threshold


def sphere(grid: Grid, centre_radius: tuple[float, float, float, float]) -> Mask:
    """Voxels (z, y, x) whose centre lies in a sphere: LPS x, y, z and radius in mm."""
    index = np.indices(grid.shape).reshape(3, -1).T
    distance: FloatArray = np.linalg.norm(grid.points(index) - np.array(centre_radius[:3]), axis=1)
    mask: Mask = (distance <= centre_radius[3]).reshape(grid.shape)
    return mask


def _numbers(entry: str) -> tuple[float, float, float, float]:
    found = _SPHERE.match(entry)
    try:
        x, y, z, radius = (float(text) for text in (found[1] if found else "").split(","))
    except ValueError:
        x = y = z = radius = float("nan")
    if not (radius > 0 and np.isfinite([x, y, z, radius]).all()):
        raise ContourError(
            "a seed region cannot be read",
            where="the cohort table's roi",
            expected="sphere(x, y, z, radius): LPS mm, radius > 0",
            got=repr(entry),
        )
    return x, y, z, radius
