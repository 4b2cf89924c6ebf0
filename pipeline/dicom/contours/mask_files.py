"""Masks in files (NIfTI, NRRD, MetaImage): taken only where they share an image's voxels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.dicom.contours.roi import (
    SAME_MM,
    ImageMatch,
    ImageSeries,
    Mask,
    Modality,
    NoContourError,
    RoiMask,
)
from pipeline.dicom.header.free_text import shown_name
from pipeline.dicom.header.rtstruct import matches
from pipeline.errors import ContourError, GeometryError
from pipeline.settings.base import FreeText
from pipeline.tables.files import MASK_PATH
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import FloatArray, Grid, Volume

MAX_LABELS = 255
ENDING = re.compile(r"\.(?:nii|nii\.gz|nrrd|nhdr|mha|mhd)$", re.IGNORECASE)
"""Endings of the image files that may hold a mask."""


def is_mask_path(entry: str) -> bool:
    """Whether a cohort table's `roi` names a file: `mask.nii.gz`, or `mask.nii.gz:1,3` for labels."""
    return bool(MASK_PATH.match(entry))


def named_masks(
    entries: Sequence[str],
    folder: Path,
    images: Mapping[Modality, ImageSeries],
    free_text: FreeText = "show",
    classes: Mapping[str, int] | None = None,
) -> list[RoiMask]:
    """Masks of the files that a patient's entry names.

    Args:
        entries: Paths, relative to the patient's folder or else to the working directory.
        folder: The patient's folder.
        images: The images a mask may belong to.
        free_text: How messages call the files.
        classes: Class → its value; a mask per class that a file holds. None: the study has no classes.

    Raises:
        ContourError: A file does not exist or is not a mask.
        GeometryError: It shares the voxels of neither image.
    """
    masks: list[RoiMask] = []
    for entry in entries:
        match = MASK_PATH.match(entry)
        if match is None:
            raise ContourError(
                "an entry of roi is not a mask file",
                where="the cohort table's roi",
                expected="a NIfTI, NRRD or MetaImage file, with labels after a colon if only these count",
                got=repr(entry),
                action="name files alone, or patterns alone",
            )
        labels = {int(text) for text in match[2].split(",")} if match[2] else set()
        number = f"mask file {len(masks) + 1}"
        file = _MaskFile.of(_resolve(match[1], folder), free_text, number)
        masks += _masks_of(file, labels, images, classes)
    return masks


def matching_masks(
    folder: Path,
    patterns: Sequence[str],
    images: Mapping[Modality, ImageSeries],
    free_text: FreeText = "show",
    classes: Mapping[str, int] | None = None,
) -> list[RoiMask]:
    """Masks of the files in a patient's folder whose name (without ending) matches a pattern.

    Raises:
        NoContourError: No file does.
        ContourError: A file is not a mask.
        GeometryError: A file shares the voxels of neither image.
    """
    root = folder if folder.is_dir() else folder.parent
    files = sorted(path for path in root.iterdir() if ENDING.search(path.name)) if root.is_dir() else []
    matching = [path for path in files if matches(ENDING.sub("", path.name), patterns)]
    if not matching:
        raise NoContourError(
            "no mask file has a name that fits",
            expected="a NIfTI or NRRD file named like " + " or ".join(patterns),
            got=f"{len(files)} image files, none of that name",
            action="set contours.roi, or name the file in the cohort table's roi",
        )
    named = [_MaskFile.of(path, free_text, f"mask file {n}") for n, path in enumerate(matching, start=1)]
    return [mask for file in named for mask in _masks_of(file, set(), images, classes)]


@dataclass(frozen=True)
class _MaskFile:
    """A mask file.

    Attributes:
        path: The file.
        label: What messages call it.
    """

    path: Path
    label: str

    @staticmethod
    def of(path: Path, free_text: FreeText, stand_in: str) -> _MaskFile:
        """The file, called as the study asks."""
        return _MaskFile(
            path, path.name if free_text == "show" else shown_name(path.name, free_text, stand_in)
        )


def _resolve(text: str, folder: Path) -> Path:
    root = folder if folder.is_dir() else folder.parent
    for path in (root / text, Path(text)):
        if path.is_file():
            return path
    raise ContourError(
        "a mask file does not exist",
        where="the cohort table's roi",
        expected="a path from the patient's folder or from the working directory",
        action="correct the cohort table's roi",
    )


@dataclass(frozen=True)
class _Region:
    """A region of a mask file.

    Attributes:
        mask: Boolean (z, y, x), on the file's grid.
        mask_class: Its class; empty: the study has none.
        warnings: What the user should know.
    """

    mask: Mask
    mask_class: str = ""
    warnings: tuple[str, ...] = ()


