"""Crops: what they hold, and the way back to the scanner."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.crops.crop import crop_patient
from pipeline.errors import CropError, PipelineError
from pipeline.settings.geometry import CropSettings
from pipeline.store.crops import read_crop, read_status
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.volume import Volume

SMALL = {"shape": (24, 32, 32), "spacing_mm": (2.0, 1.5, 1.5)}


def test_identity_on_the_native_grid_gives_native_voxels(crop_of, grids):
    # CT: a crop whose voxels are the CT's; PET likewise.
    for kind, channel, file in (("ct", 1, "convert/P/ct_hu"), ("pet", 0, "suv/P/pet_suvbw")):
        grid = grids[kind]
        start, shape = (3, 4, 5), (12, 14, 16)
        centre = grid.points([s + (n - 1) / 2 for s, n in zip(start, shape, strict=True)])[0]
        settings = CropSettings(
            centre_mm=tuple(centre[::-1]), shape=shape, spacing_mm=grid.spacing_mm, on_cut_lesion="warn"
        )
        out, sources = crop_of(settings)
        native = read_nifti(sources.convert.parents[1] / f"{file}.nii.gz").array
        expected = native[tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]
        assert np.array_equal(read_crop(out).image[channel], expected.astype(np.float32))


def test_an_independent_resampling_agrees(crop_of, turned):
    # The whole path against SimpleITK's own resampling with the transform file.
    settings = CropSettings(centre_mm=(0.0, 2.0, -4.0), **SMALL)
    out, sources = crop_of(settings, matrix=turned)
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


def test_a_voxel_maps_back_to_the_scanner(crop_of, turned, lesion_mm):
    # Template point p lies at the patient's R p + t (by hand); the lesion's centroid found in
    # the crop maps back to where it was drawn.
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL)
    out, _ = crop_of(settings, matrix=turned)
    crop = read_crop(out)
    index = np.array([[5, 7, 9]])
    template_point = np.array([(9 - 15.5) * 1.5, (7 - 15.5) * 1.5, (5 - 11.5) * 2.0])
    expected = turned[:3, :3] @ template_point + turned[:3, 3]
    point = crop.attributes.scanner_points(index, crop.inside.shape)[0]
    assert point == pytest.approx(expected, abs=1e-6)
    centroid = crop.attributes.scanner_points(np.argwhere(crop.mask).mean(axis=0)[None], crop.inside.shape)[0]
    assert centroid == pytest.approx(lesion_mm, abs=0.3)


def test_landmarks_there_and_back(crop_of, turned):
    # Target: under 0.1 mm.
    out, _ = crop_of(CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), matrix=turned)
    crop = read_crop(out)
    index = np.random.default_rng(0).uniform(0, 20, (50, 3))
    scanner = crop.attributes.scanner_points(index, crop.inside.shape)
    inverse = np.linalg.inv(np.asarray(crop.attributes.transform))
    template = scanner @ inverse[:3, :3].T + inverse[:3, 3]
    back = crop.attributes.grid(crop.inside.shape).indices(template)
    gap = (back - index) * np.asarray(crop.attributes.spacing_mm)
    assert np.abs(gap).max() < 1e-6


def test_padding_is_air_and_not_inside(crop_of, grids):
    settings = CropSettings(centre_mm=(60.3, 0.0, 0.0), on_cut_lesion="warn", **SMALL)
    out, _ = crop_of(settings)
    crop = read_crop(out)
    assert 0 < crop.inside.mean() < 1
    z = np.arange(24) * 2.0 + 60.3 - 23.0
    beyond_ct, beyond_pet = z > 43.5 + 1.5, z > 46.0 + 2.0
    assert np.all(crop.image[1][beyond_ct] == -1024.0)
    assert np.all(crop.image[0][beyond_pet] == 0.0)
    assert not crop.inside[beyond_ct].any()
    assert crop.inside[~beyond_ct].all()


@pytest.mark.parametrize("rule", ["warn", "exclude", "stop"])
def test_a_lesion_cut_off(crop_of, rule):
    # The lesion's centre (z = 3, radius 9) lies on the crop's upper face: half is left.
    settings = CropSettings(centre_mm=(3.0 - 24.0, -8.0, 6.0), on_cut_lesion=rule, **SMALL)
    if rule == "stop":
        with pytest.raises(CropError, match=r"cuts the lesion off.*patient P"):
            crop_of(settings, policy="exclude")
        return
    out, _ = crop_of(settings, policy="stop")
    status = read_status(out)
    if rule == "exclude":
        assert (status.state, status.stage) == ("excluded", "crop")
        with pytest.raises(CropError, match="excluded patient has no crop"):
            read_crop(out)
        return
    assert status.state == "warned"
    assert "of the lesion" in status.problem
    assert read_crop(out).attributes.lesion_coverage == pytest.approx(0.5, abs=0.06)


def test_what_was_not_imaged_is_not_inside(crop_of, write_patient, grids):
    imaged = np.ones(grids["ct"].shape, np.uint8)
    imaged[:, :, :30] = 0  # x below 0 mm
    sources = write_patient()
    write_nifti(sources.convert / "ct_imaged.nii.gz", Volume(imaged, grids["ct"]))
    out, _ = crop_of(CropSettings(centre_mm=(0.0, 0.0, 0.0), on_cut_lesion="warn", **SMALL))
    x = (np.arange(32) - 15.5) * 1.5
    inside = read_crop(out).inside
    assert not inside[:, :, x < -0.6].any() and inside[:, :, x > 0.6].all()


def test_a_coarser_crop_is_filtered_first(crop_of, grids):
    # CT noise of SD 200 HU, 8 mm crop of 1.2 mm voxels: averaging leaves a small part of it;
    # picking interpolated voxels would leave 60 % and more.
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), shape=(6, 6, 6), spacing_mm=(8.0, 8.0, 8.0))
    out, _ = crop_of(settings)
    assert read_crop(out).image[1].std() < 0.2 * 200.0


def test_excluded_upstream(crop_of, write_patient, tmp_path):
    sources = write_patient("X")
    write_status(sources.contours, Status("excluded", "contours", "no ROI fits"))
    out = tmp_path / "X.zarr"
    crop_patient(sources, out, CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop", "ct")
    assert read_status(out) == Status("excluded", "contours", "no ROI fits")


def test_a_crop_beside_the_images_is_refused(crop_of):
    settings = CropSettings(centre_mm=(900.0, 0.0, 0.0), **SMALL)
    with pytest.raises(CropError, match="outside the images"):
        crop_of(settings, drawn_on=())
    out, _ = crop_of(settings, drawn_on=(), policy="exclude")
    assert read_status(out).state == "excluded"


def test_two_runs_write_the_same_bytes(crop_of, turned, tmp_path):
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL)
    out, sources = crop_of(settings, matrix=turned)
    again = tmp_path / "again" / "P.zarr"
    crop_patient(sources, again, settings, "stop", "ct")
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for file in files:
        assert (out / file).read_bytes() == (again / file).read_bytes(), file


def test_a_pet_of_its_own_frame_is_composed_in_the_one_interpolation(crop_of, turned, own_frame):
    # Template → scanner (CT) → PET, against SimpleITK with both transforms composed by itself.
    settings = CropSettings(centre_mm=(0.0, 2.0, -4.0), **SMALL)
    out, sources = crop_of(settings, matrix=turned, own=own_frame, drawn_on=("pet",), mask_from="pet")
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


def test_a_pet_that_was_not_registered_stops(crop_of, write_patient, tmp_path, own_frame):
    sources = write_patient("P", own=own_frame)
    (sources.registration / "pet_to_ct.mat").unlink()
    write_status(sources.registration, Status("ok", "register"))
    with pytest.raises(PipelineError, match="was not registered"):
        crop_patient(sources, tmp_path / "P.zarr", CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop")


def test_the_unit_is_that_of_the_suv(write_patient, tmp_path):
    # SUV by body surface: kBq/mL per kBq/m² is cm²/mL, not g/mL.
    sources = write_patient()
    weight = sources.suv / "pet_suvbw.nii.gz"
    weight.rename(weight.with_name("pet_suvbsa.nii.gz"))
    write_status(sources.suv, Status("ok", "suv"))
    out = tmp_path / "P.zarr"
    crop_patient(sources, out, CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop", "ct")
    assert read_crop(out).attributes.units == ("cm2/mL", "HU")


def test_a_patient_without_ct_is_refused(write_patient, tmp_path):
    sources = write_patient()
    (sources.convert / "ct_hu.nii.gz").unlink()
    write_status(sources.convert, Status("ok", "convert"))
    with pytest.raises(PipelineError, match="the patient has no CT"):
        crop_patient(
            sources, tmp_path / "P.zarr", CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), "stop", "ct"
        )
