"""RT Structure Sets: names, references, points."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.dicom.header.rtstruct import matches, read_rtstruct
from pipeline.errors import ContourError
from tests.dicom.contours.contour_helpers import CT, DATA, FRAME, PET, RoiSpec, rtstruct, square


def test_names_fit_patterns_whatever_the_case():
    assert matches("gtv_Mass", ["GTV*"]) and matches(" GTVp ", ["gtvp"])
    assert not matches("PTV", ["GTV*"]) and matches("PTV", ["GTV*", "ptv"])


def test_names_fit_however_their_characters_are_composed():
    # U+00E4, or a followed by U+0308; a name with a double or a non-breaking space.
    assert matches("La\u0308sion", ["l\u00e4sion*"]) and matches("GTV\u00a0 links", ["gtv links"])
    assert matches("GTV [PET]", ["gtv [pet]"]) and not matches("GTVlinks", ["gtv links"])


def test_points_references_and_names_are_read(tmp_path):
    path = rtstruct(
        tmp_path / "a.dcm", [RoiSpec("GTVp", [square(0, 5, 1)], sop="7.7"), RoiSpec("Heart", [])], (CT, PET)
    )
    structures = read_rtstruct(path, ["gtv*"])
    assert structures.names == ("GTVp", "Heart")
    assert [roi.name for roi in structures.rois] == ["GTVp"]
    assert np.array_equal(structures.rois[0].contours[0], square(0, 5, 1))
    assert structures.series_uids == {CT, PET} and structures.frame_uids == {FRAME}
    assert structures.rois[0].sops == {"7.7"}


def test_the_closing_point_is_dropped(tmp_path):
    closed = np.concatenate([square(0, 5, 1), square(0, 5, 1)[:1]])
    structures = read_rtstruct(rtstruct(tmp_path / "a.dcm", [RoiSpec("G", [closed])]), ["g"])
    assert len(structures.rois[0].contours[0]) == 4


def test_contours_that_enclose_nothing_are_counted_not_used(tmp_path):
    path = rtstruct(
        tmp_path / "a.dcm",
        [RoiSpec("G", [square(0, 1, 0)[:1]], "POINT"), RoiSpec("G2", [square(0, 1, 0)[:2]])],
    )
    first, second = read_rtstruct(path, ["g*"]).rois
    assert first.contours == () and first.skipped == {"POINT": 1}
    assert second.contours == () and second.skipped == {"of fewer than 3 points": 1}


def test_a_contour_given_twice_counts_once(tmp_path):
    # Under XOR it would cancel itself.
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("G", [square(0, 5, 1), square(0, 5, 1), square(0, 5, 4)])])
    (roi,) = read_rtstruct(path, ["g"]).rois
    assert len(roi.contours) == 2 and roi.skipped == {"repeated": 1}


@pytest.mark.parametrize(
    "again",
    [square(0, 5, 1)[::-1], np.roll(square(0, 5, 1), 1, axis=0), square(0, 5, 1) + 0.0004],
    ids=["the other way round", "from another corner", "rounded otherwise"],
)
def test_a_contour_repeated_in_other_words_counts_once(tmp_path, again):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("G", [square(0, 5, 1), again, square(0, 5, 4)])])
    (roi,) = read_rtstruct(path, ["g"]).rois
    assert len(roi.contours) == 2 and roi.skipped == {"repeated": 1}


@pytest.mark.parametrize("sequence", ["StructureSetROISequence", "ROIContourSequence"])
def test_two_rois_of_one_number_are_refused(tmp_path, sequence):
    # PS3.3 C.8.8.5: ROI Number is unique in a structure set; otherwise contours have two owners.
    path = rtstruct(
        tmp_path / "a.dcm", [RoiSpec("GTV", [square(0, 5, 1)]), RoiSpec("Heart", [square(9, 12, 1)])]
    )
    dataset = dcmread(path)
    number = "ROINumber" if sequence.startswith("Structure") else "ReferencedROINumber"
    setattr(dataset[sequence].value[1], number, 1)
    dataset.save_as(path)
    with pytest.raises(ContourError, match="several ROIs of one number"):
        read_rtstruct(path, ["gtv"])
    assert read_rtstruct(path, ["nothing"]).rois == ()


def test_xor_contours_are_closed_ones(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("G", [square(0, 5, 1)], "CLOSEDPLANAR_XOR")])
    roi = read_rtstruct(path, ["g"]).rois[0]
    assert len(roi.contours) == 1 and roi.xor
    rtstruct(path, [RoiSpec("G", [square(0, 5, 1)])])
    assert not read_rtstruct(path, ["g"]).rois[0].xor


@pytest.mark.parametrize("damage", [["1", "2"], ["1", "2", "nan"] * 3, ["1", "2", "x"] * 3])
def test_damaged_points_are_refused(tmp_path, damage):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", [square(0, 5, 1)])])
    content = path.read_bytes()
    old = "\\".join(f"{v:.4f}" for v in square(0, 5, 1).ravel()).encode()
    assert old in content
    new = "\\".join(damage).encode().ljust(len(old))
    path.write_bytes(content.replace(old, new))
    with pytest.raises(ContourError, match="points are"):
        read_rtstruct(path, ["gtv"])


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"nothing of the sort")
    with pytest.raises(ContourError, match=r"cannot be read|not an RTSTRUCT"):
        read_rtstruct(tmp_path / "a.dcm", ["*"])
    path = rtstruct(tmp_path / "b.dcm", [])
    dataset = dcmread(path)
    dataset.Modality = "CT"
    dataset.save_as(path)
    with pytest.raises(ContourError, match="not an RTSTRUCT"):
        read_rtstruct(path, ["*"])


@pytest.mark.skipif(not (DATA / "rtstruct").is_dir(), reason="shared data not present")
def test_files_of_another_tool_are_read():
    # rt-utils' test files: good, missing and invalid references.
    good = read_rtstruct(DATA / "rtstruct/rt.dcm", ["*"])
    assert good.names == ("ROI-1",) and len(good.rois[0].contours) == 2
    series = str(dcmread(DATA / "rtstruct/ct_1.dcm", stop_before_pixels=True).SeriesInstanceUID)
    assert good.series_uids == {series}
    missing = read_rtstruct(DATA / "rtstruct/non_existent_reference_rt.dcm", ["roi-2"])
    assert missing.series_uids == frozenset() and len(missing.rois) == 1
    assert len(missing.frame_uids) == 1
