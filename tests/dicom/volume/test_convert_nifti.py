"""NIfTI cohorts: through convert, SUV and contours as DICOM goes."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.volume.convert_nifti import convert_nifti
from pipeline.errors import (
    ContourError,
    DicomError,
    GeometryError,
    PatientError,
    SettingsError,
    SuvError,
)
from pipeline.settings.cohort import NiftiSettings
from pipeline.settings.dicom import ContourSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.volume import Grid, Volume
from tests.dicom.contours.contour_helpers import CT_GRID, PET_GRID

SETTINGS = NiftiSettings(nifti_pet_quantity="suvbw")


def folder(path, ct=None, pet=None):
    rng = np.random.default_rng(0)
    ct = rng.integers(-1000, 900, CT_GRID.shape).astype(np.int16) if ct is None else ct
    pet = rng.uniform(0, 12, PET_GRID.shape).astype(np.float32) if pet is None else pet
    write_nifti(path / "CT.nii.gz", Volume(ct, CT_GRID))
    write_nifti(path / "pet_suv.nii.gz", Volume(pet, PET_GRID))
    return PatientFiles("P1", path)


def refused(tmp_path, kind, match, patient, settings=SETTINGS):
    with pytest.raises(kind, match=match) as caught:
        convert_nifti(patient, tmp_path / "out", settings, "stop")
    return str(caught.value)


def test_values_and_grids_pass_through_to_the_suv(tmp_path):
    patient = folder(tmp_path / "p")
    convert_nifti(patient, tmp_path / "convert", SETTINGS, "stop")
    suv_patient(tmp_path / "convert", tmp_path / "suv", SuvSettings(), "stop")
    ct, suv = read_nifti(tmp_path / "convert/ct_hu.nii.gz"), read_nifti(tmp_path / "suv/pet_suvbw.nii.gz")
    assert np.array_equal(ct.array, read_nifti(patient.folder / "CT.nii.gz").array)
    assert ct.array.dtype == np.int16 and ct.grid.matches(CT_GRID)
    assert np.array_equal(suv.array, read_nifti(patient.folder / "pet_suv.nii.gz").array)
    assert suv.grid.matches(PET_GRID)
    account = json.loads((tmp_path / "suv/suv.json").read_text())
    assert account["factor"] == 1.0 and account["units"] == "GML"
    assert json.loads((tmp_path / "convert/pet.json").read_text())["source"] == "nifti"
    assert read_status(tmp_path / "convert").state == read_status(tmp_path / "suv").state == "ok"


@pytest.mark.parametrize(
    ("codes", "units", "words"),
    [((1, 1), 0, ""), ((0, 1), 2, ""), ((0, 0), 2, "how its axes run"), ((0, 0), 0, "unit of length")],
)
def test_a_header_without_place_is_told(tmp_path, codes, units, words):
    # nifti1.h: qform_code and sform_code at byte 252, xyzt_units at 123; 0: unknown.
    patient = folder(tmp_path / "p")
    write_nifti(patient.folder / "pet_suv.nii", read_nifti(patient.folder / "pet_suv.nii.gz"))
    (patient.folder / "pet_suv.nii.gz").unlink()
    raw = bytearray((patient.folder / "pet_suv.nii").read_bytes())
    struct.pack_into("<2h", raw, 252, *codes)
    raw[123] = units
    (patient.folder / "pet_suv.nii").write_bytes(raw)
    settings = SETTINGS.model_copy(update={"nifti_ct": "", "nifti_pet": "pet_suv.nii"})
    convert_nifti(patient, tmp_path / "convert", settings, "stop")
    status = read_status(tmp_path / "convert")
    assert status.state == ("warned" if words else "ok")
    assert words in status.problem and ("left and right" in status.problem) == bool(words)


def test_contours_are_found_by_name_or_path(tmp_path):
    patient = folder(tmp_path / "p")
    mask = np.zeros(CT_GRID.shape, np.uint8)
    mask[3:5, 4:9, 4:9] = 1
    write_nifti(patient.folder / "gtv_ct.nii.gz", Volume(mask, CT_GRID))
    write_nifti(patient.folder / "other.nrrd", Volume(mask[:, ::4, ::4].copy(), PET_GRID))
    convert_nifti(patient, tmp_path / "convert", SETTINGS, "stop")
    suv_patient(tmp_path / "convert", tmp_path / "suv", SuvSettings(), "stop")

    def contours(roi, out):
        sources = ContourSources("P1", None, tmp_path / "convert", tmp_path / "suv", roi, patient.folder)
        contours_patient(sources, tmp_path / out, ContourSettings(), "stop")
        return json.loads((tmp_path / out / "contours.json").read_text())["masks"]

    assert contours("", "a")["ct"]["voxels"] == 50
    assert list(contours("OTHER*", "b")) == ["pet"]
    assert list(contours("gtv_ct.nii.gz; other.nrrd", "c")) == ["ct", "pet"]
    with pytest.raises(ContourError, match="no mask file"):
        contours("nothing", "d")


def test_an_undeclared_pet_is_refused_whatever_the_policy(tmp_path):
    undeclared = NiftiSettings()
    with pytest.raises(SettingsError, match="must declare"):
        convert_nifti(folder(tmp_path / "p"), tmp_path / "out", undeclared, "exclude")


def test_one_file_must_fit_each_pattern(tmp_path):
    patient = folder(tmp_path / "p")
    write_nifti(patient.folder / "ct_second.nii", Volume(np.zeros(CT_GRID.shape, np.int16), CT_GRID))
    message = refused(tmp_path, DicomError, "several CT files", patient)
    assert "2 such files" in message and "ct_second.nii" not in message  # names may tell who it is
    narrow = SETTINGS.model_copy(update={"nifti_ct": "ct.nii.gz"})
    convert_nifti(patient, tmp_path / "out", narrow, "stop")
    none = SETTINGS.model_copy(update={"nifti_pet": "suv*"})
    refused(tmp_path, DicomError, "no PET file", folder(tmp_path / "q"), none)
    refused(tmp_path, PatientError, "no images", PatientFiles("P1", tmp_path / "nowhere"))


def test_a_pattern_left_empty_asks_for_no_image(tmp_path):
    only_ct = SETTINGS.model_copy(update={"nifti_pet": ""})
    convert_nifti(folder(tmp_path / "p"), tmp_path / "out", only_ct, "stop")
    assert not (tmp_path / "out/pet_stored.nii.gz").exists()


def test_impossible_values_are_refused(tmp_path):
    pet = np.full(PET_GRID.shape, 5000.0, np.float32)
    assert "Bq/mL" in refused(tmp_path, SuvError, "cannot be SUV", folder(tmp_path / "a", pet=pet))
    pet = np.ones(PET_GRID.shape, np.float32)
    pet[0, 0, 0] = np.nan
    refused(tmp_path, GeometryError, "not numbers", folder(tmp_path / "b", pet=pet))
    ct = np.random.default_rng(0).random(CT_GRID.shape).astype(np.float32)
    refused(tmp_path, DicomError, "not in Hounsfield", folder(tmp_path / "c", ct=ct))
    # A changed slope: air at -8,000, bone at 7,200.
    ct = 8.0 * np.random.default_rng(0).integers(-1000, 900, CT_GRID.shape).astype(np.float32)
    refused(tmp_path, DicomError, "not in Hounsfield.*-3100 to 5000", folder(tmp_path / "d", ct=ct))


def test_padding_and_metal_are_no_other_unit(tmp_path):
    ct = np.random.default_rng(0).integers(-1000, 900, CT_GRID.shape).astype(np.int16)
    ct[:, :9], ct[0, 20, 20] = -32768, 30000
    convert_nifti(folder(tmp_path / "a", ct=ct), tmp_path / "out", SETTINGS, "stop")
    assert np.array_equal(read_nifti(tmp_path / "out" / "ct_hu.nii.gz").array, ct)


def test_images_that_lie_apart_are_refused(tmp_path):
    patient = folder(tmp_path / "p")
    far = Grid(PET_GRID.shape, PET_GRID.spacing_mm, (-18.5, -28.5, -500.0))
    write_nifti(patient.folder / "pet_suv.nii.gz", Volume(np.ones(far.shape, np.float32), far))
    assert far.describe() in refused(tmp_path, GeometryError, "do not overlap", patient)


def test_a_ct_without_air_is_told(tmp_path):
    ct = np.random.default_rng(0).integers(0, 900, CT_GRID.shape).astype(np.int16)
    convert_nifti(folder(tmp_path / "p", ct=ct), tmp_path / "out", SETTINGS, "stop")
    assert "no air" in read_status(tmp_path / "out").problem


@pytest.mark.parametrize(
    ("kind", "suv", "told"), [(np.int16, 2, True), (np.float32, 2, True), (np.float32, 2.5, False)]
)
def test_a_pet_of_whole_numbers_is_told(tmp_path, kind, suv, told):
    patient = folder(tmp_path / "p", pet=np.full(PET_GRID.shape, suv, kind))
    convert_nifti(patient, tmp_path / "out", SETTINGS, "stop")
    assert ("whole numbers" in read_status(tmp_path / "out").problem) == told
