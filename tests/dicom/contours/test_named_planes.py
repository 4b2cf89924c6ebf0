"""Contours and frames on other planes than those of the images that they name, (0008,1155)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.dicom.contours.named_planes import SlicePlanes, plane_warnings
from pipeline.dicom.contours.roi import ContourFile, ImageSeries
from pipeline.dicom.contours.seg_read import seg_rois
from pipeline.dicom.series.index_file import SeriesGeometry, read_index, write_index
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Status, write_status
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import CT, LESION, RoiSpec, patient, refused, rtstruct, run
from tests.dicom.contours.test_seg_read import made

SLICES = tuple(f"8.{number}" for number in range(10))
"""Instances of the CT, 3 mm apart from z = 100 mm on; the lesion is drawn on numbers 3, 4 and 5."""


def drawn(tmp_path, named, shift=0.0, frames=False):
    """A patient whose contours, moved along z, name instances, or frames of one instance, by number."""
    contours = [points + np.array([0.0, 0.0, shift]) for points in LESION]
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", contours, sop="8.0")])
    dataset = dcmread(path)
    for item, numbers in zip(dataset.ROIContourSequence[0].ContourSequence, named, strict=True):
        item.ContourImageSequence = [Dataset() for _ in numbers]
        for image, number in zip(item.ContourImageSequence, numbers, strict=True):
            image.ReferencedSOPInstanceUID = "8.8" if frames else SLICES[number]
            if frames:
                image.ReferencedFrameNumber = str(number + 1)
    dataset.save_as(path)
    sources = patient(tmp_path, [path])
    index = read_index(sources.index)
    geometry = SeriesGeometry((10, 40, 40), (3.0, 1.0, 1.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    rows = tuple(replace(row, geometry=geometry) if row.role == "ct" else row for row in index.series)
    depths = tuple((100.0 + 3.0 * number,) for number in range(10))
    uids = SLICES
    if frames:  # the same slices as frames of one instance
        uids, depths = ("8.8",), (tuple(z for (z,) in depths),)
    write_index(sources.index, replace(index, series=rows, sop_uids={CT: uids}, depths_mm={CT: depths}))
    write_status(sources.index, Status("ok", "index"))
    return sources


@pytest.mark.parametrize(
    ("named", "shift"),
    [
        ([[3], [4], [5]], 0.0),
        ([[3], [4], [5]], 1.5),  # half way between two slices either may be named
        ([[4], [5], [6]], 1.5),
        ([range(10)] * 3, 0.0),  # every contour names the whole series
    ],
    ids=["own", "below", "above", "series"],
)
def test_contours_on_or_between_the_slices_that_they_name_are_used(tmp_path, named, shift):
    report = run(drawn(tmp_path, named, shift), tmp_path / "out")
    assert report["masks"]["ct"]["rois"][0]["volume_polygons_ml"] == pytest.approx(0.9)
    assert not any("images they name" in text for text in report["warnings"])


@pytest.mark.parametrize(
    ("named", "shift", "apart"),
    [
        ([[4], [5], [6]], 0.0, "3 of 3, -3 mm"),
        ([[3], [4], [5]], 9.0, r"3 of 3, \+9 mm"),
        ([[5], [4], [3]], 0.0, r"2 of 3, \+0 mm"),  # numbered from the other end
    ],
    ids=["one slice", "three slices", "mirrored"],
)
def test_contours_of_other_planes_than_their_images_are_refused(tmp_path, named, shift, apart):
    message = refused(tmp_path, drawn(tmp_path, named, shift), apart)
    assert "'GTV' lies on other planes" in message and "(3006,0016)" in message


def test_contours_are_held_against_the_frames_of_a_multi_frame_image(tmp_path):
    report = run(drawn(tmp_path / "on", [[3], [4], [5]], frames=True), tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300 and not report["warnings"]
    message = refused(tmp_path, drawn(tmp_path / "off", [[4], [5], [6]], frames=True), "3 of 3, -3 mm")
    assert "'GTV' lies on other planes" in message
    # Without (0008,1160) all frames are named, and nothing can be compared.
    whole = drawn(tmp_path / "whole", [[4], [5], [6]], frames=True)
    path = tmp_path / "whole/a.dcm"
    dataset = dcmread(path)
    for item in dataset.ROIContourSequence[0].ContourSequence:
        del item.ContourImageSequence[0].ReferencedFrameNumber
    dataset.save_as(path)
    assert run(whole, tmp_path / "out")["masks"]["ct"]["voxels"] == 300


@pytest.mark.parametrize(
    ("named", "found"),
    [([[3], [4], [6]], "1 of 3, -3 mm"), ([[0], [0], [0]], "3 of 3")],
    ids=["one contour", "the first image everywhere"],
)
def test_single_contours_and_names_that_say_nothing_are_told(tmp_path, named, found):
    report = run(drawn(tmp_path, named), tmp_path / "out")
    assert report["masks"]["ct"]["voxels"] == 300
    assert any("farther than half a slice" in text and found in text for text in report["warnings"])


def test_planes_count_along_the_normal_of_oblique_slices():
    normal = np.array([0.6, 0.0, 0.8])
    planes = SlicePlanes(tuple(normal), 3.0, {"a": 30.0, "b": 33.0})
    inside = np.array([0.8, 5.0, -0.6])  # along the slices
    points = np.array([30.0 * normal + 40 * inside, 33.0 * normal - 70 * inside])
    named = [frozenset("a"), frozenset("b")]
    assert plane_warnings(points, named, [None, planes], "ROI", "here") == []
    with pytest.raises(ContourError, match=r"2 of 2, \+3 mm"):
        plane_warnings(points + 3.0 * normal, named, [planes], "ROI", "here")


@pytest.mark.parametrize(("first", "fine"), [(0, True), (1, False)])
def test_frames_of_a_segmentation_lie_on_their_source_images(tmp_path, first, fine):
    dataset = made()  # two frames of 3 mm slices
    dataset.SegmentSequence = [Dataset()]
    dataset.SegmentSequence[0].SegmentNumber, dataset.SegmentSequence[0].SegmentLabel = 1, "GTV"
    heights = []
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence, first):
        source, derivation = Dataset(), Dataset()
        source.ReferencedSOPInstanceUID = SLICES[number]
        derivation.SourceImageSequence = [source]
        frame.DerivationImageSequence = [derivation]
        heights.append(float(frame.PlanePositionSequence[0].ImagePositionPatient[2]))
    start, step = heights[0], heights[1] - heights[0]
    planes = SlicePlanes((0.0, 0.0, 1.0), 3.0, {SLICES[n]: start + n * step for n in range(4)})
    dataset.PixelData, dataset.FrameOfReferenceUID = np.full((2, 4, 5), 200, np.uint8).tobytes(), "1.1"
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    grid = Grid((4, 4, 5), (3.0, 2.0, 1.0), (10.0, 20.0, 0.0))
    image = ImageSeries(grid, CT, "1.1", frozenset(SLICES), planes=planes)
    file = ContourFile(tmp_path / "a.dcm", "SEG 1 of 1")
    if fine:
        (roi,) = seg_rois(file, ["GTV*"], {"ct": image}, ContourSettings()).masks
        assert roi.warnings == () and roi.mask.sum() == 40
    else:
        with pytest.raises(ContourError, match=r"other planes.*Source Image"):
            seg_rois(file, ["GTV*"], {"ct": image}, ContourSettings())
