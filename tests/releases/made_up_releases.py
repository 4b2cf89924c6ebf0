"""Made-up releases of the HECKTOR challenge, with the files, sheets and columns of the real ones."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

GTVP, GTVN = 1, 2
CT_MM, PET_MM = (6.0, 4.0, 4.0), (6.0, 6.0, 6.0)
CT_SHAPE, PET_SHAPE = (40, 48, 48), (40, 32, 32)
BOX_MM = 96.0


@dataclass(frozen=True)
class MadeUpPatient:
    """A head with a hot brain on top, a tumour and a node in the neck; the larger the tumour, the worse."""

    patient_id: str
    centre: int
    radius_mm: float
    tumour_mm: tuple[float, float, float]
    event: int
    days: int
    age: int
    male: bool


def draw(number: int, seed: int) -> MadeUpPatient:
    rng = np.random.default_rng([seed, number])
    radius = float(rng.uniform(10, 20))
    place = np.array([0.0, -6.0, -40.0]) + rng.uniform(-8, 8, 3)
    days = int(np.clip(2600 - 90 * radius + rng.normal(0, 150), 300, None))
    centre = 1 + number % 3
    name = ("CHUM", "CHUP", "MDA")[number % 3]
    x, y, z = (float(v) for v in place)
    return MadeUpPatient(
        f"{name}-{number:03d}",
        centre,
        radius,
        (x, y, z),
        int(number % 2 == 0),
        days,
        50 + number,
        number % 4 > 0,
    )


@cache
def volumes(patient: MadeUpPatient) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """CT (HU), PET (SUV) and label on the CT's grid (1 GTVp, 2 GTVn)."""
    rng = np.random.default_rng([7, int(patient.patient_id.split("-")[1])])
    ct = _points(CT_SHAPE, CT_MM)
    pet = _points(PET_SHAPE, PET_MM)
    hu = np.where(_head(ct), 40.0, -1000.0) + rng.normal(0, 10, CT_SHAPE)
    suv = np.where(_head(pet), 1.0, 0.0) + rng.normal(0, 0.05, PET_SHAPE)
    suv += 7.0 * _ball(pet, (0.0, 8.0, 70.0), 42.0)
    suv += 9.0 * _ball(pet, patient.tumour_mm, patient.radius_mm) + 6.0 * _ball(pet, _node(patient), 12.0)
    label = GTVP * _ball(ct, patient.tumour_mm, patient.radius_mm)
    label[_ball(ct, _node(patient), 12.0)] = GTVN
    return (
        _image(hu.astype(np.int16), CT_MM),
        _image(suv.clip(0).astype(np.float32), PET_MM),
        _image(label.astype(np.uint8), CT_MM),
    )


def _node(patient: MadeUpPatient) -> tuple[float, float, float]:
    x, y, z = patient.tumour_mm
    return x + 46.0, y + 14.0, z - 8.0


