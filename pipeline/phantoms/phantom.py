"""The rule `phantom`: DICOM and truth of a simulated patient, and the table of the cohort."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError
from pipeline.phantoms.anatomy import BRAIN, TumourSolid, paint_ct, paint_pet
from pipeline.phantoms.canvas import VoxelCanvas
from pipeline.phantoms.patient import PhantomPatient, draw_patient, patient_number, rigid_matrix
from pipeline.phantoms.scanner import image_grid, measure_ct, measure_pet, suv_factor
from pipeline.phantoms.tumour import RIM_MM, FloatArray, TumourField
from pipeline.settings.phantom import PhantomSettings
from pipeline.tables.status import patient_stage
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume

TUMOUR_ROI, NODES_ROI, DISTRACTOR_ROI = "GTVp", "GTVn", "BRAIN"
SUPERSAMPLING = 5
COLUMNS = (
    "patient_id",
    "set",
    "centre",
    "image_path",
    "roi",
    "time_days",
    "event",
    "clinical_performance",
    "clinical_age",
    "clinical_sex",
    "truth_log_hazard",
    "truth_volume_ml",
)

LABELS = ("label_pathology", "label_outcome")
"""Columns of a cohort with two cancers."""


def cohort(settings: PhantomSettings) -> list[PhantomPatient]:
    """All patients, development first."""
    return [draw_patient(n, settings) for n in range(1, settings.development + settings.external + 1)]


def cohort_table(settings: PhantomSettings) -> str:
    """The cohort table as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS if settings.second is None else (*COLUMNS, *LABELS))
    for patient in cohort(settings):
        source = [patient.patient_id, patient.set, patient.centre, f"{patient.patient_id}/dicom", ""]
        outcome = [f"{patient.time_days:.0f}", patient.event]
        clinical = [patient.performance, patient.age_years, patient.sex]
        hidden = [f"{patient.log_hazard:.6f}", f"{patient.tumour.volume_ml:.4f}"]
        labels: list[int] = []
        if settings.second is not None:
            labels = [
                patient.pathology,
                int(patient.event and patient.time_days <= settings.second.outcome_days),
            ]
        writer.writerow([*source, *outcome, *clinical, *hidden, *labels])
    return text.getvalue()


