"""Which contours become which mask, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.series.index_file import Index, SeriesGeometry, SeriesRow, write_index
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Status, read_status, write_status
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.volume import Grid, Volume
from tests.dicom.contours.contour_helpers import (
    CT,
    CT_GRID,
    FRAME,
    PET,
    PET_GRID,
    RoiSpec,
    patient,
    rtstruct,
    square,
    with_roi,
    write_mask,
)

LESION = [square(-4.5, 5.5, z, -14.5, -4.5) for z in (109.0, 112.0, 115.0)]  # 100 CT voxels a slice


def run(sources, out, **settings):
    contours_patient(sources, out, ContourSettings(**settings), "stop")
    return json.loads((out / "contours.json").read_text())


def masks(out):
    return {path.name: read_nifti(path) for path in sorted(out.glob("*.nii.gz"))}


def refused(tmp_path, sources, match, **settings):
    with pytest.raises(ContourError, match=match) as caught:
        run(sources, tmp_path / "out", **settings)
    return str(caught.value)


def test_each_contour_goes_to_the_image_it_was_drawn_on(tmp_path):
    ct = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV_CT", LESION)], (CT,))
    pet = rtstruct(tmp_path / "b.dcm", [RoiSpec("gtv_pet", LESION)], (PET,))
    report = run(patient(tmp_path, [ct, pet]), tmp_path / "out")
    volumes = masks(tmp_path / "out")
    assert list(volumes) == ["gtv_ct.nii.gz", "gtv_pet.nii.gz"]
    assert volumes["gtv_ct.nii.gz"].grid.matches(CT_GRID) and volumes["gtv_pet.nii.gz"].grid.matches(PET_GRID)
    assert volumes["gtv_ct.nii.gz"].array.dtype == np.uint8
    assert volumes["gtv_ct.nii.gz"].array.sum(axis=(1, 2)).tolist() == [0, 0, 0, 100, 100, 100, 0, 0, 0, 0]
    assert report["contour"] == "manual" and report["warnings"] == []
    roi = report["masks"]["ct"]["rois"][0]
    assert roi["name"] == "GTV_CT" and roi["matched_by"] == "referenced series"
    assert roi["volume_polygons_ml"] == pytest.approx(0.9) and roi["volume_mask_ml"] == pytest.approx(0.9)
    assert read_status(tmp_path / "out").state == "ok"


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


def test_two_rois_of_one_name_are_united_with_a_warning(tmp_path):
    other = [square(6.5, 8.5, 109.0, -14.5, -12.5)]  # 2 × 2 voxels apart from the lesion's 300
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION), RoiSpec("gtv ", other)])
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 304
    assert any("2 ROIs of one file are named 'GTV'" in text for text in report["warnings"])


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
    assert not list((tmp_path / "out").iterdir())


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


def test_a_missing_series_reference_falls_back_on_frame_and_slices(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)], ())
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    assert list(report["masks"]) == ["ct"]  # lies on the slices of both: the finer one
    assert "frame of reference" in report["masks"]["ct"]["rois"][0]["matched_by"]
    assert any("no series in use" in warning for warning in report["warnings"])
    assert read_status(tmp_path / "out").state == "warned"


def test_where_only_the_pets_slices_carry_the_contours_it_is_the_pet(tmp_path):
    sources = patient(tmp_path, [rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)], ())])
    shifted = Grid(CT_GRID.shape, CT_GRID.spacing_mm, (-20.0, -30.0, 101.2))
    write_nifti(sources.convert / "ct_hu.nii.gz", Volume(np.zeros(shifted.shape, np.int16), shifted))
    assert list(run(sources, tmp_path / "out")["masks"]) == ["pet"]


def test_a_structure_set_of_another_frame_is_not_used(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)], ("8.8",), frame="8.9")
    message = refused(tmp_path, patient(tmp_path, [path]), "no contour can be used")
    assert "neither to the CT or PET" in message


def test_a_series_reference_outweighs_a_broken_frame_with_a_warning(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)], (PET,), frame="8.9")
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    assert list(report["masks"]) == ["pet"]
    assert "another frame of reference" in report["warnings"][0]


def test_where_both_series_are_named_the_instances_decide(tmp_path):
    from pydicom import dcmread

    for uid, expected in (("ct", ["ct"]), ("pet", ["pet"])):
        slices = {}
        for kind in ("ct", "pet"):
            # Any DICOM object does: only its SOP Instance UID is read.
            slices[kind] = rtstruct(tmp_path / uid / f"{kind}.dcm", [])
        sop = str(dcmread(slices[uid]).SOPInstanceUID)
        path = rtstruct(tmp_path / uid / "rs.dcm", [RoiSpec("GTV", LESION, sop=sop)], (CT, PET))
        sources = patient(tmp_path / uid, [path])
        row = SeriesRow("CT", CT, "1.2", FRAME, "", 10, SeriesGeometry(), "ct", True, "")
        pet = SeriesRow("PT", PET, "1.2", FRAME, "", 10, SeriesGeometry(), "pet", True, "")
        contours = SeriesRow("RTSTRUCT", "1.9", "1.2", FRAME, "", 1, SeriesGeometry(), "rtstruct", True, "")
        files = {CT: (slices["ct"],), PET: (slices["pet"],), "1.9": (path,)}
        write_index(sources.index, Index("P1", tmp_path / uid, (row, pet, contours), files))
        assert list(run(sources, tmp_path / uid / "out")["masks"]) == expected


def test_contours_outside_the_image_are_refused_or_warned_of(tmp_path):
    outside = [square(100.0, 110.0, 109.0)]
    message = refused(
        tmp_path, patient(tmp_path, [rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", outside)])]), "outside"
    )
    assert "100.0 %" in message
    cut = [square(-24.5, -14.5, z, -14.5, -4.5) for z in (109.0, 112.0)]  # 40 % beyond x = -20.5
    sources = patient(tmp_path / "cut", [rtstruct(tmp_path / "cut" / "b.dcm", [RoiSpec("GTV", cut)])])
    refused(tmp_path, sources, "outside the CT")
    report = run(sources, tmp_path / "warned", max_outside_percent=50.0)
    assert "40.0 % of its volume" in report["warnings"][0]
    assert report["masks"]["ct"]["rois"][0]["outside_percent"] == pytest.approx(40.0)


def test_open_contours_alone_are_no_contour(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION, "OPEN_PLANAR")])
    assert "3 OPEN_PLANAR" in refused(tmp_path, patient(tmp_path, [path]), "no contour can be used")


def test_the_same_roi_from_two_files_must_agree(tmp_path):
    files = [rtstruct(tmp_path / name / "RS.dcm", [RoiSpec("GTV", LESION)]) for name in "ab"]
    report = run(patient(tmp_path, files), tmp_path / "out")
    assert "several files that agree" in report["warnings"][0]
    assert report["masks"]["ct"]["voxels"] == 300
    files[1] = rtstruct(tmp_path / "c" / "RS.dcm", [RoiSpec("GTV", LESION[:2])])
    message = refused(tmp_path, patient(tmp_path, files), "differently")
    assert "RTSTRUCT 1 of 2 and RTSTRUCT 2 of 2" in message and "RS.dcm" not in message


def test_a_lesion_smaller_than_a_voxel_is_refused_not_empty(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", [square(0.0, 1.0, 109.0, -14.0, -13.0)])], (PET,))
    refused(tmp_path, patient(tmp_path, [path]), "mask on the PET is empty")


def test_no_uid_and_no_file_name_leaves_the_index(tmp_path):
    path = rtstruct(tmp_path / "secret-name.dcm", [RoiSpec("GTV", LESION)], ())
    run(patient(tmp_path, [path]), tmp_path / "out")
    for file in (tmp_path / "out").glob("*.json"):
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


def dated(path, day):
    dataset = pydicom.dcmread(path)
    dataset.StructureSetDate, dataset.StructureSetTime = day, "101500"
    dataset.save_as(path)
    return path


def test_of_two_files_the_newest_is_taken_where_that_is_the_rule(tmp_path):
    old = dated(rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)]), "20200310")
    new = dated(rtstruct(tmp_path / "b.dcm", [RoiSpec("GTV", LESION[:2])]), "20200402")
    sources = patient(tmp_path, [new, old])
    refused(tmp_path, sources, "draw the ROI 'GTV' differently.*same_roi: newest")
    report = run(sources, tmp_path / "o", same_roi="newest")
    assert report["masks"]["ct"]["voxels"] == 200
    assert "the newest" in read_status(tmp_path / "o").problem
    # The same dates, or none, do not tell.
    dated(new, "20200310")
    refused(tmp_path, sources, "do not say which is newer", same_roi="newest")


def test_a_third_file_that_agrees_does_not_hide_one_that_does_not(tmp_path):
    files = [rtstruct(tmp_path / f"{n}.dcm", [RoiSpec("GTV", LESION[:k])]) for n, k in enumerate((3, 3, 2))]
    refused(tmp_path, patient(tmp_path, files), "draw the ROI 'GTV' differently")


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
