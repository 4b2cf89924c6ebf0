"""Rigid registration against known poses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import RegistrationError
from pipeline.registration.body_mask import coarse_volume, make_body
from pipeline.registration.multistart import align
from pipeline.registration.quality import measure, rotation_deg
from pipeline.registration.refine import refine
from pipeline.registration.register import RegistrationSources, register_patient
from pipeline.registration.template import choose_template
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.status import Status, read_status, write_status
from pipeline.volumes.resample import coarsen
from pipeline.volumes.transform import read_matrix

LESION = np.array([25.0, -30.0, -20.0])
NAMED = RegistrationSettings(template="T")


def run(write_head, name, *, settings=NAMED, **where) -> Path:
    """Register one head to the head in pose zero; the folder of `registration`."""
    out = write_head.root / "registration" / name
    if not (write_head.root / "template").is_dir():
        choose_template([write_head("T")], write_head.root / "template", settings, 1)
    sources = RegistrationSources(name, write_head(name, **where), write_head.root / "template")
    register_patient(sources, out, settings, "stop")
    return out


def errors_mm(out: Path, truth: np.ndarray, points: np.ndarray) -> np.ndarray:
    found = read_matrix(out / "to_template.mat")
    difference = found - truth
    return np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1)


@pytest.mark.parametrize(
    ("turn", "shift"),
    [((5, 0, 0), (3, -4, 6)), ((-8, 6, 10), (20, -15, 12)), ((15, -15, 15), (40, -40, 40))],
)
def test_a_known_pose_is_recovered(write_head, make_pose, landmarks, turn, shift):
    truth = make_pose(turn, shift)
    out = run(write_head, "P", matrix=truth)
    assert errors_mm(out, truth, landmarks).max() < 1.0
    facts = json.loads((out / "quality.json").read_text())
    assert facts["similarity_after"] > 0.85
    assert facts["similarity_after"] > facts["similarity_before"]
    assert facts["rotation_deg"] == pytest.approx(rotation_deg(truth), abs=0.5)
    assert (out / "quality.png").stat().st_size > 5000


def test_the_file_maps_template_points_to_patient_points(write_head, make_pose):
    # A pure shift of the patient by +30 mm in x: a template point lies 30 mm further in x
    # in the patient. SimpleITK itself reads the file, as any other program would.
    out = run(write_head, "P", matrix=make_pose((0, 0, 0), (30, 0, 0)))
    moved = sitk.ReadTransform(str(out / "to_template.mat")).TransformPoint((10.0, -20.0, 5.0))
    assert moved == pytest.approx((40.0, -20.0, 5.0), abs=0.7)


@pytest.mark.parametrize(
    ("shape", "centre"),
    [((42, 80, 80), (0, 0, 24)), ((54, 60, 60), (0, 0, 0)), ((80, 80, 80), (10, 5, -30))],
    ids=["half the neck missing", "narrow field of view", "longer scan"],
)
def test_other_fields_of_view(write_head, make_pose, make_grid, landmarks, shape, centre):
    truth = make_pose((-6, 5, 9), (12, -10, 8))
    out = run(write_head, "P", matrix=truth, on=make_grid(shape, centre=centre))
    assert errors_mm(out, truth, landmarks).max() < 1.5


def test_pet_can_be_registered(write_head, make_pose, make_grid, landmarks):
    # PET as a smooth image of the same solids: uptake where there is tissue
    settings = RegistrationSettings(template="T", moving="pet")
    truth = make_pose((5, -4, 8), (10, -12, 6))
    for name, matrix in (("T", np.eye(4)), ("P", truth)):
        folder = write_head(name, matrix)
        ct = sitk.ReadImage(str(folder / "ct_hu.nii.gz"))
        array = sitk.GetArrayFromImage(ct).astype(np.float32)
        # brain hot as in FDG, bone and air cold, the couch without activity
        uptake = np.select([array > 500, array > 20, array > -150], [2000.0, 9000.0, 5000.0], 10.0)
        pet = sitk.GetImageFromArray(uptake.astype(np.float32))
        pet.CopyInformation(ct)
        sitk.WriteImage(sitk.SmoothingRecursiveGaussian(pet, 3.0), str(folder / "pet_stored.nii.gz"))
    root = write_head.root
    choose_template([root / "convert/T"], root / "template", settings, 1)
    sources = RegistrationSources("P", root / "convert/P", root / "template")
    register_patient(sources, root / "registration", settings, "stop")
    assert errors_mm(root / "registration", truth, landmarks).max() < 2.0


def test_the_template_itself_is_not_moved(write_head):
    template = write_head("T")
    root = write_head.root
    choose_template([template], root / "template", NAMED, 1)
    sources = RegistrationSources("T", template, root / "template")
    register_patient(sources, root / "registration", NAMED, "stop")
    assert np.array_equal(read_matrix(root / "registration/to_template.mat"), np.eye(4))


def test_method_none_writes_the_identity(write_head):
    out = write_head.root / "out"
    settings = RegistrationSettings(method="none")
    register_patient(RegistrationSources("P", write_head("P")), out, settings, "stop")
    assert np.array_equal(read_matrix(out / "to_template.mat"), np.eye(4))
    assert not (out / "quality.png").exists()


def test_the_couch_is_not_body(write_head, make_grid):
    body = make_body(coarse_volume(write_head("T") / "ct_hu.nii.gz", "ct", 4.0), "ct", "T")
    points = body.grid.points(np.argwhere(body.mask))
    couch = points[points[:, 1] > 103]
    assert len(couch) == 0
    assert body.image[~body.mask].mean() < -900


def test_no_body_is_refused(write_head):
    folder = write_head("P")
    image = sitk.ReadImage(str(folder / "ct_hu.nii.gz"))
    sitk.WriteImage(image * 0 - 1000, str(folder / "ct_hu.nii.gz"))
    template = write_head("T")
    root = write_head.root
    choose_template([template], root / "template", NAMED, 1)
    sources = RegistrationSources("P", folder, root / "template")
    with pytest.raises(RegistrationError, match="no body") as caught:
        register_patient(sources, root / "out", NAMED, "stop")
    assert "patient P" in str(caught.value)
    register_patient(sources, root / "out", NAMED, "exclude")
    assert read_status(root / "out").state == "excluded"
    assert [p.name for p in (root / "out").iterdir()] == ["status.json"]


def test_a_turn_beyond_the_limit_is_refused_after_all_starts(write_head, make_pose):
    tight = RegistrationSettings(template="T", max_rotation_deg=4.0, starts=2)
    with pytest.raises(RegistrationError, match=r"from 2 starts.*turned by .* \(limit 4°\)"):
        run(write_head, "P", settings=tight, matrix=make_pose((12, 0, 0), (0, 0, 0)))


def test_an_excluded_patient_is_passed_on(tmp_path):
    write_status(tmp_path / "convert", Status("excluded", "convert", "slices are missing"))
    sources = RegistrationSources("P", tmp_path / "convert", tmp_path / "no template")
    register_patient(sources, tmp_path / "out", NAMED, "stop")
    assert read_status(tmp_path / "out").problem == "slices are missing"


def test_two_processes_write_the_same_bytes(write_head, make_pose):
    first = run(write_head, "P", matrix=make_pose((4, 6, -8), (15, 5, -10)))
    root = write_head.root
    code = (
        "from pathlib import Path;from pipeline.registration.register import *;"
        "from pipeline.settings.geometry import RegistrationSettings as S;"
        f"r=Path({str(root)!r});"
        "register_patient(RegistrationSources('P',r/'convert/P',r/'template'),r/'again',S(template='T'),'stop')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    for name in ("to_template.mat", "quality.json", "quality.png", "status.json"):
        assert (first / name).read_bytes() == (root / "again" / name).read_bytes(), name


def test_overlap_and_similarity_of_a_body_with_itself(write_head):
    body = make_body(coarse_volume(write_head("T") / "ct_hu.nii.gz", "ct", 4.0), "ct", "T")
    same = measure(body, body, np.eye(4))
    assert (same.similarity, same.overlap) == (pytest.approx(1.0), pytest.approx(1.0))
    far = np.eye(4)
    far[0, 3] = 500.0
    assert measure(body, body, far).similarity == -1.0


SCENES = {
    "whole head and neck": ((54, 80, 80), (0, 0, 0)),
    "a third of the neck missing": ((42, 80, 80), (0, 0, 24)),
    "half the neck missing": ((38, 80, 80), (0, 0, 30)),
    "narrow": ((54, 60, 60), (0, 0, 0)),
    "longer scan": ((80, 80, 80), (10, 5, -30)),
    "skull only": ((26, 80, 80), (0, 0, 60)),
    "neck only": ((30, 80, 80), (0, 0, -50)),
}


def at_lesion_mm(found: np.ndarray, truth: np.ndarray) -> float:
    difference = found - truth
    return float(np.linalg.norm(difference[:3, :3] @ LESION + difference[:3, 3]))


def plain_errors(truth: np.ndarray, bodies) -> tuple[float, float]:
    """Errors (mm) at the lesion of leaving the patient as scanned, and of laying the centres together."""
    centres = np.eye(4)
    centres[:3, 3] = bodies[1].centre_mm() - bodies[0].centre_mm()
    return at_lesion_mm(np.eye(4), truth), at_lesion_mm(centres, truth)


def scene_errors(scene, poses, tools) -> list[float]:
    """Register the head in seeded poses to the head in pose zero (2 mm voxels); errors at the lesion.

    Up to 15° about each axis and 40 mm along each; the field of view follows the patient
    along the couch, as a technician's does, unless it holds all.
    """
    make_pose, make_grid, make_head = tools
    settings = RegistrationSettings(template="T", working_mm=2.0)
    shape, centre = SCENES[scene]
    rng = np.random.default_rng(11)
    fixed = body_of(make_head(np.eye(4), make_grid(), 1))
    found = []
    for number in range(poses):
        truth = make_pose(rng.uniform(-15, 15, 3), rng.uniform(-40, 40, 3))
        along = 0.0 if scene.startswith("whole") else truth[2, 3]
        on = make_grid(shape, centre=(centre[0], centre[1], centre[2] + along))
        bodies = (fixed, body_of(make_head(truth, on, 100 + number)))
        found.append(at_lesion_mm(align(*bodies, settings).best.end.matrix, truth))
        # Target: no case ends with a larger error than identity or centre-of-mass alignment gives.
        assert found[-1] <= min(plain_errors(truth, bodies)), (scene, number)
    return found


def body_of(volume):
    return make_body(coarsen(volume, 2.0, -1000.0, -1000.0), "ct", "head")


@pytest.mark.long
@pytest.mark.parametrize("scene", SCENES)
def test_errors_at_the_lesion_over_many_poses(make_pose, make_grid, make_head, scene):
    # Target: median under 1 mm, 95 % under 2 mm, at 2 mm working voxels, with couch.
    found = scene_errors(scene, 10, (make_pose, make_grid, make_head))
    assert np.median(found) < 1.0
    assert np.quantile(found, 0.95) < 2.0


def test_the_kept_end_is_no_less_similar_than_a_plain_start(write_head, monkeypatch):
    # A search that goes astray: both plain starts are better, and the best of them is kept.
    body = make_body(coarse_volume(write_head("T") / "ct_hu.nii.gz", "ct", 8.0), "ct", "T")
    astray = np.eye(4)
    astray[0, 3] = 4.0
    monkeypatch.setattr("pipeline.registration.multistart.rigid", lambda *_: astray)
    monkeypatch.setattr("pipeline.registration.multistart.refine", lambda *_: astray)
    found = align(body, body, RegistrationSettings(template="T", starts=1))
    assert found.best.origin != "search"
    assert found.best.end.similarity == pytest.approx(1.0)
    assert found.trials[0].end.similarity < 0.9


def test_refining_climbs_to_the_truth_and_stays_there(make_pose, make_grid, make_head, landmarks):
    coarse = make_grid((54, 80, 80))
    truth = make_pose((4, -3, 5), (6, -5, 4))
    fixed, moving = (body_of(make_head(m, coarse, seed)) for m, seed in ((np.eye(4), 1), (truth, 2)))
    off = truth @ make_pose((3, 3, -3), (4, 4, -4))
    assert np.linalg.norm((off - truth)[:3, 3]) > 6.0
    found = refine(fixed, moving, off, (8.0, 4.0, 2.0))
    difference = found - truth
    assert np.linalg.norm(landmarks @ difference[:3, :3].T + difference[:3, 3], axis=1).max() < 0.5
    assert found[:3, :3] @ found[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)


@pytest.mark.parametrize("scene", ["whole head and neck", "skull only", "neck only"])
def test_the_limit_of_similarity_lies_between_aligned_and_astray(make_pose, make_grid, make_head, scene):
    # By the phantom's own truth: another head of 5 to 8 % other size, laid right, is above the
    # limit; the same head 20 mm off is below it.
    shape, centre = SCENES[scene]
    fixed, same, other = (
        make_body(coarsen(make_head(np.eye(4), on, seed, scale), 4.0, -1000.0, -1000.0), "ct", "head")
        for on, seed, scale in (
            (make_grid(), 1, (1.0, 1.0, 1.0)),
            (make_grid(shape, centre=centre), 2, (1.0, 1.0, 1.0)),
            (make_grid(shape, centre=centre), 3, (1.08, 0.94, 1.05)),
        )
    )
    limit = RegistrationSettings().min_similarity
    assert measure(fixed, same, np.eye(4)).similarity > 3 * limit
    assert measure(fixed, other, np.eye(4)).similarity > 1.3 * limit
    for shift in ((20, 0, 0), (0, 20, 0), (0, 0, 20)):
        assert measure(fixed, same, make_pose((0, 0, 0), shift)).similarity < limit


def test_a_poor_likeness_within_the_limits_is_told(write_head):
    # A head of 10 to 15 % other size: laid right by the phantom's truth its correlation is 0.13.
    lax = NAMED.model_copy(update={"min_similarity": 0.0, "starts": 1})
    out = run(write_head, "P", settings=lax, scale=(1.15, 0.9, 1.1))
    status = read_status(out)
    assert status.state == "warned" and "similarity to the template is 0." in status.problem


def test_what_is_not_alike_is_refused(write_head):
    body = make_body(coarse_volume(write_head("T") / "ct_hu.nii.gz", "ct", 8.0), "ct", "T")
    noise = np.random.default_rng(0).normal(0, 300, body.image.shape).astype(np.float32)
    with pytest.raises(RegistrationError, match="similarity is"):
        align(body, replace(body, image=noise), RegistrationSettings(template="T", starts=1))
