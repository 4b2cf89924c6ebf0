"""Which contours become which mask, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Status, read_status, write_status
from tests.dicom.contours.contour_helpers import (
    CT,
    CT_GRID,
    LESION,
    PET,
    PET_GRID,
    RoiSpec,
    masks,
    patient,
    refused,
    rtstruct,
    run,
    square,
    with_roi,
    write_mask,
)


def test_each_contour_goes_to_the_image_it_was_drawn_on(tmp_path):
    ct = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV_CT", LESION)], (CT,))
    pet = rtstruct(tmp_path / "b.dcm", [RoiSpec("gtv_pet", LESION)], (PET,))
    report = run(patient(tmp_path, [ct, pet]), tmp_path / "out")
    volumes = masks(tmp_path / "out")
    assert list(volumes) == ["gtv_ct.nii.gz", "gtv_pet.nii.gz"]
    assert volumes["gtv_ct.nii.gz"].grid.matches(CT_GRID) and volumes["gtv_pet.nii.gz"].grid.matches(PET_GRID)
    assert volumes["gtv_ct.nii.gz"].array.dtype == np.uint8
    assert volumes["gtv_ct.nii.gz"].array.sum(axis=(1, 2)).tolist() == [0, 0, 0, 100, 100, 100, 0, 0, 0, 0]
    assert report["contour"] == "manual"
    # 10 × 10 mm on 4 mm voxels: two of them by more than half, so that 8 × 8 of 10 × 10 mm remain.
    assert len(report["warnings"]) == 1 and "-36.0 %" in report["warnings"][0]
    assert report["masks"]["pet"]["rois"][0]["mask_to_polygons_percent"] == -36.0
    assert report["masks"]["ct"]["rois"][0]["mask_to_polygons_percent"] == 0.0
    roi = report["masks"]["ct"]["rois"][0]
    assert roi["name"] == "GTV_CT" and roi["matched_by"] == "referenced series"
    assert roi["volume_polygons_ml"] == pytest.approx(0.9) and roi["volume_mask_ml"] == pytest.approx(0.9)
    assert read_status(tmp_path / "out").state == "warned"


def test_rois_that_fit_are_united_and_written_singly_on_request(tmp_path):
    other = [square(6.5, 8.5, 109.0, -14.5, -12.5)]
    path = rtstruct(
        tmp_path / "a.dcm", [RoiSpec("GTVp", LESION), RoiSpec("GTVn", other), RoiSpec("PTV", LESION)]
    )
    sources = patient(tmp_path, [path])
    run(sources, tmp_path / "united")
    assert list(masks(tmp_path / "united")) == ["gtv_ct.nii.gz"]
    report = run(sources, tmp_path / "apart", keep_rois=True)
    voxels = {name: int(volume.array.sum()) for name, volume in masks(tmp_path / "apart").items()}
    assert voxels == {"gtv_ct.nii.gz": 304, "roi_ct_1.nii.gz": 300, "roi_ct_2.nii.gz": 4}
    assert [roi["name"] for roi in report["masks"]["ct"]["rois"]] == ["GTVp", "GTVn"]


def test_the_tables_patterns_come_before_the_studys(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTVp", LESION), RoiSpec("Lesion 2", LESION[:1])])
    sources = patient(tmp_path, [path])
    report = run(
        ContourSources("P1", sources.index, sources.convert, sources.suv, "lesion*; nothing"), tmp_path / "o"
    )
    assert [roi["name"] for roi in report["masks"]["ct"]["rois"]] == ["Lesion 2"]


def test_no_fitting_name_lists_the_names_there_are(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("Tumour", LESION), RoiSpec("Heart", LESION)])
    message = refused(tmp_path, patient(tmp_path, [path]), "no ROI has a name")
    assert "'Heart', 'Tumour'" in message and "GTV*" in message and "patient P1" in message
    assert not (tmp_path / "out").exists()


def test_without_contour_a_patient_stays_where_none_is_required(tmp_path):
    report = run(patient(tmp_path), tmp_path / "out", required=False)
    assert report["contour"] == "none" and report["masks"] == {}
    status = read_status(tmp_path / "out")
    assert status.state == "warned" and "no RTSTRUCT" in status.problem
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_the_policy_excludes(tmp_path):
    contours_patient(patient(tmp_path), tmp_path / "out", ContourSettings(), "exclude")
    status = read_status(tmp_path / "out")
    assert (status.state, status.stage) == ("excluded", "contours")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["status.json"]


def test_a_patient_excluded_before_is_passed_on(tmp_path):
    sources = patient(tmp_path)
    write_status(sources.suv, Status("excluded", "suv", "no weight", "out"))
    contours_patient(sources, tmp_path / "out", ContourSettings(), "stop")
    assert read_status(tmp_path / "out") == Status("excluded", "suv", "no weight", "out")


def test_a_lesion_smaller_than_a_voxel_is_refused_not_empty(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", [square(0.0, 1.0, 109.0, -14.0, -13.0)])], (PET,))
    refused(tmp_path, patient(tmp_path, [path]), "mask on the PET is empty")


def test_contours_that_cancel_each_other_are_called_so(tmp_path):
    twice = [*LESION, *(contour + np.array([0.4, 0.0, 0.0]) for contour in LESION)]
    sources = patient(tmp_path, [rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", twice)])])
    assert "stored twice" in refused(
        tmp_path, sources, "mask on the CT is empty.*cancel each other, on 3 planes"
    )


def test_no_uid_and_no_file_name_leaves_the_index(tmp_path):
    path = rtstruct(tmp_path / "secret-name.dcm", [RoiSpec("GTV", LESION)], ())
    run(patient(tmp_path, [path]), tmp_path / "out")
    files = list((tmp_path / "out").glob("*.json"))
    assert files
    for file in files:
        text = file.read_text()
        assert "1.2.3." not in text and "secret" not in text


def test_margins_and_rings_are_applied(tmp_path):
    array = np.zeros(CT_GRID.shape, np.uint8)
    array[5, 20, 20] = 1
    write_mask(tmp_path / "m.nii.gz", CT_GRID, array)
    sources = with_roi(patient(tmp_path), "m.nii.gz")
    # Within 1 mm of a voxel of 3×1×1 mm: itself and four neighbours in plane.
    assert run(sources, tmp_path / "a", margin_mm=1.0)["masks"]["ct"]["voxels"] == 5
    assert run(sources, tmp_path / "b", shell_mm=1.0)["masks"]["ct"]["voxels"] == 4
    refused(tmp_path, sources, "nothing of the mask", margin_mm=-1.0)


def test_the_software_segments_only_where_it_is_asked_to_and_says_so(tmp_path):
    sources = patient(tmp_path)
    refused(tmp_path, sources, "no RTSTRUCT", auto_segment="threshold_41")
    report = run(sources, tmp_path / "image", auto_segment="threshold_41", auto_segment_within="image")
    assert report["contour"] == "drawn" and report["masks"]["pet"]["voxels"] == 8
    assert "software drew one" in report["warnings"][0]
    centre = PET_GRID.points([5, 5, 5])[0]
    entry = "sphere({:.1f}, {:.1f}, {:.1f}, 4.5)".format(*centre)
    report = run(with_roi(sources, entry), tmp_path / "sphere", auto_segment="fixed_4.0")
    assert report["masks"]["pet"]["rois"][0]["threshold_suv"] == 4.0
    assert report["masks"]["pet"]["rois"][0]["source"] == "fixed_4.0"
    # Of the eight hot voxels the sphere holds its centre and the three face neighbours.
    assert report["masks"]["pet"]["voxels"] == 4
    refused(tmp_path, with_roi(sources, entry), "nothing is to be drawn")


def test_a_contour_that_exists_is_never_replaced_by_a_segmentation(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)])
    report = run(
        patient(tmp_path, [path]), tmp_path / "out", auto_segment="threshold_41", auto_segment_within="image"
    )
    assert report["contour"] == "manual" and list(report["masks"]) == ["ct"]


@pytest.mark.parametrize("series", [CT, PET])
def test_suv_in_a_reference_region(tmp_path, series):
    """Truth: the PET of the helper is 1, and 10 in voxels 4 to 5 of each axis (x, y from -4.5 mm)."""
    hot = [square(-4.5, 3.5, z, -14.5, -6.5) for z in (112.0, 115.0)]
    rois = [RoiSpec("GTV", LESION), RoiSpec("Liver", hot)]
    sources = patient(tmp_path, [rtstruct(tmp_path / "a.dcm", rois, (series,))])
    report = run(sources, tmp_path / "o", reference_roi=["liver*"])
    assert report["reference"]["rois"] == ["Liver"]
    assert report["reference"]["mean"] == pytest.approx(10.0) and report["reference"]["sd"] == 0
    report = run(sources, tmp_path / "none", reference_roi=["aorta"])
    assert report["reference"] is None
    assert "no reference region" in read_status(tmp_path / "none").problem
