"""A small patient as the stages before `crop` leave it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.crops.crop import CropSources, crop_patient
from pipeline.settings.geometry import CropSettings
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.transform import write_matrix
from pipeline.volumes.volume import Grid, Volume

CT = Grid((30, 60, 60), (3.0, 1.2, 1.2), (-35.4, -35.4, -43.5))
PET = Grid((24, 24, 24), (4.0, 4.0, 4.0), (-46.0, -46.0, -46.0))
LESION_MM = (6.0, -8.0, 3.0)
RADIUS_MM = 9.0
NODE_MM = 5.0


def ball(grid: Grid, centre, radius_mm: float) -> np.ndarray:
    points = grid.points(np.argwhere(np.ones(grid.shape)))
    return (np.linalg.norm(points - np.asarray(centre), axis=1) < radius_mm).reshape(grid.shape)


@dataclass(frozen=True)
class PatientWriter:
    """Writes convert/, suv/, contours/ and registration/ of a patient."""

    root: Path

    def __call__(
        self,
        name="P",
        *,
        drawn_on=("ct",),
        matrix=None,
        lesion=LESION_MM,
        brain=None,
        contour="manual",
        own=None,
        node=None,
    ) -> CropSources:
        """`own`: 4×4 from scanner points to those of a PET of another frame; `node`: place of a second class."""
        rng = np.random.default_rng(sum(name.encode()))
        folders = {
            stage: self.root / stage / name for stage in ("convert", "suv", "contours", "registration")
        }
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        ct = rng.normal(40, 200, CT.shape).round().astype(np.int16)
        pet = rng.gamma(2.0, 0.6, PET.shape).astype(np.float32)
        if brain is not None:
            pet[ball(PET, *brain)] = 9.0
        write_nifti(folders["convert"] / "ct_hu.nii.gz", Volume(ct, CT))
        write_nifti(folders["suv"] / "pet_suvbw.nii.gz", Volume(pet, PET))
        to_pet = np.eye(4) if own is None else own
        if own is not None:
            (folders["convert"] / "pet.json").write_text('{"pet_to_ct": "register"}')
            write_matrix(folders["registration"] / "pet_to_ct.mat", own)
        for kind in drawn_on:
            grid = CT if kind == "ct" else PET
            at = lesion if kind == "ct" else to_pet[:3, :3] @ lesion + to_pet[:3, 3]
            mask = ball(grid, at, RADIUS_MM).astype(np.uint8)
            if node is not None:
                mask[ball(grid, node, NODE_MM)] = 2
            write_nifti(folders["contours"] / f"gtv_{kind}.nii.gz", Volume(mask, grid))
        report = {"contour": contour if drawn_on else "none"}
        if node is not None:
            classes = [{"name": "gtvp", "label": 1}, {"name": "gtvn", "label": 2}]
            report["masks"] = {kind: {"classes": classes} for kind in drawn_on}
        (folders["contours"] / "contours.json").write_text(json.dumps(report))
        write_matrix(folders["registration"] / "to_template.mat", np.eye(4) if matrix is None else matrix)
        facts = {"method": "template", "template": {"native_sha256": "abc"}}
        (folders["registration"] / "quality.json").write_text(json.dumps(facts))
        for stage, folder in folders.items():
            write_status(folder, Status("ok", stage))
        return CropSources(patient_id=name, **folders)


@pytest.fixture
def write_patient(tmp_path) -> PatientWriter:
    return PatientWriter(tmp_path)


@pytest.fixture
def grids() -> dict[str, Grid]:
    return {"ct": CT, "pet": PET}


@pytest.fixture
def lesion_mm() -> np.ndarray:
    return np.array(LESION_MM)


@pytest.fixture
def turned() -> np.ndarray:
    """4×4, template to patient: 12° about z, 8° about x, and a shift."""
    a, b = np.radians(12.0), np.radians(8.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x
    matrix[:3, 3] = (4.0, -3.0, 5.0)
    return matrix


@pytest.fixture
def own_frame(turned) -> np.ndarray:
    """4×4, scanner points to points of a PET of another frame: turned back a little and shifted."""
    matrix = np.linalg.inv(turned)
    matrix[:3, 3] += (-6.0, 4.0, 3.0)
    return matrix


@pytest.fixture
def crop_of(write_patient, tmp_path):
    """Write a patient, crop it, and return the store and the sources."""

    def run(settings: CropSettings, *, policy="stop", mask_from="ct", contours=True, **patient):
        sources = write_patient(**patient)
        if not contours:
            sources = replace(sources, contours=None)
        out = tmp_path / "crops" / f"{sources.patient_id}.zarr"
        crop_patient(sources, out, settings, policy, mask_from)
        return out, sources

    return run
