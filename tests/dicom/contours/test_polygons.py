"""Areas of polygons under the even-odd rule, and which polygons cross."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.contours.polygons import any_cross, xor_area

UNIT = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def test_areas_by_corners():
    assert xor_area([UNIT * 4, UNIT * 2 + 1, UNIT * 0.5 + 1.5, UNIT + 9]) == pytest.approx(16 - 4 + 0.25 + 1)


def test_polygons_cross_where_neither_contains_the_other():
    # Squares of side 4 at 0, inside it, apart from it, touching it, and over its corner.
    outer = UNIT * 4
    assert not any_cross([outer, UNIT + 1]) and not any_cross([outer, UNIT + 9])
    assert not any_cross([outer, UNIT * 4 + [4, 0]])
    assert any_cross([outer, UNIT * 4 + 2])
