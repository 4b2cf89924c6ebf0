"""Sarcoma patients: RTSTRUCTs of a clinic through index, convert and contours.

The masks are held against a second implementation of the same convention (`sampled_mask`,
written for the tests), against eight-fold supersampling by scikit-image, and against the area
of the polygons themselves.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.contours.roi import dice
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import read_nifti
from tests.dicom.contours.contour_helpers import DATA, sampled_mask, sts_patient

pytestmark = pytest.mark.skipif(not (DATA / "sts").is_dir(), reason="shared data not present")
FEW = ("STS_003", "STS_008", "STS_019")
ALL = tuple(f"STS_{number:03d}" for number in range(2, 32))


def contours_of(name, folder):
    """Run a patient through; returns the report and the folder of its masks."""
    images = sts_patient(name, folder)
    index_patient(PatientFiles(name, images), IndexSettings(), folder / "index", "stop")
    convert_patient(folder / "index", folder / "convert", ConvertSettings(), "stop")
    write_status(folder / "suv", Status("ok", "suv"))
    sources = ContourSources(name, folder / "index", folder / "convert", folder / "suv")
    contours_patient(sources, folder / "out", ContourSettings(), "stop")
    return json.loads((folder / "out/contours.json").read_text())


@cache
def polygons(path: Path):
    """Contours by pydicom's own number objects, not by the product's parser."""
    items = dcmread(path).ROIContourSequence[0].ContourSequence
    return [np.array([float(v) for v in item.ContourData]).reshape(-1, 3) for item in items]


def shoelace_ml(contours, grid):
    """Area × distance of slices; contours on one slice are separate or, if inside, holes."""
    from skimage.measure import points_in_poly

    total = 0.0
    for points in contours:
        x, y = (points[:, :2] - points[0, :2]).T
        others = [p for p in contours if p is not points and abs(p[0, 2] - points[0, 2]) < 0.1]
        holes = sum(points_in_poly(points[:1, :2], other[:, :2])[0] for other in others)
        total += (-1) ** holes * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return total * grid.spacing_mm[0] / 1000


def supersampled(contours, grid, factor):
    """More than half of factor² sub-pixels, by scikit-image's point-in-polygon; XOR per slice."""
    from skimage.draw import polygon

    mask = np.zeros(grid.shape, dtype=bool)
    fine: dict[int, np.ndarray] = {}
    for points in contours:
        index = (points - np.array(grid.origin_mm)) / np.array(grid.spacing_mm[::-1])
        shape = (grid.shape[1] * factor, grid.shape[2] * factor)
        where = fine.setdefault(round(float(index[0, 2])), np.zeros(shape, dtype=bool))
        rows, columns = ((index[:, axis] + 0.5) * factor - 0.5 for axis in (1, 0))
        inside = polygon(rows, columns, shape)
        where[inside] ^= True
    for k, where in fine.items():
        blocks = where.reshape(grid.shape[1], factor, grid.shape[2], factor)
        mask[k] = blocks.mean(axis=(1, 3)) > 0.5
    return mask


def compare(name, folder):
    """Dice with the second implementation on CT and PET, with supersampling on the PET; volumes."""
    report = contours_of(name, folder)
    # A mask that its voxels make 3 % smaller than its contours is told of (STS_019 on the PET: 3.1 %).
    others = [text for text in report["warnings"] if "differs by" not in text]
    assert not others, others
    figures = {}
    for kind in ("ct", "pet"):
        mask = read_nifti(folder / f"out/gtv_{kind}.nii.gz")
        contours = polygons(folder / name / kind.upper() / "mask/RS.dcm")
        expected = sampled_mask(contours, mask.grid, 15)
        figures[kind] = dice(mask.array > 0, expected)
        entry = report["masks"][kind]
        assert [roi["name"] for roi in entry["rois"]] == [f"GTV_Mass_{kind.upper()}"]
        # STS_019's PET contours lie up to 0.04 mm off its slices: 0.2 % of the thickness.
        assert entry["rois"][0]["volume_polygons_ml"] == pytest.approx(
            shoelace_ml(contours, mask.grid), rel=3e-3
        )
        figures[f"{kind}_volume"] = entry["volume_mask_ml"] / entry["rois"][0]["volume_polygons_ml"] - 1
        if kind == "pet":
            figures["supersampled"] = dice(mask.array > 0, supersampled(contours, mask.grid, 8))
    return figures


@pytest.mark.parametrize("name", FEW)
def test_real_contours_agree_with_a_second_implementation(name, tmp_path):
    # STS_003 refers to 267 slices of which 51 are here; STS_019 is the smallest lesion.
    figures = compare(name, tmp_path)
    assert figures["ct"] >= 0.995 and figures["pet"] >= 0.995
    assert figures["supersampled"] >= 0.97
    assert abs(figures["ct_volume"]) < 0.01 and abs(figures["pet_volume"]) < 0.04


@pytest.mark.nightly
def test_all_thirty_patients(tmp_path, capsys):
    by_patient = {name: compare(name, tmp_path / name) for name in ALL}
    with capsys.disabled():
        for key in ("ct", "pet", "supersampled", "ct_volume", "pet_volume"):
            values = sorted(figures[key] for figures in by_patient.values())
            print(
                f"\n{key}: least {values[0]:.4f}, median {median(values):.4f}, most {values[-1]:.4f}", end=""
            )
    assert all(min(figures["ct"], figures["pet"]) >= 0.995 for figures in by_patient.values())
    assert all(figures["supersampled"] >= 0.97 for figures in by_patient.values())
    assert median(figures["supersampled"] for figures in by_patient.values()) >= 0.99
    assert all(abs(figures["ct_volume"]) < 0.01 for figures in by_patient.values())
    assert all(abs(figures["pet_volume"]) < 0.04 for figures in by_patient.values())
