"""Contours of analytic solids as a DICOM RT structure set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pipeline.phantoms.canvas import Solid, VoxelCanvas
from pipeline.phantoms.headers import PhantomStudy, dicom_date, dicom_time, save
from pipeline.phantoms.images import CT_STORAGE, PET_STORAGE, instance
from pipeline.phantoms.scanner import timing
from pipeline.phantoms.tumour import FloatArray
from pipeline.volumes.volume import Grid

RTSTRUCT_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
Contours = list[tuple[int, FloatArray]]


def contours(solid: Solid, grid: Grid, rigid: FloatArray, step_mm: float = 1.0) -> Contours:
    """Closed planar contours of a solid on every slice of a grid.

    Args:
        solid: What is drawn, in template space.
        grid: The image it is drawn on.
        rigid: 4×4, template points to patient points (LPS mm).
        step_mm: Pitch of the lattice on which contours are found; a chord errs by
            pitch² / (8 · radius).

    Returns:
        (slice index, points (n, 3; LPS x, y, z in mm)) pairs; the first point is not repeated.
    """
    from contourpy import LineType, contour_generator

    canvas = VoxelCanvas(grid, rigid, edge_mm=1.0, fill=0.0)
    z_box = canvas.box(solid, 0)[0]
    centre = rigid[:3, :3] @ np.asarray(solid.centre_mm) + rigid[:3, 3]
    half = np.ceil(solid.reach_mm) + 2 * step_mm
    x, y = (np.arange(c - half, c + half + step_mm, step_mm) for c in centre[:2])
    contour_lines: Contours = []
    turn, shift = rigid[:3, :3].T, -rigid[:3, :3].T @ rigid[:3, 3]
    for index in range(z_box.start, z_box.stop):
        z = float(canvas.axes[2][index])
        plane = np.stack(np.broadcast_arrays(x[None, :], y[:, None], np.float64(z)))
        distance = solid.distance(np.tensordot(turn, plane, 1) + shift[:, None, None])
        generator = contour_generator(x, y, distance, line_type=LineType.Separate)
        for line in cast("list[FloatArray]", generator.lines(0.0)):
            # A closed line repeats its first point; fewer than three others enclose nothing.
            if len(line) > 3:
                points = np.column_stack([line[:-1], np.full(len(line) - 1, z)])
                contour_lines.append((index, np.round(points, 3)))
    return contour_lines


@dataclass(frozen=True)
class DrawnImage:
    """The image that contours were drawn on.

    Attributes:
        study: Its study.
        modality: (0008,0060) Modality, `CT` or `PT`.
        grid: Its grid.
    """

    study: PhantomStudy
    modality: Literal["CT", "PT"]
    grid: Grid


def write_structures(image: DrawnImage, rois: dict[str, Contours], path: Path) -> None:
    """Write regions of interest drawn on an image (PS3.3 A.19.3)."""
    study = image.study
    data = study.header("RTSTRUCT", RTSTRUCT_STORAGE, timing(study.patient).study)
    data.SeriesNumber, data.SeriesDescription = 4, "Contours"
    data.InstanceNumber = 1
    data.StructureSetLabel, data.StructureSetName = "CONTOURS", "Contours"
    when = timing(study.patient).study
    data.StructureSetDate, data.StructureSetTime = dicom_date(when), dicom_time(when)
    data.ReferencedFrameOfReferenceSequence = Sequence([_frame(image)])
    data.StructureSetROISequence = Sequence(
        [_roi(study, number, name) for number, name in enumerate(rois, start=1)]
    )
    data.ROIContourSequence = Sequence(
        [_contour_item(image, number, drawn) for number, drawn in enumerate(rois.values(), start=1)]
    )
    data.RTROIObservationsSequence = Sequence(
        [_observation(number, name) for number, name in enumerate(rois, start=1)]
    )
    data.ApprovalStatus = "UNAPPROVED"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(data, study, "RTSTRUCT/1", path)


def _slice(image: DrawnImage, index: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = CT_STORAGE if image.modality == "CT" else PET_STORAGE
    item.ReferencedSOPInstanceUID = image.study.uid(instance(image.modality, index))
    return item


def _frame(image: DrawnImage) -> Dataset:
    study, series = image.study, Dataset()
    series.SeriesInstanceUID = study.uid(image.modality)
    series.ContourImageSequence = Sequence([_slice(image, index) for index in range(image.grid.shape[0])])
    parent = Dataset()
    parent.ReferencedSOPClassUID = STUDY_COMPONENT
    parent.ReferencedSOPInstanceUID = study.uid("study")
    parent.RTReferencedSeriesSequence = Sequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = study.uid("frame")
    frame.RTReferencedStudySequence = Sequence([parent])
    return frame


def _roi(study: PhantomStudy, number: int, name: str) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = number, name
    item.ReferencedFrameOfReferenceUID = study.uid("frame")
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    return item


def _contour_item(image: DrawnImage, number: int, drawn: Contours) -> Dataset:
    items = []
    for order, (index, points) in enumerate(drawn, start=1):
        item = Dataset()
        item.ContourNumber = order
        item.ContourImageSequence = Sequence([_slice(image, index)])
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(points)
        item.ContourData = [f"{value:.3f}" for value in points.ravel()]
        items.append(item)
    roi = Dataset()
    roi.ReferencedROINumber, roi.ROIDisplayColor = number, [255, 0, 0]
    roi.ContourSequence = Sequence(items)
    return roi


def _observation(number: int, name: str) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType = "GTV" if name.startswith("GTV") else "ORGAN"
    item.ROIInterpreter = ""
    return item
