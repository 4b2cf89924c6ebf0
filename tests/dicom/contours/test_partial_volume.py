"""Shares of voxels: the volume of the contours, where whole voxels lose some of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.dicom.contours.rasterise import rasterise
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import LESION, PET, RoiSpec, patient, rtstruct, run, square


def test_a_thin_cylinder_on_large_voxels_keeps_its_volume():
    """Radius 8 mm on voxels of 5.5 mm, 10 slices of 3.3 mm: 6.635 mL; the mask is off by several percent."""
    grid = Grid((10, 20, 20), (3.3, 5.5, 5.5), (0.0, 0.0, 0.0))
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    rings = [
        np.stack([51.3 + 8 * np.cos(angle), 52.1 + 8 * np.sin(angle), np.full(720, 3.3 * n)], 1)
        for n in range(10)
    ]
    rasterised = rasterise(rings, grid, 15)
    truth = np.pi * 64 * 33 / 1000
    shares = rasterised.shares.whole(grid.shape)
    assert shares.sum() * grid.voxel_ml() == pytest.approx(truth, rel=0.003)
    assert abs(rasterised.mask.sum() * grid.voxel_ml() / truth - 1) > 0.02
    assert ((shares > 0.5 + 1e-5) <= rasterised.mask).all() and shares.max() <= 1


def test_the_stage_writes_them_on_request(tmp_path):
    """6.0 × 6.4 mm on PET voxels of 4 mm: 1.5 × 1.6 = 2.4 voxels a slice, 3 slices of 3 mm."""
    lesion = [square(-8.5, -2.5, z, -18.5, -12.1) for z in (109.0, 112.0, 115.0)]
    source = patient(tmp_path, [rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", lesion)], (PET,))])
    report = run(source, tmp_path / "out", partial_volume=True)["masks"]["pet"]
    assert report["volume_share_ml"] == pytest.approx(38.4 * 9 / 1000)
    assert report["volume_mask_ml"] != pytest.approx(38.4 * 9 / 1000, rel=0.05)
    assert read_nifti(tmp_path / "out" / report["share_file"]).array.sum() == pytest.approx(2.4 * 3, rel=1e-5)
    assert not list((tmp_path / "out").glob("*ct*"))


def test_rois_that_overlap_count_once(tmp_path):
    source = patient(
        tmp_path, [rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION), RoiSpec("GTV 2", LESION)])]
    )
    report = run(source, tmp_path / "out", partial_volume=True)["masks"]["ct"]
    assert report["volume_share_ml"] == pytest.approx(0.9)


def test_margins_and_shares_exclude_each_other():
    with pytest.raises(ValidationError, match="partial_volume"):
        ContourSettings(partial_volume=True, margin_mm=3)
