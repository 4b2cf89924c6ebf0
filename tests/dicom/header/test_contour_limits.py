"""RTSTRUCTs larger than anybody draws are refused before memory or hours are spent."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pipeline.dicom.header.contour_limits import ContourLimits
from pipeline.dicom.header.rtstruct import read_rtstruct
from pipeline.errors import ContourError
from tests.dicom.contours.contour_helpers import RoiSpec, rtstruct, square


def ring(z, n):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([10 * np.cos(angle), 10 * np.sin(angle), np.full(n, z)], 1)


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        (ContourLimits(file_mib=0), "max_file_mib"),
        (ContourLimits(contours=9), "max_contours"),
        (ContourLimits(points=500), "max_points"),
        (ContourLimits(per_plane=4), "max_contours_per_plane"),
        # Five squares of 4 points in one plane: 5 × 20.
        (ContourLimits(comparisons=99), "max_comparisons"),
    ],
)
def test_each_limit_names_its_setting(tmp_path, limits, setting):
    drawn = [ring(z, 100) for z in range(5)] + [square(0.5 * n, 5, 9) for n in range(5)]
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("G", drawn), RoiSpec("Other", [square(0, 1, 1)])])
    assert len(read_rtstruct(path, ["*"]).rois) == 2
    with pytest.raises(ContourError, match=rf"contours\.{setting} "):
        read_rtstruct(path, ["g"], limits=limits)
    if setting != "max_file_mib":  # an ROI that is not asked for doesn't count
        assert len(read_rtstruct(path, ["other"], limits=limits).rois) == 1


def test_two_thousand_contours_over_one_another_are_refused_in_seconds(tmp_path):
    drawn = [square(0.01 * n, 5, 1) for n in range(2000)]
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("G", drawn)])
    start = time.perf_counter()
    with pytest.raises(ContourError, match="2000"):
        read_rtstruct(path, ["g"])
    assert time.perf_counter() - start < 20


def test_nested_contours_of_many_points_are_refused_at_once():
    circles = [ring(0, 20_000) * radius for radius in range(10, 70)]
    with pytest.raises(ContourError, match="72000000"):  # 60 contours × 60 × 20,000 points
        ContourLimits().require_points(circles, "ROI")
    ContourLimits().require_points(
        [ring(z, 20_000) for z in range(200)], "ROI"
    )  # one a plane: nothing to compare
