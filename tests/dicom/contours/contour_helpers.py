"""Small patients with contours, and a second way of filling polygons."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.series.index_file import Index, SeriesGeometry, SeriesRow, write_index
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.volume import Grid, Volume

DATA = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).resolve().parents[3] / "../shared/data"))
CT_GRID = Grid((10, 40, 40), (3.0, 1.0, 1.0), (-20.0, -30.0, 100.0))
PET_GRID = Grid((10, 10, 10), (3.0, 4.0, 4.0), (-18.5, -28.5, 100.0))
CT, PET, FRAME = "1.2.3.1", "1.2.3.2", "1.2.3.9"


def square(x0: float, x1: float, z: float, y0: float | None = None, y1: float | None = None) -> np.ndarray:
    """A closed contour (4, 3) in LPS mm; y spans as x does unless given."""
    low, high = (x0 if y0 is None else y0), (x1 if y1 is None else y1)
    return np.array([[x0, low, z], [x1, low, z], [x1, high, z], [x0, high, z]], dtype=float)


@dataclass(frozen=True)
class RoiSpec:
    """An ROI to be written: name, contours, geometric type, instances referred to."""

    name: str
    contours: Sequence[np.ndarray]
    kind: str = "CLOSED_PLANAR"
    sop: str = ""


def rtstruct(path: Path, rois: Sequence[RoiSpec], series: Sequence[str] = (CT,), frame: str = FRAME) -> Path:
    """Write an RTSTRUCT that refers to series in a frame of reference."""
    dataset = _object("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3", path.stem)
    reference = Dataset()
    reference.FrameOfReferenceUID = frame
    study = Dataset()
    study.RTReferencedSeriesSequence = Items([_series(uid) for uid in series])
    reference.RTReferencedStudySequence = Items([study])
    dataset.ReferencedFrameOfReferenceSequence = Items([reference])
    dataset.StructureSetROISequence = Items([_named(n, roi.name, frame) for n, roi in enumerate(rois, 1)])
    dataset.ROIContourSequence = Items([_contours(n, roi) for n, roi in enumerate(rois, 1)])
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _object(modality: str, sop_class: str, uid: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4." + str(
        int.from_bytes(uid.encode()[:6], "big")
    )
    dataset.Modality = modality
    return dataset


def _series(uid: str) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    return item


def _named(number: int, name: str, frame: str) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = number, name
    if frame:
        item.ReferencedFrameOfReferenceUID = frame
    return item


def _contours(number: int, roi: RoiSpec) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = number
    item.ContourSequence = Items([_contour(points, roi) for points in roi.contours])
    return item


def _contour(points: np.ndarray, roi: RoiSpec) -> Dataset:
    item = Dataset()
    item.ContourGeometricType = roi.kind
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.4f}" for value in np.ravel(points)]
    if roi.sop:
        image = Dataset()
        image.ReferencedSOPInstanceUID = roi.sop
        item.ContourImageSequence = Items([image])
    return item


def fractional_seg(path: Path, stored: np.ndarray, kind: str, full: int) -> Path:
    """Write a fractional SEG of one segment `GTV` on the PET's voxels.

    Args:
        path: The file.
        stored: Pixels (z, y, x), uint8, a frame for each slice from the first on.
        kind: (0062,0010), `OCCUPANCY` or `PROBABILITY`.
        full: (0062,000E), the value that stands for 1.
    """
    dataset = _object("SEG", "1.2.840.10008.5.1.4.1.1.66.4", path.stem)
    dataset.SegmentationType, dataset.SegmentationFractionalType = "FRACTIONAL", kind
    dataset.MaximumFractionalValue = full
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = stored.tobytes()
    dataset.ReferencedSeriesSequence = Items([_series(PET)])
    segment, shared, orientation, measures, number = (Dataset() for _ in range(5))
    segment.SegmentNumber, segment.SegmentLabel = 1, "GTV"
    number.ReferencedSegmentNumber = 1
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = list(PET_GRID.spacing_mm[1:])
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([orientation]), Items([measures])
    shared.SegmentIdentificationSequence = Items([number])
    dataset.SegmentSequence, dataset.SharedFunctionalGroupsSequence = Items([segment]), Items([shared])
    x, y, z = PET_GRID.origin_mm
    frames = []
    for k in range(len(stored)):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [x, y, z + k * PET_GRID.spacing_mm[0]]
        frame.PlanePositionSequence = Items([position])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def patient(folder: Path, rtstructs: Sequence[Path] = (), segs: Sequence[Path] = ()) -> ContourSources:
    """A patient with converted images on `CT_GRID` and `PET_GRID` and an index of contour files."""
    convert, suv, index = folder / "convert", folder / "suv", folder / "index"
    write_nifti(convert / "ct_hu.nii.gz", Volume(np.zeros(CT_GRID.shape, np.int16), CT_GRID))
    pet = np.ones(PET_GRID.shape, np.float32)
    pet[4:6, 4:6, 4:6] = 10.0
    write_nifti(convert / "pet_stored.nii.gz", Volume(pet, PET_GRID))
    write_nifti(suv / "pet_suvbw.nii.gz", Volume(pet, PET_GRID))
    write_status(convert, Status("ok", "convert"))
    write_status(suv, Status("ok", "suv"))
    row = SeriesRow("CT", CT, "1.2", FRAME, "", 10, SeriesGeometry(), "ct", True, "")
    rows = [row, replace(row, modality="PT", series_uid=PET, role="pet")]
    files: dict[str, tuple[Path, ...]] = {CT: (), PET: ()}
    for role, paths in (("rtstruct", rtstructs), ("seg", segs)):
        for number, path in enumerate(paths):
            uid = f"1.2.9.{role}.{number}"
            rows.append(replace(row, modality=role.upper(), series_uid=uid, role=role))
            files[uid] = (path,)
    index.mkdir(parents=True, exist_ok=True)
    write_index(index, Index("P1", folder, tuple(rows), files))
    write_status(index, Status("ok", "index"))
    return ContourSources("P1", index, convert, suv)


def sts_patient(name: str, folder: Path) -> Path:
    """Unpack one sarcoma patient; returns its folder."""
    with tarfile.open(DATA / "sts" / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


def sampled_mask(contours: Sequence[np.ndarray], grid: Grid, samples: int) -> np.ndarray:
    """The same convention by counting sample points (`samples`² per voxel) on axial slices.

    Written apart from the product: every edge toggles all sample points on its right, one
    edge after the other; a voxel is in where more than half of its points are. For contours
    that lie on slices.
    """
    mask = np.zeros(grid.shape, dtype=bool)
    by_slice: dict[int, list[np.ndarray]] = {}
    for points in contours:
        index = (points - np.array(grid.origin_mm)) / np.array(grid.spacing_mm[::-1])
        by_slice.setdefault(round(float(index[0, 2])), []).append(index[:, :2])
    for k, polygons in by_slice.items():
        inside = np.zeros((grid.shape[1] * samples, grid.shape[2] * samples), dtype=bool)
        xs = (np.arange(grid.shape[2] * samples) + 0.5) / samples - 0.5
        for polygon in polygons:
            for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                low, high = sorted(((y0, x0), (y1, x1)))
                first = int(np.ceil((low[0] + 0.5) * samples - 0.5))
                last = int(np.ceil((high[0] + 0.5) * samples - 0.5))
                for line in range(max(first, 0), min(last, len(inside))):
                    y = (line + 0.5) / samples - 0.5
                    x = low[1] + (y - low[0]) * (high[1] - low[1]) / (high[0] - low[0])
                    inside[line, np.searchsorted(xs, x) :] ^= True
        blocks = inside.reshape(grid.shape[1], samples, grid.shape[2], samples)
        mask[k] = blocks.sum(axis=(1, 3)) * 2 > samples**2
    return mask


def with_roi(sources, roi):
    return ContourSources("P1", sources.index, sources.convert, sources.suv, roi)


def write_mask(path, grid, array=None):
    if array is None:
        array = np.zeros(grid.shape, np.uint8)
        array[2:4, 2:5, 3:7] = 1
    write_nifti(path, Volume(array, grid))
    return array


LESION = [square(-4.5, 5.5, z, -14.5, -4.5) for z in (109.0, 112.0, 115.0)]  # 100 CT voxels a slice


def run(sources, out, **settings):
    """Make a patient's masks; returns `contours.json`."""
    contours_patient(sources, out, ContourSettings(**settings), "stop")
    return json.loads((out / "contours.json").read_text())


def masks(out):
    """The masks in a folder by file name."""
    return {path.name: read_nifti(path) for path in sorted(out.glob("*.nii.gz"))}


def refused(tmp_path, sources, match, **settings):
    """The message of a patient that is refused."""
    with pytest.raises(ContourError, match=match) as caught:
        run(sources, tmp_path / "out", **settings)
    return str(caught.value)
