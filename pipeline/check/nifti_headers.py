"""What headers of NIfTI images tell of a study before its first job: files, grids, masks and the crop.

No voxel is read. What is refused here would be refused by `convert`, `contours` or `crop` of the patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.console import progress
from pipeline.crops.placement import around, at_box, read_boxes
from pipeline.dicom.contours.mask_files import ENDING, on_grid
from pipeline.dicom.header.rtstruct import matches
from pipeline.dicom.volume.convert_nifti import file_of
from pipeline.errors import CropError, GeometryError, PatientError, PipelineError
from pipeline.volumes.grids import boxes_overlap, require_overlap
from pipeline.volumes.nifti import read_grid, require_possible
from pipeline.volumes.volume import Grid
from pipeline.workflow.paths import StudyPaths

MOST_NAMED = 5
"""Patients that a line names at most."""


@dataclass
class Found:
    """What is told of all patients together.

    Attributes:
        names: Names (without ending) of the files beside CT and PET, of each patient whose images can be read.
        outside: Patients whose crop lies outside their images.
    """

    names: dict[str, set[str]] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)


def nifti_problems(paths: StudyPaths, patients: Sequence[str], found: Found) -> Iterator[PipelineError]:
    """Files that are missing or several, grids that no image has or that do not fit each other.

    Args:
        paths: The study's paths.
        patients: Patients whose folder is there.
        found: Is filled.
    """
    for patient in progress(patients, title="headers"):
        folder = Path(paths.image_folder(patient))
        for error in _of_patient(paths, patient, folder, found):
            error.where = f"patient {patient}: {folder}" + (f", {error.where}" if error.where else "")
            yield error
    if found.outside:
        crop = paths.study.settings.crop
        yield CropError(
            f"the crop lies outside the images of {len(found.outside)} of {len(patients)} patients",
            where=f"crop.boxes: {crop.boxes}"
            if crop.position == "box"
            else f"crop.centre_mm: {crop.centre_mm}",
            expected="LPS mm: " + ("x1, x2, y1, y2, z1, z2" if crop.position == "box" else "z, y, x"),
            got=f"patient {', '.join(found.outside[:MOST_NAMED])}"
            + (", …" * (len(found.outside) > MOST_NAMED)),
            action="correct the position, or the headers of the images",
        )


def _of_patient(paths: StudyPaths, patient: str, folder: Path, found: Found) -> Iterator[PatientError]:
    cohort = paths.study.settings.cohort
    files: dict[str, Path] = {}
    grids: dict[str, Grid] = {}
    for name, pattern in (("CT", cohort.nifti_ct), ("PET", cohort.nifti_pet)):
        if pattern:
            try:
                files[name] = file_of(folder, pattern, name)
                grids[name] = _grid_of(files[name])
            except PatientError as error:
                yield error
    if len(grids) < bool(cohort.nifti_ct) + bool(cohort.nifti_pet):
        return
    root = folder if folder.is_dir() else folder.parent
    masks = {ENDING.sub("", f.name): f for f in root.iterdir() if ENDING.search(f.name)}
    found.names[patient] = {name for name, file in masks.items() if file not in files.values()}
    others = {name: masks[name] for name in found.names[patient]}
    yield from _mask_problems(paths, patient, root, others, grids)
    try:
        if len(grids) == 2:
            require_overlap(grids["CT"], grids["PET"], "check the headers that the files were written with")
        if _crop_outside(paths, patient, grids):
            found.outside.append(patient)
    except PatientError as error:
        yield error


def _grid_of(path: Path) -> Grid:
    try:
        grid = read_grid(path)
    except RuntimeError:
        raise GeometryError(
            "not a readable image",
            where=path.name,
            expected="a whole image file",
            got=f"{path.stat().st_size:,} bytes",
            action="copy or write the file again from its source",
        ) from None
    require_possible(grid, path.name)
    return grid


def _mask_problems(
    paths: StudyPaths, patient: str, root: Path, others: Mapping[str, Path], grids: Mapping[str, Grid]
) -> Iterator[PatientError]:
    """Mask files whose voxels are those of neither image."""
    cell = paths.study.cohort[patient].roi
    if cell:
        drawn = [
            path for text in paths.mask_paths(patient) for path in (root / text, Path(text)) if path.is_file()
        ]
    elif paths.study.settings.contours.classes:
        return
    else:
        patterns = paths.study.settings.contours.roi
        drawn = [path for name, path in others.items() if matches(name, patterns)]
    for path in drawn:
        try:
            grid = _grid_of(path)
        except PatientError as error:
            yield error
            continue
        # A view of one value: only the geometry is compared.
        mask = np.broadcast_to(np.zeros((), dtype=bool), grid.shape)
        if all(on_grid(mask, grid, image) is None for image in grids.values()):
            yield GeometryError(
                "a mask shares the voxels of neither image",
                where=path.name,
                expected="; ".join(f"{name} {image.describe()}" for name, image in grids.items()),
                got=grid.describe(),
                action="export the mask on the CT's or the PET's grid",
            )


def _crop_outside(paths: StudyPaths, patient: str, grids: Mapping[str, Grid]) -> bool:
    """Whether the crop's place is known beforehand, and lies outside the images."""
    settings = paths.study.settings
    crop = settings.crop
    if crop.position == "fixed" and crop.centre_mm is not None and settings.registration.method == "none":
        place = around(crop.centre_mm[::-1], crop)
    elif crop.position == "box" and _has_box(Path(crop.boxes), patient):
        place = at_box(patient, crop).grid
    else:
        return False
    images = [grids[name.upper()] for name in crop.channels if name.upper() in grids]
    return any(not boxes_overlap(image, place) for image in images)


def _has_box(table: Path, patient: str) -> bool:
    return table.is_file() and [row["patient_id"] for row in read_boxes(table)].count(patient) == 1
