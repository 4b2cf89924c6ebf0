"""Which image the contours of an RTSTRUCT belong to, and which contours are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.dicom.series.index_file import Index, SeriesGeometry, SeriesRow, write_index
from pipeline.tables.status import Status, read_status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume
from tests.dicom.contours.contour_helpers import (
    CT,
    CT_GRID,
    FRAME,
    LESION,
    PET,
    RoiSpec,
    patient,
    refused,
    rtstruct,
    run,
    square,
)


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
    write_status(sources.convert, Status("ok", "convert"))
    assert list(run(sources, tmp_path / "out")["masks"]) == ["pet"]


def test_a_structure_set_of_another_frame_is_not_used(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)], ("8.8",), frame="8.9")
    message = refused(tmp_path, patient(tmp_path, [path]), "no contour can be used")
    assert "neither to the CT or PET" in message


OWN, NEXT, OF_PET, LEFT_OUT, NOWHERE = "7.1", "7.2", "7.3", "7.4", "7.7.7"
"""Instances: two of the CT, one of the PET, one that the index left out, one of an image that is not there."""
OTHER = "8.8.8"
"""A series that is not in use, such as an MR in the same frame of reference."""


def test_a_contour_drawn_on_another_image_is_left_out_and_named(tmp_path):
    # Both share the frame: united, the mask would hold 300 + 300 voxels.
    moved = [points + np.array([-14.0, 0.0, 0.0]) for points in LESION]
    paths = [
        rtstruct(tmp_path / "ct.dcm", [RoiSpec("GTV", LESION)]),
        rtstruct(tmp_path / "mr.dcm", [RoiSpec("GTV_MR", moved)], (OTHER,)),
    ]
    for number, settings in enumerate(({}, {"other_image": "place"})):
        report = run(patient(tmp_path, paths), tmp_path / f"out{number}", **settings)
        assert report["masks"]["ct"]["voxels"] == 300
        assert [roi["name"] for roi in report["masks"]["ct"]["rois"]] == ["GTV"]
        assert any("'GTV_MR'" in text and "not in use" in text for text in report["warnings"])


def test_a_contour_of_another_image_alone_is_refused_unless_asked_for(tmp_path):
    sources = patient(tmp_path, [rtstruct(tmp_path / "mr.dcm", [RoiSpec("GTV", LESION)], (OTHER,))])
    assert "contours.other_image: place" in refused(tmp_path, sources, "no contour can be used")
    report = run(sources, tmp_path / "out", other_image="place")
    assert report["masks"]["ct"]["voxels"] == 300
    assert "not in use" in report["warnings"][0]


def test_contours_of_two_other_images_are_not_united(tmp_path):
    names = {"a": "GTV1", "b": "GTV2"}
    paths = [rtstruct(tmp_path / f"{k}.dcm", [RoiSpec(v, LESION)], (OTHER,)) for k, v in names.items()]
    refused(tmp_path, patient(tmp_path, paths), "several files were drawn", other_image="place")


def test_a_series_reference_outweighs_a_broken_frame_with_a_warning(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)], (PET,), frame="8.9")
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    assert list(report["masks"]) == ["pet"]
    assert "another frame of reference" in report["warnings"][0]


def test_an_roi_of_another_frame_is_left_out_where_the_structure_set_knows_the_images(tmp_path):
    # United, the mask would hold 300 + 300 voxels.
    moved = [points + np.array([-14.0, 0.0, 0.0]) for points in LESION]
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION), RoiSpec("GTV_MR", moved)])
    dataset = dcmread(path)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "8.9"
    dataset.save_as(path)
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300
    assert any("'GTV_MR'" in text and "another frame" in text for text in report["warnings"])


def test_a_rejected_structure_set_is_told(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)])
    dataset = dcmread(path)
    for status, told in (("APPROVED", False), ("REJECTED", True)):
        dataset.ApprovalStatus = status
        dataset.save_as(path)
        report = run(patient(tmp_path, [path]), tmp_path / status)
        assert any("rejected" in text for text in report["warnings"]) == told


def test_where_both_series_are_named_the_instances_decide(tmp_path):
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
        sops = {
            series: (str(dcmread(slices[kind]).SOPInstanceUID),)
            for series, kind in ((CT, "ct"), (PET, "pet"))
        }
        index = Index("P1", tmp_path / uid, (row, pet, contours), files, sop_uids=sops)
        write_index(sources.index, index)
        write_status(sources.index, Status("ok", "index"))
        assert list(run(sources, tmp_path / uid / "out")["masks"]) == expected


def with_instances(folder, rois, left_out=()):
    """A patient with a CT of instances OWN and NEXT and an RTSTRUCT each of (name, series, instance, contours)."""
    paths = [
        rtstruct(folder / f"{n}.dcm", [RoiSpec(name, drawn, sop=sop)], series)
        for n, (name, series, sop, drawn) in enumerate(rois)
    ]
    sources = patient(folder, paths)
    row = SeriesRow("CT", CT, "1.2", FRAME, "", 10, SeriesGeometry(), "ct", True, "")
    pet = replace(row, modality="PT", series_uid=PET, role="pet")
    drawn = [
        replace(row, modality="RTSTRUCT", series_uid=f"1.9.{n}", role="rtstruct") for n in range(len(paths))
    ]
    files = {CT: (), PET: ()}
    files |= {f"1.9.{n}": (path,) for n, path in enumerate(paths)}
    sops = {CT: (OWN, NEXT), PET: (OF_PET,)}
    index = Index("P1", folder, (row, pet, *drawn), files, sop_uids=sops, left_out_uids=tuple(left_out))
    write_index(sources.index, index)
    write_status(sources.index, Status("ok", "index"))
    return sources


MOVED = [points + np.array([-14.0, 0.0, 0.0]) for points in LESION]
"""300 voxels beside the lesion's 300."""


