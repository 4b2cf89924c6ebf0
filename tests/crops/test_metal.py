"""Metal in the crop: counted on the CT's own voxels, within the crop alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.crops.crop import crop_patient
from pipeline.crops.metal import metal_ml, metal_warning
from pipeline.settings.geometry import CropSettings
from pipeline.store.crops import read_status
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.volume import Grid, Volume

CT = Grid((20, 40, 40), (3.0, 1.0, 1.0), (-20.0, -20.0, -30.0))
CROP = Grid((5, 5, 5), (4.0, 4.0, 4.0), (-8.0, -8.0, -8.0))


def test_voxels_within_the_outer_edges_count():
    array = np.full(CT.shape, 40, np.int16)
    array[10, 20, 20:26] = 3071  # x 0 … 5 mm: inside
    array[10, 20, 30:33] = 3071  # x 10 … 12 mm: the crop ends at 10
    array[10, 5, 20] = 2999
    # By hand: 6 + 1 voxels of 3 mm³.
    assert metal_ml(Volume(array, CT), CROP, np.eye(4), 3000.0) == pytest.approx(7 * 0.003)


def test_a_turned_crop_takes_what_lies_in_it():
    array = np.full(CT.shape, 40, np.int16)
    array[10, 20, 29] = 3071  # (9, 0, 0) mm
    quarter = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    moved = quarter.copy()
    moved[:3, 3] = (20.0, 0.0, 0.0)
    assert metal_ml(Volume(array, CT), CROP, quarter, 3000.0) == pytest.approx(0.003)
    assert metal_ml(Volume(array, CT), CROP, moved, 3000.0) == 0.0


def test_only_more_than_the_limit_is_told():
    settings = CropSettings()
    assert metal_warning(0.05, settings) == ""
    assert metal_warning(0.06, settings).startswith("0.06 mL of the crop's CT lie at 3000 HU and above")


def test_the_stage_warns_of_a_filling(write_patient, tmp_path):
    settings = CropSettings(shape=(12, 16, 16), spacing_mm=(3.0, 3.0, 3.0), centre_mm=(0.0, 0.0, 0.0))
    sources = write_patient()
    path = sources.convert / "ct_hu.nii.gz"
    ct = read_nifti(path, "ct_hu")
    crop_patient(sources, tmp_path / "clean.zarr", settings, "stop")
    ct.array[14:16, 28:32, 28:32] = 3071
    write_nifti(path, ct)
    write_status(sources.convert, Status("ok", "convert"))
    crop_patient(sources, tmp_path / "metal.zarr", settings, "stop")
    assert read_status(tmp_path / "clean.zarr").state == "ok"
    problem = read_status(tmp_path / "metal.zarr").problem
    # By hand: 2 × 4 × 4 voxels of 3 × 1.2 × 1.2 mm.
    assert problem.startswith("0.14 mL of the crop's CT lie at 3000 HU")
