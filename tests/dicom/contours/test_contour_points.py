"""Points of an RTSTRUCT's contours against the number that it states, (3006,0046)."""

from __future__ import annotations

import pytest
from pydicom import dcmread

from tests.dicom.contours.contour_helpers import LESION, RoiSpec, patient, refused, rtstruct, run


@pytest.mark.parametrize(
    ("kept", "number", "fine"), [(4, 4, True), (4, 5, False), (3, 4, False), (4, 3, False)]
)
def test_a_contour_has_as_many_points_as_it_says(tmp_path, kept, number, fine):
    # A contour cut to three of its four points would lose half of its 100 mm².
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)])
    dataset = dcmread(path)
    contour = dataset.ROIContourSequence[0].ContourSequence[1]
    contour.ContourData, contour.NumberOfContourPoints = contour.ContourData[: 3 * kept], number
    dataset.save_as(path)
    if fine:
        assert run(patient(tmp_path, [path]), tmp_path / "out")["masks"]["ct"]["voxels"] == 300
    else:
        message = refused(tmp_path, patient(tmp_path, [path]), "another number of points")
        assert f"{number} points" in message and f"got: {kept}" in message and "'GTV'" in message


def test_the_closing_point_may_count_or_not(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)])
    dataset = dcmread(path)
    for contour, number in zip(dataset.ROIContourSequence[0].ContourSequence, (4, 5, 5), strict=True):
        contour.ContourData, contour.NumberOfContourPoints = (
            [*contour.ContourData, *contour.ContourData[:3]],
            number,
        )
    dataset.save_as(path)
    assert run(patient(tmp_path, [path]), tmp_path / "out")["masks"]["ct"]["voxels"] == 300
