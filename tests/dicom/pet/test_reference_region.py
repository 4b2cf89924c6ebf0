"""SUV of the body, by uptake alone."""

import json

import numpy as np
import pytest

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.pet.reference_region import body_reference
from pipeline.dicom.pet.suv import suv_patient
from pipeline.settings.dicom import SuvSettings
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume

GRID = Grid((4, 10, 10), (5.0, 10.0, 10.0), (0.0, 0.0, 0.0))


def body(level):
    """Air of 0.02, 120 voxels of half a mL at a level, 40 hot ones."""
    values = np.full(GRID.shape, 0.02, np.float32)
    values[:3, 2:6, :] = level
    values[3, 2:6, :] = 8.0
    return Volume(values, GRID, "pet_suvbw")


def test_median_of_what_takes_up():
    reference = body_reference(body(0.7), "bw")
    assert reference.median == pytest.approx(0.7) and reference.volume_ml == 80.0
    assert body_reference(body(0.03), "bsa").volume_ml == 80.0  # a quarter of 0.1 is 0.025
    assert body_reference(Volume(np.zeros(GRID.shape, np.float32), GRID), "bw").median is None


@pytest.mark.parametrize(("level", "flagged"), [(0.7, False), (0.15, True), (3.0, True)])
def test_an_implausible_body_is_flagged(tmp_path, level, flagged):
    convert = tmp_path / "convert"
    write_status(convert, Status("ok", "convert"))
    write_nifti(convert / "pet_stored.nii.gz", body(level))
    header = PetHeader(slices=(), units="GML", suv_type="BW").as_json()
    (convert / "pet.json").write_text(json.dumps({"header": header}))
    suv_patient(convert, tmp_path / "P1", SuvSettings(), "stop")
    account = json.loads((tmp_path / "P1" / "suv.json").read_text())
    assert account["reference"]["median"] == pytest.approx(level)
    assert any("median SUV of the body" in flag for flag in account["flags"]) == flagged
