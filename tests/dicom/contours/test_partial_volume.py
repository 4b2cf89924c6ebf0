"""Shares of voxels: the volume of the contours, where whole voxels lose some of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.dicom.contours.rasterise import rasterise
from pipeline.errors import ContourError, GeometryError
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import (
    LESION,
    PET,
    PET_GRID,
    RoiSpec,
    fractional_seg,
    patient,
    rtstruct,
    run,
    square,
)


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


def occupancies():
    """A PET's stored occupancies (maximum 200): 9 full voxels, and a rim of 10 voxels that are 40 % full."""
    stored = np.zeros(PET_GRID.shape, np.uint8)
    stored[4, 3:6, 3:6] = 200
    stored[4, 2, 2:7], stored[5, 6, 2:7] = 80, 80
    return stored


def test_occupancies_of_a_segment_are_its_shares(tmp_path):
    """PS3.3 C.8.20.2.3: (9 + 10 × 0.4) voxels of 4 × 4 × 3 mm are 0.624 mL; the mask's 9 are 0.432, 30.8 % less."""
    seg = fractional_seg(tmp_path / "s.dcm", occupancies(), "OCCUPANCY", 200)
    source = patient(tmp_path, segs=[seg])
    report = run(source, tmp_path / "out", partial_volume=True)
    pet = report["masks"]["pet"]
    assert pet["volume_share_ml"] == pytest.approx(0.624, abs=1e-4) and pet["volume_mask_ml"] == 0.432
    shares = read_nifti(tmp_path / "out" / pet["share_file"]).array
    assert np.allclose(shares, occupancies() / 200, atol=1e-6)
    plain = run(source, tmp_path / "plain")
    (roi,) = plain["masks"]["pet"]["rois"]
    assert (roi["volume_occupancy_ml"], roi["mask_to_occupancy_percent"]) == (0.624, -30.77)
    assert any("-30.8 % from the 0.624 mL of its occupancies" in text for text in plain["warnings"])
    assert "share_file" not in plain["masks"]["pet"]


def test_occupancies_that_the_mask_fits_are_not_told(tmp_path):
    """Rims of 40 and 60 % of as many voxels: (9 + 5 × 0.6 + 5 × 0.4) = 14 voxels, and 14 in the mask."""
    stored = occupancies()
    stored[4, 2, 2:7] = 120
    report = run(
        patient(tmp_path, segs=[fractional_seg(tmp_path / "s.dcm", stored, "OCCUPANCY", 200)]),
        tmp_path / "out",
    )
    assert report["masks"]["pet"]["rois"][0]["mask_to_occupancy_percent"] == 0
    assert not any("occupancies" in text for text in report["warnings"])


def test_a_probability_has_no_partial_volume(tmp_path):
    seg = fractional_seg(tmp_path / "s.dcm", occupancies(), "PROBABILITY", 200)
    report = run(patient(tmp_path, segs=[seg]), tmp_path / "out", partial_volume=True)
    pet = report["masks"]["pet"]
    assert pet["volume_share_ml"] == pet["volume_mask_ml"] == 0.432
    assert "volume_occupancy_ml" not in pet["rois"][0]
    assert not any("occupancies" in text for text in report["warnings"])


def test_occupancies_above_the_whole_or_outside_the_image_are_refused(tmp_path):
    above = fractional_seg(tmp_path / "s.dcm", occupancies(), "OCCUPANCY", 100)
    with pytest.raises(ContourError, match=r"more than the whole.*at most 100.*200"):
        run(patient(tmp_path, segs=[above]), tmp_path / "out")
    wide = np.pad(occupancies(), ((0, 1), (0, 0), (0, 0)))
    wide[-1, 3, 3] = 80  # 40 % of a voxel beyond the last slice
    outside = fractional_seg(tmp_path / "b" / "t.dcm", wide, "OCCUPANCY", 200)
    with pytest.raises(GeometryError, match="beyond its image"):
        run(patient(tmp_path / "b", segs=[outside]), tmp_path / "out")