@pytest.mark.parametrize(
    ("sop", "why"),
    [(NOWHERE, "images that are not in use"), ("", "names no image")],
    ids=["instances", "none"],
)
@pytest.mark.parametrize("reference", [((CT,), ""), ((), OWN)], ids=["beside series", "beside instances"])
def test_contours_that_do_not_name_an_image_in_use_are_not_united_with_ones_that_do(
    tmp_path, reference, sop, why
):
    sources = with_instances(tmp_path, [("GTV", *reference, LESION), ("GTV_MR", (), sop, MOVED)])
    report = run(sources, tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300
    assert [roi["name"] for roi in report["masks"]["ct"]["rois"]] == ["GTV"]
    expected = "referenced series" if reference[0] else "referenced instances"
    assert report["masks"]["ct"]["rois"][0]["matched_by"] == expected
    assert any("'GTV_MR'" in text and why in text and "left out" in text for text in report["warnings"])


def test_contours_of_a_series_that_is_in_use_under_another_uid_are_known_by_their_instances(tmp_path):
    # A series that was joined to another one, or sent twice.
    sources = with_instances(tmp_path, [("GTV", (OTHER,), OWN, LESION)])
    report = run(sources, tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300
    assert report["masks"]["ct"]["rois"][0]["matched_by"] == "referenced instances"


@pytest.mark.parametrize(
    ("sop", "left_out", "matched"),
    [(LEFT_OUT, (LEFT_OUT,), False), (NEXT, (LEFT_OUT,), True), (NOWHERE, (LEFT_OUT,), True)],
)
def test_contours_of_the_scan_of_a_series_that_was_not_chosen_are_not_laid_on_the_other(
    tmp_path, sop, left_out, matched
):
    # index.several_acquisitions: first, or index.repeated_frames: first; the contours are of the other scan or frame.
    sources = with_instances(tmp_path, [("GTV", (CT,), sop, LESION)], left_out)
    if not matched:
        assert "images that are not in use" in refused(tmp_path, sources, "no contour can be used")
        report = run(sources, tmp_path / "placed", other_image="place")
        assert "placed on the CT by its coordinates" in report["warnings"][0]
        return
    report = run(sources, tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300
    assert report["masks"]["ct"]["rois"][0]["unknown_instances"] == (sop == NOWHERE)


@pytest.mark.parametrize(
    ("kind", "voxels", "words"),
    [("CLOSED_PLANAR", 450, "their union is taken"), ("CLOSEDPLANAR_XOR", 300, "XOR taken")],
)
def test_contours_that_overlap_are_united_unless_their_type_says_xor(tmp_path, kind, voxels, words):
    # Squares of 10 × 10 voxels on three slices, 5 voxels apart: 150 each plane, by XOR (PS3.3 C.8.8.6.3) 100.
    beside = [points + np.array([5.0, 0.0, 0.0]) for points in LESION]
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", (*LESION, *beside), kind)])
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    (roi,) = report["masks"]["ct"]["rois"]
    assert roi["voxels"] == voxels and roi["volume_polygons_ml"] == pytest.approx(voxels * 0.003)
    assert any(words in text for text in report["warnings"])


def parted_roi(path, sops, series=(CT,), contours=(*LESION, *MOVED)):
    """An RTSTRUCT of one ROI, each contour of an instance of its own; empty: of none."""
    rtstruct(path, [RoiSpec("GTV", contours, sop=NOWHERE)], series)
    dataset = dcmread(path)
    for item, sop in zip(dataset.ROIContourSequence[0].ContourSequence, sops, strict=True):
        if sop:
            item.ContourImageSequence[0].ReferencedSOPInstanceUID = sop
        else:
            del item.ContourImageSequence
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("others", "series", "voxels"),
    [
        (NOWHERE, (CT,), 300),  # of an image that is not there
        (NOWHERE, (CT, OTHER), 300),
        (LEFT_OUT, (CT,), 300),  # of the other scan of the series
        (OF_PET, (CT, PET), 600),  # in use, in the CT's frame of reference: right on both
        ("", (CT,), 600),  # of the series in use, by the object
    ],
)
def test_contours_of_one_roi_that_are_of_another_image_are_not_united_with_the_rest(
    tmp_path, others, series, voxels
):
    # The lesion's three contours name the CT's instances, those beside it another image's: 300 + 300 voxels.
    sources = with_instances(tmp_path, [("GTV", series, OWN, LESION)], (LEFT_OUT,))
    parted_roi(tmp_path / "0.dcm", [OWN, NEXT, OWN, *[others] * 3], series)
    report = run(sources, tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == voxels
    told = any("3 that name images which are not in use" in text for text in report["warnings"])
    assert told == (voxels == 300)


def test_contours_of_missing_slices_at_the_ends_of_the_image_still_count_as_outside_it(tmp_path):
    # The CT ends at z = 127 mm; three more slices with contours were lost, and their instances are not in use.
    lost = [square(-4.5, 5.5, z, -14.5, -4.5) for z in (130.0, 133.0, 136.0)]
    kept = [square(-4.5, 5.5, z, -14.5, -4.5) for z in (121.0, 124.0, 127.0)]
    sources = with_instances(tmp_path, [("GTV", (CT,), OWN, LESION)])
    parted_roi(tmp_path / "0.dcm", [OWN] * 3 + [NOWHERE] * 3, contours=(*kept, *lost))
    refused(tmp_path, sources, "lies outside the CT")


def test_contours_of_a_series_whose_instances_all_have_new_names_are_used_as_they_are(tmp_path):
    # As in a public collection of sarcomas: 267 instances are listed, the CT has 267, and none is the same.
    sources = with_instances(tmp_path, [("GTV", (CT,), "9.1", LESION)])
    parted_roi(tmp_path / "0.dcm", ["9.1", "9.2", "9.1"], contours=LESION)
    report = run(sources, tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300 and not report["warnings"]


def test_an_roi_of_unknown_instances_beside_ones_of_instances_in_use_is_left_out(tmp_path):
    # One RTSTRUCT that names the CT's series alone, and whose second ROI was drawn on an MR all the same.
    sources = with_instances(tmp_path, [("GTV", (CT,), OWN, LESION)])
    rois = [RoiSpec("GTV", LESION, sop=OWN), RoiSpec("GTV_MR", MOVED, sop=NOWHERE)]
    rtstruct(tmp_path / "0.dcm", rois)
    report = run(sources, tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300
    assert any("'GTV_MR'" in text and "not in use" in text for text in report["warnings"])


def test_contours_of_instances_that_are_not_in_use_alone_are_refused_unless_asked_for(tmp_path):
    sources = with_instances(tmp_path, [("GTV", (), NOWHERE, LESION)])
    assert "contours.other_image: place" in refused(tmp_path, sources, "no contour can be used")
    report = run(sources, tmp_path / "placed", other_image="place")
    assert report["masks"]["ct"]["voxels"] == 300 and "not in use" in report["warnings"][0]


def test_a_class_whose_contours_name_no_image_beside_ones_that_do_is_refused(tmp_path):
    sources = with_instances(tmp_path, [("GTVp", (CT,), "", LESION), ("GTVn", (), "", MOVED)])
    classes = {"gtvp": "GTVp*", "gtvn": "GTVn*"}
    assert "names no image" in refused(tmp_path, sources, "class gtvn cannot be used", classes=classes)


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


@pytest.mark.parametrize(("factor", "message"), [(0.1, "drawn in cm"), (0.001, "is empty")])
def test_contours_in_cm_or_m_are_refused(tmp_path, factor, message):
    drawn = [points * factor for points in LESION]
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", drawn)])
    grid = Grid((60, 40, 40), (3.0, 1.0, 1.0), (-20.0, -30.0, -50.0))  # the contours lie in it either way
    source = patient(tmp_path, [path])
    write_nifti(source.convert / "ct_hu.nii.gz", Volume(np.zeros(grid.shape, np.int16), grid))
    write_status(source.convert, Status("ok", "convert"))
    assert refused(tmp_path, source, message)