def write_cohort_table(settings: PhantomSettings, path: Path) -> None:
    """Write the cohort table that a study reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(cohort_table(settings), encoding="utf-8")


def write_patient(patient_id: str, settings: PhantomSettings, out: Path) -> None:
    """Write DICOM and truth of a patient; the same settings always give the same bytes.

    Files: `dicom/CT/*.dcm`, `dicom/PET/*.dcm`, `dicom/RTSTRUCT/rs.dcm` (drawn on the CT, or on the PET
    where `phantom.images` leaves the CT out; `GTVp`, `BRAIN`, with `phantom.contour_nodes` `GTVn`);
    `truth/truth.json`, `truth/pet_suvbw.nii.gz` (g/mL, the
    result of a correct conversion of the 16 bits), `truth/mask_ct.nii.gz` or `mask_pet.nii.gz` (voxels
    of that image more than half inside the tumour).

    Raises:
        TableError: The cohort of the settings has no such patient.
        GeometryError: The tumour would leave the field of view.
    """
    from pipeline.phantoms.headers import PhantomStudy
    from pipeline.phantoms.images import write_ct, write_pet
    from pipeline.phantoms.structures import DrawnImage, contours, write_structures

    patient = draw_patient(patient_number(patient_id, settings), settings)
    rigid, field = rigid_matrix(patient), TumourField(patient.tumour)
    ct_grid = image_grid(patient, settings.ct_shape, settings.ct_spacing_mm)
    pet_grid = image_grid(patient, settings.pet_shape, settings.pet_spacing_mm)
    study = PhantomStudy(patient, settings.seed)
    with patient_stage("phantom", patient_id, out, "stop") as work:
        for grid in (ct_grid, pet_grid):
            require_inside(field, grid, rigid)
        if "ct" in settings.images:
            ct_hu = measure_ct(paint_ct(patient, field, ct_grid, rigid), patient, settings)
            write_ct(study, Volume(ct_hu, ct_grid, "ct_hu"), work.folder / "dicom/CT")
        if "pet" in settings.images:
            pet_suvbw = measure_pet(paint_pet(patient, field, pet_grid, rigid), patient, settings)
            rounded = write_pet(study, Volume(pet_suvbw, pet_grid, "pet_suvbw"), work.folder / "dicom/PET")
            pet = Volume(rounded.astype("float32"), pet_grid, "pet_suvbw")
            write_nifti(work.folder / "truth/pet_suvbw.nii.gz", pet)
        drawn_on = DrawnImage(study, "CT", ct_grid)
        if "ct" not in settings.images:
            drawn_on = DrawnImage(study, "PT", pet_grid)
        rois = {
            DISTRACTOR_ROI: contours(BRAIN, drawn_on.grid, rigid, step_mm=4.0),
            TUMOUR_ROI: contours(TumourSolid(field), drawn_on.grid, rigid),
        }
        if settings.contour_nodes:
            nodes = [contours(node.solid(), drawn_on.grid, rigid) for node in patient.nodes]
            rois[NODES_ROI] = [contour for drawn in nodes for contour in drawn]
        write_structures(drawn_on, rois, work.folder / "dicom/RTSTRUCT/rs.dcm")
        mask = Volume(tumour_mask(field, drawn_on.grid, rigid), drawn_on.grid, "mask")
        name = "ct" if drawn_on.modality == "CT" else "pet"
        write_nifti(work.folder / f"truth/mask_{name}.nii.gz", mask)
        text = json.dumps(truth(patient, rigid), indent=1)
        (work.folder / "truth/truth.json").write_text(text + "\n", encoding="utf-8")


def require_inside(field: TumourField, grid: Grid, rigid: FloatArray) -> None:
    """Raise a GeometryError if an image would cut off the tumour or its rim."""
    centre = grid.indices(rigid[:3, :3] @ field.tumour.centre_mm + rigid[:3, 3])[0]
    reach = (field.reach_mm + RIM_MM) / np.asarray(grid.spacing_mm)
    if (centre - reach < 0).any() or (centre + reach > np.asarray(grid.shape) - 1).any():
        raise GeometryError(
            "the phantom's tumour leaves the field of view",
            expected="tumour and rim inside the image",
            got=grid.describe(),
            action="raise phantom.ct_shape and phantom.pet_shape, or lower phantom.max_shift_mm",
        )


def truth(patient: PhantomPatient, rigid: FloatArray) -> dict[str, Any]:
    """The truth about a patient, as plain values.

    `rigid` maps template points (LPS mm) to the patient's; `log_hazard` and its parts:
    higher is worse; `tumour.mean_suv` is the mean inside before blur and noise (g/mL).
    """
    return {
        "patient_id": patient.patient_id,
        "pathology": patient.pathology,
        "log_hazard": patient.log_hazard,
        "log_hazard_parts": patient.hazard_parts,
        "rigid": np.round(rigid, 12).tolist(),
        "suv_factor": suv_factor(patient),
        "mean_suv": patient.tumour.mean_suv,
        "volume_ml": patient.tumour.volume_ml,
        "tumour": asdict(patient.tumour),
        "nodes": [asdict(node) for node in patient.nodes],
    }


def tumour_mask(field: TumourField, grid: Grid, rigid: FloatArray) -> npt.NDArray[np.uint8]:
    """Voxels of a grid of which more than half lies inside the tumour (uint8; z, y, x)."""
    return (occupancy(field, grid, rigid) > 0.5).astype(np.uint8)


def occupancy(field: TumourField, grid: Grid, rigid: FloatArray) -> npt.NDArray[np.float32]:
    """Share (0 to 1) of each voxel of a grid that lies inside the tumour, by supersampling (z, y, x)."""
    solid, share = TumourSolid(field), np.zeros(grid.shape, dtype=np.float32)
    box = VoxelCanvas(grid, rigid, edge_mm=1.0, fill=0.0).box(solid, max(grid.spacing_mm))
    sizes = [part.stop - part.start for part in box]
    first = 0.5 / SUPERSAMPLING - 0.5
    corner = grid.points([[part.start + first for part in box]])[0]
    dz, dy, dx = (step / SUPERSAMPLING for step in grid.spacing_mm)
    nz, ny, nx = (size * SUPERSAMPLING for size in sizes)
    finer = Grid((nz, ny, nx), (dz, dy, dx), (corner[0], corner[1], corner[2]))
    points = VoxelCanvas(finer, rigid, edge_mm=1.0, fill=0.0).points((slice(None),) * 3)
    inside = (field.distance(points) < 0).reshape(
        sizes[0], SUPERSAMPLING, sizes[1], SUPERSAMPLING, sizes[2], SUPERSAMPLING
    )
    share[box] = inside.mean(axis=(1, 3, 5))
    return share
