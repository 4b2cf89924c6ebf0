"""Broken contour objects: refused in words or used, never a traceback, a hang or a huge array."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from pipeline.dicom.contours.contours import contours_patient
from pipeline.dicom.contours.roi import ContourFile, ImageSeries
from pipeline.dicom.contours.seg_read import seg_rois
from pipeline.errors import PatientError
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import RoiSpec, patient, rtstruct, square
from tests.dicom.contours.test_seg_read import made

LESION = [square(-4.5, 5.5, z, -14.5, -4.5) for z in (109.0, 112.0, 115.0)]
SEG_GRID = Grid((3, 4, 5), (3.0, 2.0, 1.0), (10.0, 20.0, 0.0))


def broken(data: bytes, seed: int) -> bytes:
    """Flip bits, cut, overwrite or repeat a part."""
    rng = random.Random(seed)
    content = bytearray(data)
    at = rng.randrange(132, len(content))
    kind = rng.choice(("flip", "flip", "cut", "overwrite", "repeat"))
    if kind == "flip":
        for _ in range(rng.choice((1, 4, 40))):
            content[rng.randrange(132, len(content))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[at:]
    elif kind == "overwrite":
        content[at : at + 8] = rng.choice((b"99999999", b"\\\\\\\\\\\\\\\\", bytes(8), b"1e300\\-1"))
    else:
        content[at:at] = content[at : at + rng.randrange(1, 300)]
    return bytes(content)


def survive_rtstruct(folder, sound, seed):
    path = folder / "a.dcm"
    path.write_bytes(broken(sound, seed))
    start = time.process_time()
    try:
        contours_patient(patient(folder, [path]), folder / "out", ContourSettings(), "stop")
    except PatientError as error:
        assert error.problem
        result = "refused"
    else:
        for path in (folder / "out").glob("gtv_*.nii.gz"):
            mask = read_nifti(path).array
            assert mask.any() and set(np.unique(mask)) <= {0, 1}
        result = "used"
    assert time.process_time() - start < 10
    return result


def survive_seg(folder, sound, seed):
    path = folder / "s.dcm"
    path.write_bytes(broken(sound, seed))
    try:
        rois = seg_rois(
            ContourFile(path, "SEG 1 of 1"),
            ["*"],
            {"ct": ImageSeries(SEG_GRID, "1.5", "1.6")},
            ContourSettings(),
        ).masks
    except PatientError as error:
        assert error.problem
        return "refused"
    assert all(roi.mask.shape == SEG_GRID.shape for roi in rois)
    return "used"


def both(tmp_path, seeds):
    (tmp_path / "rs").mkdir()
    sound = rtstruct(tmp_path / "sound.dcm", [RoiSpec("GTV", LESION)]).read_bytes()
    dataset = made()
    segment = type(dataset)()
    segment.SegmentNumber, segment.SegmentLabel = 1, "Lesion"
    dataset.SegmentSequence = [segment]
    dataset.FrameOfReferenceUID, dataset.SOPInstanceUID = "1.6", "1.7"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    content = (tmp_path / "seg.dcm").read_bytes()
    (tmp_path / "s.dcm").write_bytes(content)
    sound_images = {"ct": ImageSeries(SEG_GRID, "1.5", "1.6")}
    sound_rois = seg_rois(ContourFile(tmp_path / "s.dcm", ""), ["*"], sound_images, ContourSettings()).masks
    assert sound_rois[0].mask.sum() == 2
    structures = [survive_rtstruct(tmp_path / "rs", sound, seed) for seed in seeds]
    segmentations = [survive_seg(tmp_path, content, seed) for seed in seeds]
    return set(structures), set(segmentations)


def test_a_hundred_and_fifty_broken_objects_of_each_kind(tmp_path):
    assert both(tmp_path, range(150)) == ({"used", "refused"}, {"used", "refused"})


@pytest.mark.nightly
def test_two_thousand_broken_objects_of_each_kind(tmp_path):
    both(tmp_path, range(1000, 3000))
