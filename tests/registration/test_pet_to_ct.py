"""A PET of another frame of reference: registered to the CT, and composed in the crop's one interpolation."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from pipeline.errors import RegistrationError
from pipeline.registration.body_mask import BodyPair, make_body
from pipeline.registration.quality import measure
from pipeline.registration.register import RegistrationSources, register_patient
from pipeline.registration.template import choose_template
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.status import Status, read_status, write_status
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.resample import coarsen
from pipeline.volumes.transform import read_matrix
from pipeline.volumes.volume import Volume

NONE = RegistrationSettings(method="none")


@pytest.fixture
def write_both(write_head, make_pose, make_grid, make_head):
    """Write a head's CT, and its PET in coordinates of its own: PET point = own × CT point."""

    def write(name, pose=None, own=None, pet_to_ct="register"):
        pose = np.eye(4) if pose is None else pose
        own = make_pose((4, -3, 5), (25, -18, 30)) if own is None else own
        folder = write_head(name, pose)
        on = make_grid((50, 54, 54), (4.3, 5.0, 5.0))
        anatomy = make_head(own @ pose, on, 3).array
        # brain hot as in FDG, bone and air cold, the couch without activity
        uptake = np.select([anatomy > 500, anatomy > 20, anatomy > -150], [2000.0, 9000.0, 5000.0], 10.0)
        write_nifti(folder / "pet_stored.nii.gz", Volume(_blurred(uptake), on, "pet_stored"))
        (folder / "pet.json").write_text(json.dumps({"pet_to_ct": pet_to_ct}))
        write_status(folder, Status("ok", "convert"))
        return folder, own

    return write


def _blurred(array: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(array, 1.0).astype(np.float32)


def gap_mm(matrix: np.ndarray, truth: np.ndarray, points: np.ndarray) -> float:
    difference = matrix - truth
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).max())


def test_the_pet_is_registered_to_the_ct(write_both, landmarks, tmp_path):
    folder, own = write_both("P")
    register_patient(RegistrationSources("P", folder), tmp_path / "out", NONE, "stop")
    # maps CT points to PET points: what resampling the PET on the CT's grid needs
    assert gap_mm(read_matrix(tmp_path / "out/pet_to_ct.mat"), own, landmarks) < 2.0
    assert np.array_equal(read_matrix(tmp_path / "out/to_template.mat"), np.eye(4))
    facts = json.loads((tmp_path / "out/quality.json").read_text())["pet_to_ct"]
    assert facts["similarity_after"] > facts["similarity_before"]
    assert facts["overlap_after"] > 0.8
    assert (tmp_path / "out/pet_to_ct.png").stat().st_size > 5000


@pytest.mark.parametrize("pet_to_ct", ["same_frame", "accepted"])
def test_a_pet_that_lies_on_the_ct_is_not_registered(write_both, tmp_path, pet_to_ct):
    folder, _ = write_both("P", pet_to_ct=pet_to_ct)
    register_patient(RegistrationSources("P", folder), tmp_path / "out", NONE, "stop")
    assert not (tmp_path / "out/pet_to_ct.mat").exists()


def test_limits_refuse_a_pet_that_does_not_fit(write_both, tmp_path):
    folder, _ = write_both("P")
    tight = RegistrationSettings(method="none", max_rotation_deg=1.0)
    sources = RegistrationSources("P", folder)
    with pytest.raises(RegistrationError, match=r"alignment of PET and CT.*patient P.*rotated by"):
        register_patient(sources, tmp_path / "out", tight, "stop")
    register_patient(sources, tmp_path / "out", tight, "exclude")
    assert read_status(tmp_path / "out").state == "excluded"


@pytest.fixture
def strange_pet(write_both, make_grid):
    """A patient whose PET fills the CT's body but shows nothing of what lies in it."""
    folder, _ = write_both("P")
    volume = read_nifti(folder / "pet_stored.nii.gz", "pet_stored")
    blobs = _blurred(np.random.default_rng(5).normal(0.0, 1.0, volume.array.shape))
    body = np.where(volume.array > 1500.0, 5000.0 * np.exp(3.0 * blobs), 10.0)
    write_nifti(folder / "pet_stored.nii.gz", volume.with_array(body.astype(np.float32), "pet_stored"))
    write_status(folder, Status("ok", "convert"))
    return folder


def test_a_pet_that_shows_nothing_of_the_ct_is_excluded(strange_pet, tmp_path):
    quick = NONE.model_copy(update={"starts": 1, "working_mm": 6.0})
    sources = RegistrationSources("P", strange_pet)
    register_patient(sources, tmp_path / "out", quick, "exclude")
    status = read_status(tmp_path / "out")
    assert status.state == "excluded"
    assert re.search(r"alignment of PET and CT.*similarity is 0\.0\d+ \(limit 0\.1\)", status.problem)
    # nothing but the limit speaks against it
    lax = quick.model_copy(update={"min_information": 0.0})
    register_patient(sources, tmp_path / "lax", lax, "stop")
    facts = json.loads((tmp_path / "lax/quality.json").read_text())["pet_to_ct"]
    assert facts["overlap_after"] > quick.min_overlap
    assert facts["limits"]["min_information"] == 0.0


def test_the_limit_lies_between_aligned_and_astray(make_head, make_pose, make_grid):
    # By the phantom's own truth: aligned well above the limit, 40 mm off sideways below it.
    fixed = make_body(coarsen(make_head(np.eye(4), make_grid(), 1), 4.0, -1000.0, -1000.0), "ct", "head")
    anatomy = make_head(np.eye(4), make_grid(), 2)
    uptake = np.select([anatomy.array > 500, anatomy.array > 20, anatomy.array > -150], [2e3, 9e3, 5e3], 10.0)
    pet = make_body(
        coarsen(Volume(_blurred(uptake), anatomy.grid, "pet_stored"), 4.0, 0.0, 0.0), "pet", "head"
    )
    limit = RegistrationSettings().min_information
    assert measure(BodyPair(fixed, pet), np.eye(4), "information").similarity > 2.5 * limit
    for shift in ((40, 0, 0), (-40, 0, 0), (0, 40, 0), (0, -40, 0)):
        assert measure(BodyPair(fixed, pet), make_pose((0, 0, 0), shift), "information").similarity < limit


def test_registering_on_pet_still_maps_to_the_ct(write_both, make_pose, landmarks, tmp_path):
    # Template point p lies at pose × p in the patient's CT, whatever the PET's coordinates.
    settings = RegistrationSettings(template="T", moving="pet")
    truth = make_pose((5, -4, 6), (10, -12, 6))
    template, _ = write_both("T", own=np.eye(4), pet_to_ct="same_frame")
    folder, own = write_both("P", pose=truth)
    choose_template([template], tmp_path / "template", settings, 1)
    sources = RegistrationSources("P", folder, tmp_path / "template")
    register_patient(sources, tmp_path / "out", settings, "stop")
    assert gap_mm(read_matrix(tmp_path / "out/to_template.mat"), truth, landmarks) < 3.0
    assert gap_mm(read_matrix(tmp_path / "out/pet_to_ct.mat"), own, landmarks) < 2.0