def _masks_of(
    file: _MaskFile,
    labels: set[int],
    images: Mapping[Modality, ImageSeries],
    classes: Mapping[str, int] | None,
) -> list[RoiMask]:
    volume = read_nifti(file.path, "mask", label=file.label)
    present = _labels_in(volume, file.label)
    if classes is None:
        regions = [_united(volume, labels, present, file.label)]
    else:
        regions = _by_class(volume, labels, present, file.label, classes)
    masks = [mask for region in regions for mask in _on_images(region, volume.grid, file, images)]
    if not masks:
        grids = "; ".join(f"{m.upper()} {image.grid.describe()}" for m, image in images.items())
        raise GeometryError(
            "a mask shares the voxels of neither image",
            where=file.label,
            expected=grids,
            got=volume.grid.describe(),
            action="export the mask on the CT's or the PET's grid",
        )
    return masks


def _on_images(
    region: _Region, grid: Grid, file: _MaskFile, images: Mapping[Modality, ImageSeries]
) -> list[RoiMask]:
    """A region on every image whose voxels it shares."""
    name, called = ENDING.sub("", file.path.name), ENDING.sub("", file.label)
    masks = []
    for modality, image in images.items():
        mask = on_grid(region.mask, grid, image.grid)
        if mask is not None:
            match = ImageMatch(modality, "same voxels")
            roi = RoiMask(name, called, match, mask, "mask_file", file.label, warnings=region.warnings)
            masks.append(replace(roi, mask_class=region.mask_class))
    return masks


def _united(volume: Volume, labels: set[int], present: set[int], label: str) -> _Region:
    """The labels that are asked for, or all, as one region."""
    _require_labels(labels, present, label)
    warnings: tuple[str, ...] = ()
    if not labels and len(present) > 1:
        listed = ", ".join(map(str, sorted(present)))
        warnings = (f"{label} holds labels {listed}; all are united",)
    inside = np.isin(volume.array, sorted(labels)) if labels else volume.array > 0
    return _Region(inside, warnings=warnings)


def _by_class(
    volume: Volume, labels: set[int], present: set[int], label: str, classes: Mapping[str, int]
) -> list[_Region]:
    """A region per class that the file holds; other values are allowed only where roi leaves them out.

    Raises:
        ContourError: A value is of no class, or the file holds no class.
    """
    unknown = sorted((labels or present) - set(classes.values()))
    if unknown:
        raise ContourError(
            "a mask holds a value that is of no class",
            where=label,
            expected=", ".join(f"{value} ({name})" for name, value in classes.items()),
            got=", ".join(map(str, unknown)),
            action="name its class in contours.classes, or the values that count in the cohort table's roi, as in "
            "mask.nii.gz:1,2",
        )
    wanted = labels or set(classes.values())
    regions = [
        _Region(np.asarray(volume.array == value), name)
        for name, value in classes.items()
        if value in wanted & present
    ]
    if not regions:
        raise ContourError(
            "a mask holds no class",
            where=label,
            expected=f"one of {', '.join(f'{value} ({name})' for name, value in classes.items())}",
            got="other values only" if present else "only background",
            action="correct the mask, the values in contours.classes, or those in the table's roi",
        )
    return regions


def _labels_in(volume: Volume, label: str) -> set[int]:
    """The labels of a mask, without the background."""
    values = np.unique(volume.array)
    if not np.isfinite(values).all() or (values != np.round(values)).any() or (values < 0).any():
        raise ContourError(
            "a mask holds values that are not labels",
            where=label,
            expected="0 outside, whole numbers inside",
            got=f"{values.min():g} to {values.max():g}, {values.size} different values",
            action="threshold it first",
        )
    if values.size > MAX_LABELS + 1:
        raise ContourError(
            "a mask holds more values than labels",
            where=label,
            expected=f"at most {MAX_LABELS} labels",
            got=f"{values.size} different values from {values.min():g} to {values.max():g}: an image?",
            action="name the mask's file, not the image's",
        )
    return {int(value) for value in values if value > 0}


def _require_labels(wanted: set[int], present: set[int], label: str) -> None:
    if wanted - present:
        raise ContourError(
            "a mask lacks a label that roi names",
            where=label,
            expected=", ".join(str(label) for label in sorted(wanted)),
            got=", ".join(str(label) for label in sorted(present)) or "only 0",
            action="correct the labels in the cohort table's roi",
        )


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
