"""Changed RTSTRUCT, SEG, NIfTI and table files against what the changed file says by other programs' reading.

A flipped bit may turn one legal file into another: then what comes out must be what the file now says,
as pydicom with a polygon filler of the tests, pydicom's own frames, nibabel-like bytes and Python's csv read it.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import random
import warnings
from collections import Counter

import numpy as np
import pydicom
import pytest

from pipeline.dicom.contours.contours import contours_patient
from pipeline.dicom.contours.roi import ContourFile, ImageSeries
from pipeline.dicom.contours.seg_read import seg_rois
from pipeline.dicom.header.rtstruct import matches
from pipeline.errors import PatientError, PipelineError
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.cohort import read_cohort
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import nifti_header, read_nifti
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import CT_GRID, RoiSpec, patient, rtstruct, sampled_mask, square
from tests.dicom.contours.test_contours_mutated import LESION, SEG_GRID, broken
from tests.dicom.contours.test_seg_read import made

SILENT_DICE = 0.97


def dice(first, second):
    size = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / size if size else 1.0


def contours_as_written(path):
    """Closed contours of the ROIs named GTV…, by pydicom alone."""
    ds = pydicom.dcmread(path, force=True)
    numbers = {
        int(s.ROINumber) for s in ds.StructureSetROISequence if matches(str(s.get("ROIName", "")), ["GTV*"])
    }
    drawn = [
        c
        for r in ds.ROIContourSequence
        if int(r.get("ReferencedROINumber", -1)) in numbers
        for c in r.ContourSequence
    ]
    closed = [c for c in drawn if str(c.get("ContourGeometricType", "")) == "CLOSED_PLANAR"]
    return [np.asarray(c.ContourData, dtype=float).reshape(-1, 3) for c in closed]


def structure_outcome(folder, sound, seed):
    path = folder / "a.dcm"
    path.write_bytes(broken(sound, seed))
    try:
        contours_patient(patient(folder, [path]), folder / "out", ContourSettings(), "stop")
    except PatientError:
        return "refused"
    if read_status(folder / "out").state == "warned":
        return "told"
    mask = read_nifti(folder / "out" / "gtv_ct.nii.gz").array > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sampled_mask(contours_as_written(path), CT_GRID, 9)
    return "right" if dice(mask, expected) >= SILENT_DICE else "wrong"


def segment_outcome(folder, sound, seed):
    path = folder / "s.dcm"
    path.write_bytes(broken(sound, seed))
    images = {"ct": ImageSeries(SEG_GRID, "1.5", "1.6")}
    try:
        rois = seg_rois(ContourFile(path, "SEG"), ["*"], images, ContourSettings())
    except PatientError:
        return "refused"
    if not rois.masks or any(roi.warnings for roi in rois.masks):
        return "told"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, force=True)
        half = ds.MaximumFractionalValue / 2 if ds.SegmentationType == "FRACTIONAL" else 0
        frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns) > half
        numbers = [int(g.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
                   for g in ds.PerFrameFunctionalGroupsSequence]  # fmt: skip
    wanted = {int(item.SegmentNumber) for item in ds.SegmentSequence}
    marked = sum(int(frame.sum()) for frame, number in zip(frames, numbers, strict=True) if number in wanted)
    return "right" if sum(int(roi.mask.sum()) for roi in rois.masks) == marked else "wrong"


NIFTI_GRID = Grid((7, 9, 8), (3.0, 2.0, 2.0), (-10.0, -20.0, 5.0))
VALUES = np.random.default_rng(2).integers(0, 3, NIFTI_GRID.shape).astype(np.int16)


def nifti_outcome(folder, sound, seed):
    """Plain and compressed in turns; a compressed file's checksum leaves no room for a change."""
    packed = seed % 2 == 0
    path = folder / ("a.nii.gz" if packed else "a.nii")
    data = broken(bytes(64) + (gzip.compress(sound, mtime=0) if packed else sound), seed)[64:]
    path.write_bytes(data)
    try:
        volume = read_nifti(path)
    except PatientError:
        return "refused"
    content = gzip.decompress(data) if packed else data
    values = np.frombuffer(content[352 : 352 + 2 * VALUES.size], np.int16).reshape(VALUES.shape)
    slope, intercept = np.frombuffer(content[112:120], np.float32).astype(float)
    if (
        volume.array.shape != VALUES.shape
        or volume.grid.spacing_mm != NIFTI_GRID.spacing_mm
        or slope not in (0, 1)
    ):
        return "another legal header"
    order = ">" if content[:4] == b"\0\0\x01\x5c" else "<"
    if order == ">" or content[70:72] != sound[70:72]:
        return "another legal header"
    return "right" if np.allclose(volume.array, values + (intercept if slope else 0)) else "wrong"


