"""Contours by plane, and the slab that each plane stands for."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.contours.planes import group_planes
from pipeline.errors import ContourError
from tests.dicom.contours.contour_helpers import square


def test_no_contour_is_refused():
    with pytest.raises(ContourError, match="no closed contours"):
        group_planes([], 3.0)


def test_slabs_reach_half_way_to_neighbours_and_not_across_gaps():
    # Index space with slices of 3 mm: planes at 0, 1, 2 and 4, of which 3 is missing.
    planes = group_planes([square(2.5, 6.5, z) for z in (0.0, 1.0, 2.0, 4.0)], 3.0)
    assert np.allclose(planes.positions, [0, 1, 2, 4]) and planes.step == 1.0 and planes.gaps == 1
    assert np.allclose(planes.lower, [-0.5, 0.5, 1.5, 3.5]) and np.allclose(
        planes.upper, [0.5, 1.5, 2.5, 4.5]
    )


def test_contours_closer_than_a_tenth_of_a_millimetre_lie_in_one_plane():
    planes = group_planes([square(0, 1, 0.0), square(4, 5, 0.03), square(8, 9, 0.2)], 3.0)
    assert [len(polygons) for polygons in planes.polygons] == [2, 1]
