"""A PET that was moved or mirrored against its CT is found; one that lies on it is left in peace."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipeline.registration.body_mask import make_body
from pipeline.registration.pet_on_ct import PetOnCt, pet_on_ct
from pipeline.registration.register import RegistrationSources, register_patient
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.status import Status, read_status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.resample import coarsen
from pipeline.volumes.volume import Volume

SETTINGS = RegistrationSettings(method="none")


def uptake_of(anatomy: Volume) -> Volume:
    """FDG as in a head: brain hot, bone and air cold, one hot lesion on the left."""
    values = np.select(
        [anatomy.array > 500, anatomy.array > 20, anatomy.array > -150], [2000.0, 9000.0, 5000.0], 10.0
    )
    points = anatomy.grid.points(np.argwhere(np.ones(anatomy.grid.shape)))
    lesion = np.linalg.norm(points - [35.0, -20.0, -20.0], axis=1).reshape(anatomy.grid.shape) < 14
    values = np.where(lesion, 30_000.0, values)
    return Volume(gaussian_filter(values, 1.0).astype(np.float32), anatomy.grid, "pet_stored")


@pytest.fixture(scope="module")
def ct_and_pet():
    from tests.registration.conftest import grid, head, pose

    # As heads lie: neither straight nor in the middle. One that is symmetric about the middle of the field of view
    # looks the same in the mirror.
    lying = pose((4.0, -3.0, 12.0), (9.0, 4.0, 0.0))
    ct = make_body(coarsen(head(lying, grid(), 1), 4.0, -1000.0, -1000.0), "ct", "head")
    return ct, coarsen(uptake_of(head(lying, grid(), 2)), 4.0, 0.0, 0.0)


def moved(pet: Volume, by_mm: tuple[float, float, float]) -> Volume:
    """The PET with another origin: what a wrong Image Position does."""
    origin = tuple(a + b for a, b in zip(pet.grid.origin_mm, by_mm, strict=True))
    return Volume(pet.array, replace(pet.grid, origin_mm=origin), pet.quantity)


def test_a_pet_that_lies_on_its_ct_is_not_warned_of(ct_and_pet):
    ct, pet = ct_and_pet
    compared = pet_on_ct(ct, pet, np.eye(4))
    assert compared.shift_mm == (0.0, 0.0, 0.0) and compared.fit_mirrored < 0.9 * compared.fit
    assert compared.warnings(SETTINGS) == []


@pytest.mark.parametrize("by_mm", [(15, 0, 0), (-15, 0, 0), (0, 15, 0), (0, -15, 0), (0, 0, 15), (0, 0, -15)])
def test_the_way_back_is_found(ct_and_pet, by_mm):
    ct, pet = ct_and_pet
    compared = pet_on_ct(ct, moved(pet, by_mm), np.eye(4))
    # To half a voxel of 4 mm.
    assert np.abs(np.add(compared.shift_mm, by_mm)).max() <= 2.0
    assert compared.warnings(SETTINGS)[0].startswith("the PET fits the CT better when it is moved by 16 mm")


def test_a_shift_below_the_limit_is_let_pass(ct_and_pet):
    ct, pet = ct_and_pet
    compared = pet_on_ct(ct, moved(pet, (0, 8, 0)), np.eye(4))
    assert compared.shift_mm == (0.0, -8.0, 0.0) and compared.warnings(SETTINGS) == []


def test_a_transform_to_the_pet_is_followed(ct_and_pet):
    ct, pet = ct_and_pet
    to_pet = np.eye(4)
    to_pet[:3, 3] = (40.0, -25.0, 12.0)
    compared = pet_on_ct(ct, moved(pet, (40, -25, 12)), to_pet)
    assert compared.shift_mm == (0.0, 0.0, 0.0) and compared.warnings(SETTINGS) == []


def test_a_mirrored_pet_is_found_where_it_lies_and_where_it_was_moved(ct_and_pet):
    ct, pet = ct_and_pet
    mirrored = Volume(np.ascontiguousarray(pet.array[:, :, ::-1]), pet.grid, pet.quantity)
    for by_mm in ((0, 0, 0), (12, 0, 0)):
        texts = pet_on_ct(ct, moved(mirrored, by_mm), np.eye(4)).warnings(SETTINGS)
        assert len(texts) == 1 and "when it is mirrored left to right" in texts[0]


def test_limits_are_those_of_the_settings():
    compared = PetOnCt(fit=0.2, shift_mm=(0.0, 12.0, 0.0), fit_shifted=0.25, fit_mirrored=0.26)
    assert "moved by 12 mm (+0, +12, +0 mm" in compared.warnings(SETTINGS)[0]
    for changes in ({"max_pet_shift_mm": 12.1}, {"min_shift_gain": 0.26}):
        assert compared.warnings(SETTINGS.model_copy(update=changes)) == []
    assert "mirrored" in compared.warnings(SETTINGS.model_copy(update={"min_mirror_gain": 0.03}))[0]


def test_the_stage_warns_and_writes_the_figures(write_head, make_grid, make_head, tmp_path):
    folder = write_head("P")
    pet = uptake_of(make_head(np.eye(4), make_grid((50, 54, 54), (4.3, 5.0, 5.0)), 3))
    write_nifti(folder / "pet_stored.nii.gz", moved(pet, (0, -15, 0)))
    (folder / "pet.json").write_text(json.dumps({"pet_to_ct": "same_frame"}))
    write_status(folder, Status("ok", "convert"))
    register_patient(RegistrationSources("P", folder), tmp_path / "out", SETTINGS, "stop")
    status = read_status(tmp_path / "out")
    assert status.state == "warned" and "moved by 16 mm (+0, +16, +0 mm" in status.problem
    facts = json.loads((tmp_path / "out/quality.json").read_text())["pet_on_ct"]
    assert facts["shift_mm"] == [0.0, 16.0, 0.0] and facts["fit_shifted"] > 1.2 * facts["fit"]


def test_an_image_of_less_than_a_body_is_not_compared(write_head, make_grid, tmp_path):
    folder = write_head("P")
    tiny = make_grid((10, 12, 12), (4.0, 4.0, 4.0))
    write_nifti(folder / "ct_hu.nii.gz", Volume(np.full(tiny.shape, -1000, np.int16), tiny, "ct_hu"))
    write_nifti(folder / "pet_stored.nii.gz", Volume(np.ones(tiny.shape, np.float32), tiny, "pet_stored"))
    write_status(folder, Status("ok", "convert"))
    register_patient(RegistrationSources("P", folder), tmp_path / "out", SETTINGS, "stop")
    assert read_status(tmp_path / "out").state == "ok"
    facts = json.loads((tmp_path / "out/quality.json").read_text())["pet_on_ct"]
    assert facts["not_compared"].startswith("no body was found")
