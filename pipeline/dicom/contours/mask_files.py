"""Masks in files (NIfTI, NRRD, MetaImage): taken only where they share an image's voxels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.dicom.contours.roi import SAME_MM, Image, Kind, Mask, NoContourError, RoiMask
from pipeline.dicom.header.rtstruct import matches
from pipeline.errors import ContourError, GeometryError
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import FloatArray, Grid, Volume

_PATH = re.compile(r"^(.+\.(?:nii|nii\.gz|nrrd|nhdr|mha|mhd))(?::(\d+(?:,\d+)*))?$", re.IGNORECASE)
_ENDING = re.compile(r"\.(?:nii|nii\.gz|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)


def is_mask_path(entry: str) -> bool:
    """Whether a cohort table's `roi` names a file: `mask.nii.gz`, or `mask.nii.gz:1,3` for labels."""
    return bool(_PATH.match(entry))


def file_regions(entries: Sequence[str], folder: Path, images: Mapping[Kind, Image]) -> list[RoiMask]:
    """Regions of the mask files that a patient's entry names.

    Args:
        entries: Paths, relative to the patient's folder or else to the working directory.
        folder: The patient's folder.
        images: The images a mask may belong to.

    Raises:
        ContourError: A file does not exist or is no mask.
        GeometryError: It shares the voxels of neither image.
    """
    regions: list[RoiMask] = []
    for entry in entries:
        found = _PATH.match(entry)
        if found is None:
            raise ContourError("an entry of roi is not a mask file", got=repr(entry))
        labels = {int(text) for text in found[2].split(",")} if found[2] else set()
        regions += _regions(_resolve(found[1], folder), labels, images)
    return regions


def folder_regions(folder: Path, patterns: Sequence[str], images: Mapping[Kind, Image]) -> list[RoiMask]:
    """Regions of the mask files in a patient's folder whose name (without ending) fits a pattern.

    Raises:
        NoContourError: None does.
        ContourError: One is no mask.
        GeometryError: One shares the voxels of neither image.
    """
    root = folder if folder.is_dir() else folder.parent
    files = sorted(path for path in root.iterdir() if _ENDING.search(path.name)) if root.is_dir() else []
    fitting = [path for path in files if matches(_ENDING.sub("", path.name), patterns)]
    if not fitting:
        raise NoContourError(
            "no mask file has a name that fits",
            expected="a NIfTI or NRRD file named like " + " or ".join(patterns),
            got=f"{len(files)} image files, none of that name",
            action="set contours.roi, or name the file in the cohort table's roi",
        )
    return [region for path in fitting for region in _regions(path, set(), images)]


def _resolve(text: str, folder: Path) -> Path:
    root = folder if folder.is_dir() else folder.parent
    for path in (root / text, Path(text)):
        if path.is_file():
            return path
    raise ContourError(
        "a mask file does not exist",
        where=text,
        expected="a path from the patient's folder or from the working directory",
        action="mend the cohort table's roi",
    )


def _regions(path: Path, labels: set[int], images: Mapping[Kind, Image]) -> list[RoiMask]:
    volume = read_nifti(path, "mask")
    inside, notes = _binary(volume, labels, path)
    regions = []
    for kind, image in images.items():
        mask = on_grid(inside, volume.grid, image.grid)
        if mask is not None:
            name = _ENDING.sub("", path.name)
            regions.append(RoiMask(name, kind, mask, "mask_file", path.name, "same voxels", {}, notes))
    if not regions:
        grids = "; ".join(f"{kind.upper()} {image.grid.describe()}" for kind, image in images.items())
        raise GeometryError(
            "a mask shares the voxels of neither image",
            where=path.name,
            expected=grids,
            got=volume.grid.describe(),
            action="export the mask on the CT's or the PET's grid",
        )
    return regions


def _binary(volume: Volume, labels: set[int], path: Path) -> tuple[Mask, tuple[str, ...]]:
    """Voxels of the labels asked for, or of all labels."""
    values = np.unique(volume.array)
    if not np.isfinite(values).all() or (values != np.round(values)).any() or (values < 0).any():
        raise ContourError(
            "a mask holds values that are not labels",
            where=path.name,
            expected="0 outside, whole numbers inside",
            got=f"{values.min():g} to {values.max():g}, {values.size} different values",
            action="threshold it first",
        )
    present = {int(value) for value in values if value > 0}
    if labels - present:
        raise ContourError(
            "a mask lacks a label that roi names",
            where=path.name,
            expected=", ".join(str(label) for label in sorted(labels)),
            got=", ".join(str(label) for label in sorted(present)) or "only 0",
            action="mend the labels in the cohort table's roi",
        )
    if labels:
        return np.isin(volume.array, sorted(labels)), ()
    notes: tuple[str, ...] = ()
    if len(present) > 1:
        notes = (f"{path.name} holds labels {', '.join(map(str, sorted(present)))}; all are united",)
    return volume.array > 0, notes


def on_grid(mask: Mask, grid: Grid, target: Grid) -> Mask | None:
    """A mask on another grid of the same voxels; None where the voxels are not the same.

    The order and the direction of axes may differ (programs store the same voxels from
    either end); position, spacing and extent may not.
    """
    step = np.linalg.solve(target.affine()[:3, :3], grid.affine()[:3, :3])
    turn = np.round(step)
    if (np.abs(turn).sum(axis=0) != 1).any() or (np.abs(turn).sum(axis=1) != 1).any():
        return None
    # Rows of `turn` are the target's axes x, y, z, its columns the mask's; arrays count z, y, x.
    source = np.abs(turn).argmax(axis=1)
    order = [2 - int(source[2 - axis]) for axis in range(3)]
    flipped = [axis for axis in range(3) if turn[2 - axis].sum() < 0]
    first = np.zeros(3)
    for axis in flipped:
        first[order[axis]] = grid.shape[order[axis]] - 1
    moved = np.flip(mask.transpose(order), flipped)
    spacing = [grid.spacing_mm[axis] for axis in order]
    direction = np.asarray(grid.direction) @ turn.T
    same = _make_grid(moved.shape, spacing, grid.points(first)[0], direction).matches(target, SAME_MM)
    return np.ascontiguousarray(moved) if same else None


def _make_grid(
    shape: tuple[int, ...], spacing: Sequence[float], origin: FloatArray, direction: FloatArray
) -> Grid:
    z, y, x = shape
    rows = tuple((float(a), float(b), float(c)) for a, b, c in direction)
    place = (float(origin[0]), float(origin[1]), float(origin[2]))
    return Grid((z, y, x), (spacing[0], spacing[1], spacing[2]), place, rows)
