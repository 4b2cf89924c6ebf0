"""Contours against the analytic tumour, and the structure set that holds them."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from skimage.draw import polygon

from pipeline.phantoms.anatomy import TumourSolid
from pipeline.phantoms.patient import rigid_matrix
from pipeline.phantoms.phantom import cohort, tumour_mask, write_patient
from pipeline.phantoms.scanner import image_grid
from pipeline.phantoms.structures import contours
from pipeline.phantoms.tumour import TumourField
from pipeline.settings.phantom import PhantomSettings

SETTINGS = PhantomSettings()
PATIENT = "P004"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / PATIENT
    write_patient(PATIENT, SETTINGS, out)
    return out


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict:
    return json.loads((folder / "truth/truth.json").read_text())


def slices(folder: Path) -> list[pydicom.FileDataset]:
    read = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    return sorted(read, key=lambda data: float(data.ImagePositionPatient[2]))


def test_contours_enclose_the_analytic_volume(folder: Path, truth: dict) -> None:
    data = pydicom.dcmread(folder / "dicom/RTSTRUCT/rs.dcm")
    names = {item.ROINumber: item.ROIName for item in data.StructureSetROISequence}
    assert set(names.values()) == {"GTVp", "BRAIN"}
    volumes = {}
    for roi in data.ROIContourSequence:
        area = 0.0
        for contour in roi.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            x, y, z = np.array(contour.ContourData, dtype=float).reshape(-1, 3).T
            assert np.ptp(z) == 0
            assert len(x) == contour.NumberOfContourPoints
            area += abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2  # shoelace
        volumes[names[roi.ReferencedROINumber]] = area * SETTINGS.ct_spacing_mm[0] / 1000
    assert volumes["GTVp"] == pytest.approx(truth["volume_ml"], rel=0.02)
    # The brain's ellipsoid: 4/3 π · 60 · 73 · 43 mm³
    assert volumes["BRAIN"] == pytest.approx(4 / 3 * np.pi * 60 * 73 * 43 / 1000, rel=0.005)


def test_structure_set_refers_to_this_ct(folder: Path) -> None:
    ct = slices(folder / "dicom/CT")
    known = {data.SOPInstanceUID: float(data.ImagePositionPatient[2]) for data in ct}
    data = pydicom.dcmread(folder / "dicom/RTSTRUCT/rs.dcm")
    (frame,) = data.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == ct[0].FrameOfReferenceUID
    assert series.SeriesInstanceUID == ct[0].SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence} == set(known)
    for roi in data.ROIContourSequence:
        for contour in roi.ContourSequence:
            z = known[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert float(contour.ContourData[2]) == pytest.approx(z, abs=1e-3)


def rasterise(drawn: list, grid, fine: int = 8) -> np.ndarray:
    """Voxels more than half inside contours, by another implementation (scikit-image)."""
    mask = np.zeros(grid.shape, dtype=bool)
    for index, points in drawn:
        rows, columns = grid.indices(points)[:, 1], grid.indices(points)[:, 2]
        shape = (grid.shape[1] * fine, grid.shape[2] * fine)
        plane = np.zeros(shape)
        plane[polygon((rows + 0.5) * fine - 0.5, (columns + 0.5) * fine - 0.5, shape)] = 1
        mask[index] |= plane.reshape(grid.shape[1], fine, grid.shape[2], fine).mean(axis=(1, 3)) > 0.5
    return mask


def test_contours_make_the_analytic_mask() -> None:
    by_size = sorted(cohort(SETTINGS), key=lambda p: p.tumour.volume_ml)
    for patient in (*by_size[:3], by_size[40], *by_size[-2:]):
        grid = image_grid(patient, SETTINGS.ct_shape, SETTINGS.ct_spacing_mm)
        rigid, field = rigid_matrix(patient), TumourField(patient.tumour)
        mask = tumour_mask(field, grid, rigid).astype(bool)
        drawn = rasterise(contours(TumourSolid(field), grid, rigid), grid)
        assert 2 * (mask & drawn).sum() / (mask.sum() + drawn.sum()) >= 0.97, patient.patient_id


def test_nodes_are_a_region_and_a_class_of_their_own(tmp_path: Path) -> None:
    settings = PhantomSettings(contour_nodes=True)
    write_patient(PATIENT, settings, tmp_path / PATIENT)
    truth = json.loads((tmp_path / PATIENT / "truth/truth.json").read_text())
    data = pydicom.dcmread(tmp_path / PATIENT / "dicom/RTSTRUCT/rs.dcm")
    names = {item.ROINumber: item.ROIName for item in data.StructureSetROISequence}
    (nodes,) = (r for r in data.ROIContourSequence if names[r.ReferencedROINumber] == "GTVn")
    area = 0.0
    for contour in nodes.ContourSequence:
        x, y, _ = np.array(contour.ContourData, dtype=float).reshape(-1, 3).T
        area += abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    spheres = sum(4 / 3 * np.pi * node["radius_mm"] ** 3 for node in truth["nodes"])
    # Slices of 3 mm through spheres of 10 to 16 mm: the sum over planes errs by some percent.
    assert area * settings.ct_spacing_mm[0] == pytest.approx(spheres, rel=0.08)
