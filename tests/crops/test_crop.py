"""Crops: where they lie, what they hold, and the way back to the scanner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.crops.crop import crop_patient
from pipeline.errors import CropError, PipelineError, SettingsError
from pipeline.settings.geometry import CropSettings
from pipeline.store.crops import read_crop, read_status
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.resample import Sampling, resample
from pipeline.volumes.volume import Volume

SMALL = {"shape": (24, 32, 32), "spacing_mm": (2.0, 1.5, 1.5)}


@pytest.fixture
def cut(write_patient, tmp_path):
    """Write a patient, crop him, and return what was stored and the sources."""

    def run(settings: CropSettings, *, policy="stop", mask_from="ct", contours=True, **patient):
        sources = write_patient(**patient)
        if not contours:
            sources = replace(sources, contours=None)
        out = tmp_path / "crops" / f"{sources.patient_id}.zarr"
        crop_patient(sources, out, settings, policy, mask_from)
        return out, sources

    return run


def test_identity_on_the_native_grid_gives_native_voxels(cut, grids):
    # CT: a crop whose voxels are the CT's; PET likewise.
    for kind, channel, file in (("ct", 1, "convert/P/ct_hu"), ("pet", 0, "suv/P/pet_suvbw")):
        grid = grids[kind]
        start, shape = (3, 4, 5), (12, 14, 16)
        centre = grid.points([s + (n - 1) / 2 for s, n in zip(start, shape, strict=True)])[0]
        settings = CropSettings(
            centre_mm=tuple(centre[::-1]), shape=shape, spacing_mm=grid.spacing_mm, on_cut_lesion="warn"
        )
        out, sources = cut(settings)
        native = read_nifti(sources.convert.parents[1] / f"{file}.nii.gz").array
        expected = native[tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]
        assert np.array_equal(read_crop(out).image[channel], expected.astype(np.float32))


def test_an_independent_resampling_agrees(cut, turned):
    # The whole path against SimpleITK's own resampling with the transform file.
    settings = CropSettings(centre_mm=(0.0, 2.0, -4.0), **SMALL)
    out, sources = cut(settings, matrix=turned)
    crop = read_crop(out)
    grid = sitk.Image(32, 32, 24, sitk.sitkFloat32)
    grid.SetSpacing((1.5, 1.5, 2.0))
    grid.SetOrigin((-4.0 - 15.5 * 1.5, 2.0 - 15.5 * 1.5, 0.0 - 11.5 * 2.0))
    transform = sitk.ReadTransform(str(sources.registration / "to_template.mat"))
    ct = sitk.Cast(sitk.ReadImage(str(sources.convert / "ct_hu.nii.gz")), sitk.sitkFloat32)
    expected = sitk.GetArrayFromImage(sitk.Resample(ct, grid, transform, sitk.sitkLinear, -1024.0))
    assert crop.image[1] == pytest.approx(np.maximum(expected, -1024.0), abs=0.02)
    assert crop.attributes.channels == ("pet", "ct")
    assert crop.attributes.units == ("g/mL", "HU")


def test_a_voxel_maps_back_to_the_scanner(cut, turned, lesion_mm):
    # Template point p lies at the patient's R p + t (by hand); the lesion's centroid found in
    # the crop maps back to where it was drawn.
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL)
    out, _ = cut(settings, matrix=turned)
    crop = read_crop(out)
    index = np.array([[5, 7, 9]])
    template_point = np.array([(9 - 15.5) * 1.5, (7 - 15.5) * 1.5, (5 - 11.5) * 2.0])
    expected = turned[:3, :3] @ template_point + turned[:3, 3]
    found = crop.attributes.scanner_points(index, crop.inside.shape)[0]
    assert found == pytest.approx(expected, abs=1e-6)
    centroid = crop.attributes.scanner_points(np.argwhere(crop.mask).mean(axis=0)[None], crop.inside.shape)[0]
    assert centroid == pytest.approx(lesion_mm, abs=0.3)


def test_landmarks_there_and_back(cut, turned):
    # Target: under 0.1 mm.
    out, _ = cut(CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), matrix=turned)
    crop = read_crop(out)
    index = np.random.default_rng(0).uniform(0, 20, (50, 3))
    scanner = crop.attributes.scanner_points(index, crop.inside.shape)
    inverse = np.linalg.inv(np.asarray(crop.attributes.transform))
    template = scanner @ inverse[:3, :3].T + inverse[:3, 3]
    back = crop.attributes.grid(crop.inside.shape).indices(template)
    gap = (back - index) * np.asarray(crop.attributes.spacing_mm)
    assert np.abs(gap).max() < 1e-6


def test_padding_is_air_and_not_inside(cut, grids):
    settings = CropSettings(centre_mm=(60.3, 0.0, 0.0), on_cut_lesion="warn", **SMALL)
    out, _ = cut(settings)
    crop = read_crop(out)
    assert 0 < crop.inside.mean() < 1
    z = np.arange(24) * 2.0 + 60.3 - 23.0
    beyond_ct, beyond_pet = z > 43.5 + 1.5, z > 46.0 + 2.0
    assert np.all(crop.image[1][beyond_ct] == -1024.0)
    assert np.all(crop.image[0][beyond_pet] == 0.0)
    assert not crop.inside[beyond_ct].any()
    assert crop.inside[~beyond_ct].all()


def test_what_was_not_imaged_is_not_inside(cut, write_patient, grids):
    imaged = np.ones(grids["ct"].shape, np.uint8)
    imaged[:, :, :30] = 0  # x below 0 mm
    sources = write_patient()
    write_nifti(sources.convert / "ct_imaged.nii.gz", Volume(imaged, grids["ct"]))
    out, _ = cut(CropSettings(centre_mm=(0.0, 0.0, 0.0), on_cut_lesion="warn", **SMALL))
    x = (np.arange(32) - 15.5) * 1.5
    inside = read_crop(out).inside
    assert not inside[:, :, x < -0.6].any() and inside[:, :, x > 0.6].all()


def test_a_margin_surrounds_the_same_crop(cut):
    plain, _ = cut(CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL))
    inner = read_crop(plain)
    out, _ = cut(CropSettings(centre_mm=(0.0, 0.0, 0.0), margin=3, **SMALL))
    outer = read_crop(out)
    assert outer.image.shape == (2, 30, 38, 38)
    assert outer.image[:, 3:-3, 3:-3, 3:-3] == pytest.approx(inner.image, abs=1e-3)
    assert outer.attributes.margin == 3
    assert outer.attributes.lesion_coverage == inner.attributes.lesion_coverage


def test_a_crop_at_the_lesion_needs_no_registration(cut, lesion_mm, tmp_path):
    settings = CropSettings(position="lesion", **SMALL)
    out, _ = cut(settings)
    crop = read_crop(out)
    assert crop.attributes.scanner_points([[11.5, 15.5, 15.5]], crop.inside.shape)[0] == pytest.approx(
        lesion_mm, abs=0.5
    )
    assert crop.attributes.lesion_coverage == 1.0
    volume = crop.mask.sum() * 2.0 * 1.5 * 1.5 / 1000
    assert volume == pytest.approx(crop.attributes.lesion_ml, rel=0.02)
    with pytest.raises(CropError, match="needs a contour"):
        cut(settings, contours=False)


def test_no_contour_gives_no_mask(cut):
    out, _ = cut(CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), drawn_on=())
    crop = read_crop(out)
    assert crop.mask is None
    assert (crop.attributes.contour, crop.attributes.lesion_coverage) == ("none", None)


def test_the_other_contour_is_used_and_told(cut):
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL)
    out, _ = cut(settings, drawn_on=("pet",), contour="drawn")
    crop = read_crop(out)
    assert (crop.attributes.mask_from, crop.attributes.contour) == ("pet", "drawn")
    assert read_status(out).state == "warned"
    assert "drawn on PET" in read_status(out).problem
    both, _ = cut(settings, name="Q", drawn_on=("ct", "pet"), mask_from="pet")
    assert read_crop(both).attributes.mask_from == "pet"
    assert read_status(both).state == "ok"


@pytest.mark.parametrize("rule", ["warn", "exclude", "stop"])
def test_a_lesion_cut_off(cut, rule):
    # The lesion's centre (z = 3, radius 9) lies on the crop's upper face: half is left.
    settings = CropSettings(centre_mm=(3.0 - 24.0, -8.0, 6.0), on_cut_lesion=rule, **SMALL)
    if rule == "stop":
        with pytest.raises(CropError, match=r"cuts the lesion off.*patient P"):
            cut(settings, policy="exclude")
        return
    out, _ = cut(settings, policy="stop")
    status = read_status(out)
    if rule == "exclude":
        assert (status.state, status.stage) == ("excluded", "crop")
        with pytest.raises(CropError, match="excluded patient has no crop"):
            read_crop(out)
        return
    assert status.state == "warned"
    assert "of the lesion" in status.problem
    assert read_crop(out).attributes.lesion_coverage == pytest.approx(0.5, abs=0.06)


def test_coverage_follows_the_registration(cut, lesion_mm):
    # Template points lie 30 mm further in x in the patient: a crop at the lesion's place minus
    # 30 mm holds all of it, one at its scanner coordinates nothing (half its width 18 mm).
    moved = np.eye(4)
    moved[0, 3] = 30.0
    for shift, expected in ((-30.0, 1.0), (0.0, 0.0)):
        centre = tuple((lesion_mm + np.array([shift, 0.0, 0.0]))[::-1])
        settings = CropSettings(centre_mm=centre, shape=(24, 24, 24), spacing_mm=(1.5, 1.5, 1.5))
        out, _ = cut(settings, matrix=moved)
        crop = read_crop(out)
        assert crop.attributes.lesion_coverage == expected
        assert bool(crop.mask.any()) == (expected == 1.0)


def test_boxes(cut, tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("patient_id,x1,x2,y1,y2,z1,z2\nP,-20,28,-30,18,-20,28\nQ,0,0,1,2,3,4\n")
    settings = CropSettings(position="box", boxes=str(table), **SMALL)
    out, _ = cut(settings)
    crop = read_crop(out)
    # middle of the box (4, -6, 4); voxel centres half a voxel within its faces
    assert crop.attributes.origin_mm == pytest.approx((-20 + 0.75, -30 + 0.75, -20 + 1.0))
    with pytest.raises(CropError, match="second corner"):
        cut(settings, name="Q")
    with pytest.raises(CropError, match="one row per patient"):
        cut(settings, name="R")
    table.write_text("patient_id,x1\nP,1\n")
    with pytest.raises(SettingsError, match="lacks columns"):
        cut(settings)


def test_below_the_brain_without_contour(cut):
    # A hot ball of 24 mm at z = 30: its lowest smoothed voxel lies near z = 30 - 22; the rule
    # puts the crop's upper edge 30 mm above that and its middle 30 mm before the ball.
    settings = CropSettings(position="brain_anchored", shape=(20, 16, 16), spacing_mm=(2.0, 2.0, 2.0))
    out, _ = cut(settings, brain=((0.0, 20.0, 24.0), 20.0), contours=False)
    crop = read_crop(out)
    middle = crop.attributes.scanner_points([[9.5, 7.5, 7.5]], crop.inside.shape)[0]
    top = crop.attributes.scanner_points([[19.5, 7.5, 7.5]], crop.inside.shape)[0][2]
    assert middle[:2] == pytest.approx((0.0, 20.0 - 30.0), abs=2.5)
    assert top == pytest.approx(24.0 - 20.0 + 30.0, abs=4.0)
    with pytest.raises(CropError, match="no brain"):
        cut(settings, name="Q", contours=False)


def test_a_coarser_crop_is_filtered_first(cut, grids):
    # CT noise of SD 200 HU, 8 mm crop of 1.2 mm voxels: averaging leaves a small part of it;
    # picking interpolated voxels would leave 60 % and more.
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), shape=(6, 6, 6), spacing_mm=(8.0, 8.0, 8.0))
    out, _ = cut(settings)
    assert read_crop(out).image[1].std() < 0.2 * 200.0


def test_bspline_is_exact_at_voxel_centres(cut, grids):
    source = read_nifti(cut(CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL))[1].suv / "pet_suvbw.nii.gz")
    shifted = np.eye(4)
    shifted[0, 3] = 4.006  # more than the tolerance that takes grids for aligned
    values = resample(source, source.grid, shifted, Sampling("bspline"))
    assert values[:, :, :-2] == pytest.approx(source.array[:, :, 1:-1], abs=0.02)


def test_excluded_upstream(cut, write_patient, tmp_path):
    sources = write_patient("X")
    write_status(sources.contours, Status("excluded", "contours", "no ROI fits"))
    out = tmp_path / "X.zarr"
    crop_patient(sources, out, CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop", "ct")
    assert read_status(out) == Status("excluded", "contours", "no ROI fits")


def test_a_crop_beside_the_images_is_refused(cut):
    settings = CropSettings(centre_mm=(900.0, 0.0, 0.0), **SMALL)
    with pytest.raises(CropError, match="outside the images"):
        cut(settings, drawn_on=())
    out, _ = cut(settings, drawn_on=(), policy="exclude")
    assert read_status(out).state == "excluded"


def test_two_runs_write_the_same_bytes(cut, turned, tmp_path):
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL)
    out, sources = cut(settings, matrix=turned)
    again = tmp_path / "again" / "P.zarr"
    crop_patient(sources, again, settings, "stop", "ct")
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for file in files:
        assert (out / file).read_bytes() == (again / file).read_bytes(), file


def test_a_pet_of_its_own_frame_is_composed_in_the_one_interpolation(cut, turned, own_frame):
    # Template → scanner (CT) → PET, against SimpleITK with both transforms composed by itself.
    settings = CropSettings(centre_mm=(0.0, 2.0, -4.0), **SMALL)
    out, sources = cut(settings, matrix=turned, own=own_frame, drawn_on=("pet",), mask_from="pet")
    crop = read_crop(out)
    grid = sitk.Image(32, 32, 24, sitk.sitkFloat32)
    grid.SetSpacing((1.5, 1.5, 2.0))
    grid.SetOrigin((-4.0 - 15.5 * 1.5, 2.0 - 15.5 * 1.5, 0.0 - 11.5 * 2.0))
    both = sitk.CompositeTransform(
        [
            sitk.ReadTransform(str(sources.registration / "pet_to_ct.mat")),
            sitk.ReadTransform(str(sources.registration / "to_template.mat")),
        ]
    )
    pet = sitk.ReadImage(str(sources.suv / "pet_suvbw.nii.gz"))
    expected = sitk.GetArrayFromImage(sitk.Resample(pet, grid, both, sitk.sitkLinear, 0.0))
    assert crop.image[0] == pytest.approx(expected, abs=1e-3)
    # and the way back: a voxel's place in the PET's own coordinates
    assert np.asarray(crop.attributes.pet_transform) == pytest.approx(own_frame @ turned)


@pytest.mark.parametrize("position", ["fixed", "lesion"])
def test_a_contour_of_such_a_pet_lies_where_the_lesion_is(cut, lesion_mm, own_frame, position):
    # The lesion's place in the scanner's (CT's) coordinates is known; it was drawn on the PET.
    settings = CropSettings(position=position, centre_mm=(3.0, -8.0, 6.0), **SMALL)
    out, sources = cut(settings, own=own_frame, drawn_on=("pet",), mask_from="pet")
    crop = read_crop(out)
    drawn = read_nifti(sources.contours / "gtv_pet.nii.gz")
    in_pet = np.append(drawn.grid.points(np.argwhere(drawn.array)).mean(axis=0), 1.0)
    assert (np.linalg.inv(own_frame) @ in_pet)[:3] == pytest.approx(lesion_mm, abs=1.0)
    centroid = crop.attributes.scanner_points(np.argwhere(crop.mask).mean(axis=0)[None], crop.mask.shape)[0]
    assert centroid == pytest.approx((np.linalg.inv(own_frame) @ in_pet)[:3], abs=0.2)
    assert crop.attributes.lesion_coverage == 1.0


def test_below_the_brain_in_a_pet_of_its_own_frame(cut, own_frame):
    # The crop is placed in the PET's coordinates; its CT is read through the inverse.
    settings = CropSettings(position="brain_anchored", shape=(20, 16, 16), spacing_mm=(2.0, 2.0, 2.0))
    out, _ = cut(settings, brain=((0.0, 20.0, 24.0), 20.0), contours=False, own=own_frame)
    about = read_crop(out).attributes
    assert np.asarray(about.transform) == pytest.approx(np.linalg.inv(own_frame))
    assert np.asarray(about.pet_transform) == pytest.approx(np.eye(4), abs=1e-9)


def test_a_pet_that_was_not_registered_stops(cut, write_patient, tmp_path, own_frame):
    sources = write_patient("P", own=own_frame)
    (sources.registration / "pet_to_ct.mat").unlink()
    with pytest.raises(PipelineError, match="was not registered"):
        crop_patient(sources, tmp_path / "P.zarr", CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop")


def test_the_unit_is_that_of_the_suv(write_patient, tmp_path):
    # SUV by body surface: kBq/mL per kBq/m² is cm²/mL, not g/mL.
    sources = write_patient()
    weight = sources.suv / "pet_suvbw.nii.gz"
    weight.rename(weight.with_name("pet_suvbsa.nii.gz"))
    out = tmp_path / "P.zarr"
    crop_patient(sources, out, CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop", "ct")
    assert read_crop(out).attributes.units == ("cm2/mL", "HU")


def test_a_patient_without_ct_is_told(write_patient, tmp_path):
    sources = write_patient()
    (sources.convert / "ct_hu.nii.gz").unlink()
    with pytest.raises(PipelineError, match="the patient has no CT"):
        crop_patient(
            sources, tmp_path / "P.zarr", CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop", "ct"
        )
