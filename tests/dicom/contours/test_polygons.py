"""Areas of polygons under the even-odd rule."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.contours.polygons import plane_areas

UNIT = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def test_areas_by_corners():
    areas = plane_areas([UNIT * 4, UNIT * 2 + 1, UNIT * 0.5 + 1.5, UNIT + 9])
    assert (areas.even_odd, areas.outer) == pytest.approx((16 - 4 + 0.25 + 1, 16 + 1))