def _points(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> np.ndarray:
    """LPS coordinates (x, y, z) of all voxels, the origin in the middle."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z], axis=-1)


def _head(points: np.ndarray) -> np.ndarray:
    return (points[..., 0] / 80) ** 2 + (points[..., 1] / 85) ** 2 < 1


def _ball(points: np.ndarray, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return ((points - np.asarray(centre)) ** 2).sum(axis=-1) < radius**2


def _image(array: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(array.shape, spacing, strict=True)][::-1])
    return image


def write_sheet(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def write_release(
    layout: str, data: Path, patients: int = 12, seed: int = 0, *, images: bool = True
) -> list[MadeUpPatient]:
    """Write a whole release of a year; without images, their files are empty."""
    drawn = [draw(number, seed) for number in range(1, patients + 1)]
    WRITERS[layout](MadeUpRelease(data, drawn, images))
    return drawn


@dataclass(frozen=True)
class MadeUpRelease:
    """Where a release is written, and whether its images are more than empty files."""

    data: Path
    drawn: list[MadeUpPatient]
    images: bool

    def save(self, patient: MadeUpPatient, ct: str, pet: str, label: str, only_tumour: bool = False) -> None:
        """Write a patient's three files."""
        paths = [self.data / name for name in (ct, pet, label)]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not self.images:
            for path in paths:
                path.touch()
            return
        hu, suv, labels = volumes(patient)
        if only_tumour:
            labels = sitk.Cast(labels == GTVP, sitk.sitkUInt8)
        for image, path in zip((hu, suv, labels), paths, strict=True):
            sitk.WriteImage(image, str(path))


def _write_2021(release: MadeUpRelease) -> None:
    data, drawn, half = release.data, release.drawn, BOX_MM / 2
    for p in drawn:
        stem = f"hecktor_nii/{short(p)}"
        release.save(p, f"{stem}_ct.nii.gz", f"{stem}_pt.nii.gz", f"{stem}_gtvt.nii.gz", only_tumour=True)
    boxes = [[short(p), *(v for c in p.tumour_mm for v in (c - half, c + half))] for p in drawn]
    write_sheet(
        data / "hecktor2021_bbox_training.csv", ["PatientID", "x1", "x2", "y1", "y2", "z1", "z2"], boxes
    )
    header = ["PatientID", "CenterID", "TNM edition", "Chemotherapy", "TNM group", "T-stage", "N-stage", "M-stage",
              "Gender (1=M,0=F)", "Age", "Tobacco", "Alcohol", "Performance status", "HPV status (0=-, 1=+)",
              "Estimated weight (kg) for SUV"]  # fmt: skip
    info = [
        [short(p), p.centre, 7, 1, "III", "T2", "N1", "M0", int(p.male), p.age, "", "", 1, "", 75]
        for p in drawn
    ]
    write_sheet(data / "hecktor2021_patient_info_training.csv", header, info)
    outcomes = [[short(p), p.event, p.days] for p in drawn]
    header = ["PatientID", "Progression", "Progression free survival"]
    write_sheet(data / "hecktor2021_patient_endpoint_training.csv", header, outcomes)


def short(patient: MadeUpPatient) -> str:
    """An id of 2021, without the hyphen."""
    return patient.patient_id.replace("-", "")


def _write_2022(release: MadeUpRelease) -> None:
    data, drawn = release.data, release.drawn
    for p in drawn:
        stem = f"imagesTr/{p.patient_id}__"
        release.save(p, f"{stem}CT.nii.gz", f"{stem}PT.nii.gz", f"labelsTr/{p.patient_id}.nii.gz")
    header = ["PatientID", "Task 1", "Task 2", "CenterID", "Gender", "Age", "Weight", "Tobacco", "Alcohol",
              "Performance status", "HPV status (0=-, 1=+)", "Surgery", "Chemotherapy"]  # fmt: skip
    info = [[p.patient_id, 1, 1, p.centre, "FM"[p.male], p.age, 75.0, "", "", 1.0, "", 0.0, 1] for p in drawn]
    write_sheet(data / "hecktor2022_clinical_info_training.csv", header, info)
    outcomes = [[p.patient_id, 1, 1, p.event, p.days] for p in drawn]
    header = ["PatientID", "Task 1", "Task 2", "Relapse", "RFS"]
    write_sheet(data / "hecktor2022_endpoint_training.csv", header, outcomes)


def _write_by_patient(release: MadeUpRelease, sheet: str, more: list[str]) -> None:
    for p in release.drawn:
        stem = f"{p.patient_id}/{p.patient_id}"
        release.save(p, f"{stem}__CT.nii.gz", f"{stem}__PT.nii.gz", f"{stem}.nii.gz")
    header = ["PatientID", "CenterID", "Age", "Gender", "Tobacco Consumption", "Alcohol Consumption",
              "Performance Status", "Treatment", "M-stage", *more, "Relapse", "RFS"]  # fmt: skip
    rows: list[list[object]] = [
        [p.patient_id, p.centre, p.age, int(p.male), "", "", 1, 1, "M0", *more, float(p.event), p.days]
        for p in release.drawn
    ]
    write_sheet(release.data / sheet, header, rows)


def _write_2025(release: MadeUpRelease) -> None:
    _write_by_patient(release, "HECKTOR_2025_Training_Task_2.csv", [])


def _write_2026(release: MadeUpRelease) -> None:
    _write_by_patient(release, "HECKTOR_2026_training_data.csv", ["T-stage", "N-stage"])


WRITERS = {
    "hecktor2021": _write_2021,
    "hecktor2022": _write_2022,
    "hecktor2025": _write_2025,
    "hecktor2026": _write_2026,
}
