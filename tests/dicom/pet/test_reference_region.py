"""SUV of the body, on the CT where there is one, else by uptake alone."""

import json

import numpy as np
import pytest

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.pet.reference_region import body_on_ct, body_reference
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


CT_GRID = Grid((30, 80, 80), (2.0, 2.0, 2.0), (-40.0, -40.0, 0.0))
PET_GRID = Grid((20, 40, 40), (3.0, 4.0, 4.0), (-39.0, -39.0, 0.5))


def thorax(tmp_path, aligned="same_frame", level=0.6):
    """A body of 60 × 60 mm with lungs on a table; the PET's uptake is hotter beside the body than in it."""
    convert = tmp_path / "convert"
    y, x = np.meshgrid(2.0 * np.arange(80) - 40, 2.0 * np.arange(80) - 40, indexing="ij")
    hu = np.full((80, 80), -1000, np.int16)
    hu[(abs(x) < 30) & (abs(y) < 30)] = 40
    hu[(abs(x) < 12) & (abs(y) < 12)] = -800
    hu[(y > 36) & (y < 38)] = 300  # the table: one voxel thick
    write_nifti(convert / "ct_hu.nii.gz", Volume(np.repeat(hu[None], 30, 0), CT_GRID))
    (convert / "pet.json").write_text(json.dumps({"pet_to_ct": aligned}))
    y, x = np.meshgrid(4.0 * np.arange(40) - 39, 4.0 * np.arange(40) - 39, indexing="ij")
    suv = np.full((40, 40), 5.0, np.float32)  # outside: a spill, a marker
    suv[(abs(x) < 31) & (abs(y) < 31)] = level
    suv[(abs(x) < 12) & (abs(y) < 12)] = 0.05
    return convert, Volume(np.repeat(suv[None], 20, 0), PET_GRID, "pet_suvbw")


@pytest.mark.parametrize("level", [0.6, 6e-5, 6e3])
def test_the_body_on_the_ct_is_found_whatever_the_uptake(tmp_path, level):
    reference = body_on_ct(*thorax(tmp_path, level=level))
    assert reference.median == pytest.approx(level) and "CT" in reference.rule
    assert 100 < reference.volume_ml < 60 * 60 * 58 / 1000  # the square without its lungs


@pytest.mark.parametrize("aligned", ["register", "alone", None])
def test_a_ct_that_lies_elsewhere_is_not_asked(tmp_path, aligned):
    assert body_on_ct(*thorax(tmp_path, aligned)) is None


def test_a_large_pet_is_looked_at_in_steps(tmp_path, monkeypatch):
    convert, volume = thorax(tmp_path)
    whole = body_on_ct(convert, volume)
    monkeypatch.setattr("pipeline.dicom.pet.reference_region._SAMPLED_VOXELS", 5000)
    sampled = body_on_ct(convert, volume)
    assert sampled.median == whole.median
    assert sampled.volume_ml == pytest.approx(whole.volume_ml, rel=0.35)


def test_the_ct_decides_in_the_stage(tmp_path):
    """By uptake the median would be 5, by the CT it is 0.6."""
    convert, volume = thorax(tmp_path)
    write_nifti(convert / "pet_stored.nii.gz", volume)
    header = PetHeader(slices=(), units="GML", suv_type="BW").as_json()
    (convert / "pet.json").write_text(json.dumps({"header": header, "pet_to_ct": "same_frame"}))
    write_status(convert, Status("ok", "convert"))
    suv_patient(convert, tmp_path / "P1", SuvSettings(), "stop")
    account = json.loads((tmp_path / "P1" / "suv.json").read_text())
    assert account["reference"]["median"] == pytest.approx(0.6)
    assert account["reference_by_uptake"]["median"] > 0.6 and not account["flags"]
