"""A prediction says what it was computed from, and names nobody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.inputs import inputs_of, suv_inputs
from pipeline.deploy.manifest import Manifest
from pipeline.deploy.preprocess import NewPatient, preprocess_patient
from pipeline.phantoms.headers import PLANTED
from pipeline.settings.dicom import ConvertSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.volumes.nifti import read_nifti
from tests.deploy.scans import write_scan
from tests.deploy.synthetic_bundle import IDENTITY, make_manifest, make_stage_settings

GIVEN = {"clinical_age": "63.5", "clinical_stage": ""}


def unregistered_manifest() -> Manifest:
    crop = CropSettings(shape=(16, 24, 32), spacing_mm=(2.0, 2.0, 2.0), centre_mm=(-400.0, -170.0, 0.0))
    stages = make_stage_settings(crop)
    return make_manifest(
        stages=stages.model_copy(update={"registration": RegistrationSettings(method="none")})
    )


def test_inputs_are_those_of_the_scan(tmp_path: Path) -> None:
    """Series numbers, weight and dose are what the phantom's files hold; the factor is what was multiplied."""
    from pydicom import dcmread

    write_scan(tmp_path / "dicom")
    manifest = unregistered_manifest()
    patient = NewPatient("new", tmp_path / "dicom", "GTV*", GIVEN)
    bundle = Bundle(tmp_path, manifest, IDENTITY)
    folders = preprocess_patient(bundle, patient, tmp_path / "work")
    inputs = inputs_of(manifest, patient, folders)

    assert inputs["scan_dates"] == {}
    headers = [dcmread(path, stop_before_pixels=True) for path in (tmp_path / "dicom").rglob("*.dcm")]
    for role, modality in (("ct", "CT"), ("pet", "PT"), ("rtstruct", "RTSTRUCT")):
        (row,) = [row for row in inputs["series"] if row["role"] == role]
        own = [header for header in headers if header.Modality == modality]
        assert row["number"] == own[0].SeriesNumber and row["instances"] == len(own)
    pet = next(header for header in headers if header.Modality == "PT")
    dose = pet.RadiopharmaceuticalInformationSequence[0]
    dated = inputs_of(manifest, replace(patient, scan_date=True), folders)["scan_dates"]
    assert set(dated) == {"ct", "pet"} and dated["pet"].replace("-", "") == pet.AcquisitionDate
    assert inputs["suv"]["weight_kg"] == pytest.approx(float(pet.PatientWeight))
    assert inputs["suv"]["dose_mbq"] == pytest.approx(float(dose.RadionuclideTotalDose) / 1e6, abs=1e-3)
    stored = read_nifti(folders.convert / "pet_stored.nii.gz").array
    suv = read_nifti(folders.suv / "pet_suvbw.nii.gz").array
    factor = inputs["suv"]["factor"] or np.max(inputs["suv"]["factors_by_slice"])
    assert suv.max() == pytest.approx(stored.max() * factor, rel=1e-5)
    assert inputs["suv"]["path"] and inputs["suv"]["decay_correction"] == pet.DecayCorrection

    age, stage = inputs["clinical"]
    assert age == {"name": "clinical_age", "given": "63.5", "type": "number", "used": "63.5"}
    assert stage["given"] is None and stage["used"] == "most frequent level"
    (roi,) = inputs["contour"]["rois"]
    assert (
        inputs["contour"]["asked"] == "GTV*" and roi["name"].startswith("GTV") and roi["source"] == "rtstruct"
    )
    assert inputs["contour"]["volume_ml"] == {roi["image"]: roi["volume_mask_ml"]}

    text = json.dumps(inputs)
    values = PLANTED.values() if isinstance(PLANTED, dict) else PLANTED
    descriptions = {str(header.get("SeriesDescription", "")) for header in headers} - {""}
    assert not [value for value in (*map(str, values), *descriptions) if value in text]
    assert not re.search(r"\b[0-2]\.\d+(?:\.\d+){6,}\b", text) and str(tmp_path) not in text


def test_a_mask_file_is_not_named(tmp_path: Path) -> None:
    from pipeline.deploy.covariate_shift import StageFolders
    from pipeline.deploy.inputs import contour_inputs

    (tmp_path / "contours").mkdir()
    roi = {"name": "doe_jane.nii.gz", "source": "mask_file", "voxels": 3, "volume_mask_ml": 0.1}
    content = {"masks": {"ct": {"rois": [roi], "volume_mask_ml": 0.1}}}
    (tmp_path / "contours" / "contours.json").write_text(json.dumps(content))
    folders = StageFolders(*[tmp_path] * 4, contours=tmp_path / "contours")
    patient = NewPatient("new", tmp_path, "doe_jane/mask.nii.gz; GTV*", {})
    inputs = contour_inputs(patient, folders)
    assert inputs["asked"] == "mask file; GTV*" and "doe" not in json.dumps(inputs)
    assert inputs["rois"][0]["name"] == "mask file"
    assert contour_inputs(patient, replace(folders, contours=None))["rois"] == []


def test_dates_that_the_study_keeps_are_not_passed_on(tmp_path: Path) -> None:
    from pipeline.deploy.covariate_shift import StageFolders

    suv = {"path": ["injection 2019-01-10 08:07:00"], "assumptions": [], "flags": [], "factor": 0.1}
    (tmp_path / "suv.json").write_text(json.dumps(suv))
    folders = StageFolders(*[tmp_path] * 4)
    stages = make_stage_settings(CropSettings(shape=(16, 24, 32), spacing_mm=(2.0, 2.0, 2.0)))
    kept = stages.model_copy(update={"convert": ConvertSettings(keep_dates=True)})
    assert suv_inputs(make_manifest(stages=kept), folders)["path"] == ["injection (date) 08:07:00"]
    assert suv_inputs(make_manifest(), folders)["path"] == suv["path"]
