"""SUV of the body, by uptake alone."""

import json

import numpy as np
import pytest

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.pet.reference_region import body_reference
from pipeline.dicom.pet.suv import suv_patient
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume

GRID = Grid((4, 10, 10), (5.0, 10.0, 10.0), (0.0, 0.0, 0.0))


def body(level):
    """Air of 0.02, 120 voxels of half a mL at a level, 40 hot ones, all scaled alike."""
    values = np.full(GRID.shape, 0.02 * level / 0.7, np.float32)
    values[:3, 2:6, :] = level
    values[3, 2:6, :] = 8.0 * level / 0.7
    return Volume(values, GRID, "pet_suvbw")


@pytest.mark.parametrize("level", [0.7, 7e-5, 7e3], ids=["SUV", "far too low", "far too high"])
def test_the_body_is_found_whatever_the_scale(level):
    reference = body_reference(body(level))
    assert reference.median == pytest.approx(level) and reference.volume_ml == 80.0


def test_no_body_where_nothing_takes_up():
    assert body_reference(Volume(np.zeros(GRID.shape, np.float32), GRID)).median is None


def account_of(tmp_path, volume, **header):
    convert = tmp_path / "convert"
    write_nifti(convert / "pet_stored.nii.gz", volume)
    content = PetHeader(**{"slices": (), "units": "GML", "suv_type": "BW", **header}).as_json()
    (convert / "pet.json").write_text(json.dumps({"header": content}))
    write_status(convert, Status("ok", "convert"))
    suv_patient(convert, tmp_path / "P1", SuvSettings(), "stop")
    return json.loads((tmp_path / "P1" / "suv.json").read_text())


@pytest.mark.parametrize(("level", "flagged"), [(0.7, False), (0.15, True), (3.0, True)])
def test_an_implausible_body_is_flagged(tmp_path, level, flagged):
    account = account_of(tmp_path, body(level))
    assert account["reference"]["median"] == pytest.approx(level)
    assert any("median SUV of the body" in flag for flag in account["flags"]) == flagged


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (0.7 * 2.92e-4, "an SUVmax of 0.1"),  # SUV in a file that says Bq/mL
        (0.7e-3 * 3.0, "an SUVmax of 0.1"),  # kBq/mL there
        (0.012, "a median SUV of the body"),
        (0.7 * 3424.0, "a median SUV of the body"),  # Bq/mL in a file that says SUV
        (4e9, "a median SUV of the body"),
    ],
)
def test_an_impossible_body_is_refused(tmp_path, level, words):
    with pytest.raises(SuvError, match=words):
        account_of(tmp_path, body(level))


def test_one_voxel_in_a_thousand_above_1000_is_refused_and_a_single_one_flagged(tmp_path):
    volume = body(0.7)
    volume.array[0, 0, 0] = 27386.0  # 1 of 400: the 99.9th percentile lies between it and the next
    with pytest.raises(SuvError, match=r"99\.9"):
        account_of(tmp_path, volume)
    grid = Grid((20, 40, 40), (5.0, 10.0, 10.0), (0.0, 0.0, 0.0))
    values = np.full(grid.shape, 0.7, np.float32)
    values[3, 3, 3] = 1200.0  # an extravasated injection
    account = account_of(tmp_path, Volume(values, grid, "pet_suvbw"))
    assert any("SUVmax 1200.0" in flag for flag in account["flags"])


@pytest.mark.parametrize(("low", "flagged"), [(-0.5, True), (-1e-5, False), (0.0, False)])
def test_negative_suv_below_rounding_is_flagged(tmp_path, low, flagged):
    volume = body(0.7)
    volume.array[0, :4, 0] = low
    flags = " ".join(account_of(tmp_path, volume)["flags"])
    assert ("negative SUV down to -0.5, in 1 % of voxels" in flags) == flagged
