"""Which image a DICOM SEG was drawn on: by the instances of its frames, and by those that it lists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from pipeline.dicom.contours.roi import ContourFile, ImageSeries
from pipeline.dicom.contours.seg_read import seg_rois
from pipeline.dicom.series.index_file import read_index, write_index
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Status, write_status
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import CT_GRID, FRAME, patient, refused
from tests.dicom.contours.test_seg_read import made

IN_USE, OTHER_SCAN, CT = "7.1", "7.2", "1.5"


def _named(keyword, uid):
    item = Dataset()
    setattr(item, keyword, uid)
    return item


def rois_of(path, sources, listed):
    """Segments of an object whose two frames name instances; the series is in use, its second scan is not."""
    dataset = made()
    dataset.SegmentSequence = [Dataset()]
    dataset.SegmentSequence[0].SegmentNumber, dataset.SegmentSequence[0].SegmentLabel = 1, "GTV"
    for frame, source in zip(dataset.PerFrameFunctionalGroupsSequence, sources, strict=True):
        if source:
            derivation = Dataset()
            derivation.SourceImageSequence = [_named("ReferencedSOPInstanceUID", source)]
            frame.DerivationImageSequence = [derivation]
    series = _named("SeriesInstanceUID", CT)
    series.ReferencedInstanceSequence = [_named("ReferencedSOPInstanceUID", uid) for uid in listed]
    dataset.ReferencedSeriesSequence = [series]
    dataset.PixelData, dataset.FrameOfReferenceUID = np.full((2, 4, 5), 200, np.uint8).tobytes(), "1.1"
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    grid = Grid((4, 4, 5), (3.0, 2.0, 1.0), (10.0, 20.0, 0.0))
    images = {"ct": ImageSeries(grid, CT, "1.1", frozenset([IN_USE]), frozenset([OTHER_SCAN]))}
    return seg_rois(ContourFile(path, "SEG 1 of 1"), ["GTV*"], images, ContourSettings())


@pytest.mark.parametrize(
    ("sources", "listed", "used"),
    [
        ((IN_USE, IN_USE), (IN_USE, OTHER_SCAN), True),
        ((OTHER_SCAN, OTHER_SCAN), (IN_USE, OTHER_SCAN), False),
        (("", ""), (OTHER_SCAN,), False),
        (("", ""), (IN_USE, OTHER_SCAN), True),
        (("7.9", "7.9"), ("7.9",), True),  # broken references: the series counts
    ],
)
def test_segments_of_the_scan_of_a_series_that_was_not_chosen_are_left_out(tmp_path, sources, listed, used):
    rois = rois_of(tmp_path / "a.dcm", sources, listed)
    assert len(rois.masks) == used
    assert used or "images that are not in use" in rois.unused[0]


def test_a_segmentation_of_both_scans_of_a_series_is_refused(tmp_path):
    with pytest.raises(ContourError, match="drawn on several images.*1 of it and 1 of images"):
        rois_of(tmp_path / "a.dcm", (IN_USE, OTHER_SCAN), (IN_USE, OTHER_SCAN))


def test_a_segmentation_without_marked_pixels_is_called_so(tmp_path):
    # Values 0 and 1 where 200 stands for the whole, as of a binary mask written as a fractional one.
    dataset = made()
    dataset.SegmentSequence = [Dataset()]
    dataset.SegmentSequence[0].SegmentNumber, dataset.SegmentSequence[0].SegmentLabel = 1, "GTV"
    dataset.PixelData, dataset.FrameOfReferenceUID = np.ones((2, 4, 5), np.uint8).tobytes(), FRAME
    for frame, z in zip(dataset.PerFrameFunctionalGroupsSequence, (103.0, 100.0), strict=True):
        frame.PlanePositionSequence[0].ImagePositionPatient = [*CT_GRID.origin_mm[:2], z]
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.0, 1.0]
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    message = refused(tmp_path, patient(tmp_path, segs=[tmp_path / "a.dcm"]), "mask on the CT is empty")
    assert "Maximum Fractional Value" in message and "'GTV'" in message


def test_contours_that_name_nothing_are_told_from_those_of_other_images(tmp_path):
    sources = patient(tmp_path)
    index = read_index(sources.index)
    row = replace(index.series[0], modality="RTSTRUCT", role="rtstruct", chosen=False)
    rows = [
        replace(row, series_uid="9.1", frame_of_reference_uid=""),
        replace(row, series_uid="9.2", references=("9.9",)),
    ]
    files = {**index.files, "9.1": (), "9.2": ()}
    write_index(sources.index, replace(index, series=(*index.series, *rows), files=files))
    write_status(sources.index, Status("ok", "index"))
    message = refused(tmp_path, sources, "there is no RTSTRUCT")
    assert "1 that belong to other images, 1 that name no image and no frame" in message