TABLE = "patient_id,set,centre,image_path,roi,time_days,event\n" + "".join(
    f"P{n:03d},development,A,images/{n},GTV {n},{100 + 7 * n},{n % 2}\n" for n in range(12)
)


def table_outcome(folder, sound, seed):
    path = folder / "c.csv"
    rng = random.Random(seed)
    data = bytearray(sound)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(data))
        kind = rng.choice(("flip", "cut", "put", "drop"))
        if kind == "flip":
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "put":
            data[at:at] = rng.choice((b",", b'"', b"\n", b"\0", b";", b"\xe9", b"1e9", b"-"))
        elif kind == "drop":
            del data[at : at + rng.randrange(1, 9)]
        elif rng.random() < 0.2:
            del data[at:]
        if len(data) < 2:
            break
    path.write_bytes(data)
    settings = CohortSettings(table=str(path), source="dicom", image_root=str(folder))
    try:
        cohort = read_cohort(settings, "exclude")
    except PipelineError:
        return "refused"
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    by_id = {row["patient_id"].strip(): row for row in rows if row["patient_id"]}
    for person in cohort.patients:
        row = by_id[person.patient_id]
        if (person.time_days, person.event) != (
            float(row["time_days"]),
            int(row["event"]),
        ):
            return "wrong"
    return "told" if cohort.problems else "right"


def sound_seg():
    ds = made()
    segment = pydicom.Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "Lesion"
    ds.SegmentSequence = [segment]
    ds.FrameOfReferenceUID, ds.SOPInstanceUID = "1.6", "1.7"
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def outcomes(kind, folder, seeds):
    """How often each outcome came, and the seeds of the wrong ones."""
    folder.mkdir(exist_ok=True)
    other = RoiSpec("Heart", [square(6, 10, 109.0)])
    sound, outcome = {
        "RTSTRUCT": (
            lambda: rtstruct(folder / "x.dcm", [RoiSpec("GTV", LESION), other]).read_bytes(),
            structure_outcome,
        ),
        "SEG": (sound_seg, segment_outcome),
        "NIfTI": (lambda: nifti_header(NIFTI_GRID, VALUES.dtype) + VALUES.tobytes(), nifti_outcome),
        "table": (lambda: TABLE.encode(), table_outcome),
    }[kind]
    data = sound()
    found = {seed: outcome(folder, data, seed) for seed in seeds}
    return Counter(found.values()), [seed for seed, result in found.items() if result == "wrong"]


KINDS = ("RTSTRUCT", "SEG", "NIfTI", "table")


@pytest.mark.parametrize("kind", KINDS)
def test_sixty_changed_files_are_right_told_or_refused(tmp_path, kind):
    counts, wrong = outcomes(kind, tmp_path / "a", range(60))
    assert not wrong and counts["refused"] and len(counts) > 1, counts


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_five_hundred_changed_files_are_right_told_or_refused(tmp_path, kind):
    counts, wrong = outcomes(kind, tmp_path / "a", range(10_000, 10_500))
    with contextlib.suppress(OSError):
        print(f"{kind}: {dict(counts)}")
    assert not wrong, (wrong[:5], counts)
