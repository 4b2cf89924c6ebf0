"""ROIs of one name, from one file or several: united, taken once, or refused."""

from __future__ import annotations

import pydicom

from pipeline.tables.status import read_status
from tests.dicom.contours.contour_helpers import LESION, RoiSpec, patient, refused, rtstruct, run, square


def test_two_rois_of_one_name_are_united_with_a_warning(tmp_path):
    other = [square(6.5, 8.5, 109.0, -14.5, -12.5)]  # 2 × 2 voxels apart from the lesion's 300
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION), RoiSpec("gtv ", other)])
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 304
    assert any("2 ROIs of one file are named 'GTV'" in text for text in report["warnings"])


def test_the_same_roi_from_two_files_must_agree(tmp_path):
    files = [rtstruct(tmp_path / name / "RS.dcm", [RoiSpec("GTV", LESION)]) for name in "ab"]
    report = run(patient(tmp_path, files), tmp_path / "out")
    assert "several files that agree" in report["warnings"][0]
    assert report["masks"]["ct"]["voxels"] == 300
    files[1] = rtstruct(tmp_path / "c" / "RS.dcm", [RoiSpec("GTV", LESION[:2])])
    message = refused(tmp_path, patient(tmp_path, files), "differently")
    assert "RTSTRUCT 1 of 2 and RTSTRUCT 2 of 2" in message and "RS.dcm" not in message


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
