"""Voxels that are no image, (0028,0120) and (0028,0121): air or 0, and said to be so."""

import json

import numpy as np
import pytest

from pipeline.settings.dicom import IndexSettings
from pipeline.volumes.nifti import read_nifti
from tests.dicom.volume.convert_helpers import convert, ct_of
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series

CIRCLE = np.hypot(*np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 10))) > 1.1


def padded_ct(tmp_path, values, edit, **recipe):
    folder = write_series(tmp_path / "in", values, Recipe(**recipe), edit)
    out = convert(folder, tmp_path)
    return out, ct_of(out)


@pytest.mark.parametrize("padding", [-2000, -32768])
@pytest.mark.parametrize("written", ["as it is", "without its sign"])
def test_ct_padding_becomes_air(tmp_path, padding, written):
    values = voxels().astype(np.int16)
    values[:, CIRCLE] = padding

    def edit(ds, _):
        unsigned = written == "without its sign"
        ds.add_new(0x00280120, *(("US", padding + 65536) if unsigned else ("SS", padding)))

    out, ct = padded_ct(tmp_path, values, edit)
    truth = voxels().astype(int) - 1024
    truth[:, CIRCLE] = -1024
    assert ct.array.dtype == np.int16 and np.array_equal(ct.array, truth)
    imaged = read_nifti(out / "ct_imaged.nii.gz")
    assert np.array_equal(imaged.array, np.broadcast_to(~CIRCLE, truth.shape)) and imaged.grid.matches(
        ct.grid
    )
    assert json.loads((out / "ct.json").read_text())["padding_voxels"] == 12 * CIRCLE.sum()


def test_a_range_of_padding(tmp_path):
    values = voxels().astype(np.int16)
    values[:, CIRCLE] = np.linspace(-3000, -2000, CIRCLE.sum()).astype(np.int16)

    def edit(ds, _):
        ds.add_new(0x00280120, "SS", -2000)
        ds.add_new(0x00280121, "SS", -3000)

    _, ct = padded_ct(tmp_path, values, edit)
    assert (ct.array[:, CIRCLE] == -1024).all() and ct.array.min() == -1024


def test_without_padding_there_is_no_mask(tmp_path):
    out, _ = padded_ct(tmp_path, voxels(), lambda ds, n: ds.add_new(0x00280120, "US", 63536))
    assert not (out / "ct_imaged.nii.gz").exists()
    assert json.loads((out / "ct.json").read_text())["padding_voxels"] == 0


def test_a_value_of_tissue_that_a_program_calls_padding_stays(tmp_path):
    # Signed Hounsfield units without intercept, (0028,0120) 0: water would become air.
    values = (voxels().astype(int) - 1024).astype(np.int16)
    values[:, 4:7, 3:6] = 0

    def edit(ds, _):
        ds.add_new(0x00280120, "SS", 0)

    _, ct = padded_ct(tmp_path, values, edit, intercept=0.0)
    assert np.array_equal(ct.array, values)


def test_pet_padding_becomes_zero(tmp_path):
    circle = np.zeros((7, 6), bool)
    circle[[0, 0, -1, -1], [0, -1, 0, -1]] = True

    def edit(ds, number):
        stored = voxels((9, 7, 6), seed=4)[number]
        stored[circle] = 32767
        ds.PixelData = stored.tobytes()
        ds.add_new(0x00280120, "US", 32767)

    out = convert(write_pair(tmp_path / "in", pet_edit=edit), tmp_path, IndexSettings())
    pet = read_nifti(out / "pet_stored.nii.gz").array
    truth = voxels((9, 7, 6), seed=4) * 2.5
    truth[:, circle] = 0
    np.testing.assert_allclose(pet, truth, rtol=1e-6)
    assert (read_nifti(out / "pet_imaged.nii.gz").array == 0).sum() == 36


def test_the_hottest_voxel_of_a_scaled_slice_is_no_padding(tmp_path):
    def edit(ds, number):
        stored = voxels((9, 7, 6), seed=4)[number]
        stored[3, 3] = 32767
        ds.PixelData = stored.tobytes()
        ds.add_new(0x00280120, "US", 32767)

    out = convert(write_pair(tmp_path / "in", pet_edit=edit), tmp_path, IndexSettings())
    assert (read_nifti(out / "pet_stored.nii.gz").array[:, 3, 3] == 32767 * 2.5).all()


def test_water_within_the_body_is_no_padding_where_the_corners_hold_its_value(tmp_path):
    values = (voxels().astype(int) % 900 + 1).astype(np.int16)
    values[:, :3] -= 1000
    values[:, CIRCLE], values[:, 4:7, 3:6] = 0, 0

    def edit(ds, _):
        ds.add_new(0x00280120, "SS", 0)

    _, ct = padded_ct(tmp_path, values, edit, intercept=0.0)
    assert (ct.array[:, 4:7, 3:6] == 0).all() and (ct.array[:, CIRCLE] == -1024).all()
