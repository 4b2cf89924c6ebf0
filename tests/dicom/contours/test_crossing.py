"""Which polygons of a plane cross, and which of them are one solid."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pipeline.dicom.contours import crossing as module
from pipeline.dicom.contours.crossing import any_cross, share_inside, solids_of

UNIT = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def test_polygons_cross_where_neither_contains_the_other():
    # Squares of side 4 at 0, inside it, apart from it, touching it, and over its corner.
    outer = UNIT * 4
    assert not any_cross([outer, UNIT + 1]) and not any_cross([outer, UNIT + 9])
    assert not any_cross([outer, UNIT * 4 + [4, 0]])
    assert any_cross([outer, UNIT * 4 + 2])


def ring(corners: int, radius: float, x: float = 0.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + radius * np.cos(angle), radius * np.sin(angle)], axis=1)


@pytest.mark.parametrize(("radius", "x", "cross"), [(20.0, 7.3, True), (10.0, 5.0, False)])
def test_contours_of_many_corners_ask_for_little_memory(radius, x, cross):
    # All pairs of 20,000 edges would be 4e8, of several GiB.
    tracemalloc.start()
    assert any_cross([ring(20_000, 20.0), ring(20_000, radius, x)]) == cross
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 << 20


@pytest.mark.parametrize("at_once", [1, 7, 500_000])
def test_polygons_cross_where_any_two_edges_do(monkeypatch, at_once):
    """Each pair of edges by itself: the corners of each lie strictly on both sides of the other."""
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    random = np.random.default_rng(3)
    seen = []
    for _ in range(60):
        drawn = [
            random.integers(-6, 7, (5, 2)) / random.integers(1, 4) + random.integers(-3, 4, 2) for _ in "abc"
        ]
        expected = any(
            _edges_cross(*first, *second)
            for i, one in enumerate(drawn)
            for other in drawn[i + 1 :]
            for first in zip(one, np.roll(one, -1, axis=0), strict=True)
            for second in zip(other, np.roll(other, -1, axis=0), strict=True)
        )
        assert any_cross(drawn) == expected
        seen.append(expected)
    assert 5 < sum(seen) < 55


def _edges_cross(a, b, c, d) -> bool:
    def turn(p, q, r):
        return round(float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])), 6)

    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def test_the_share_of_one_polygon_inside_another():
    assert share_inside(UNIT * 4, UNIT * 4 + [3, 0]) == pytest.approx(1 / 4)
    assert share_inside(UNIT * 2, UNIT * 8 - 1) == 1.0 and share_inside(UNIT, UNIT + 5) == 0.0
    # Two circles of radius 10 at a distance of 12 share 2 r² acos(d / 2r) - d / 2 √(4 r² - d²) = 89.46 of 314.2.
    assert share_inside(ring(360, 10.0), ring(360, 10.0, 12.0)) == pytest.approx(0.2848, abs=0.01)


@pytest.mark.parametrize(
    ("polygons", "solids"),
    [
        ([UNIT * 4, UNIT * 4 + 2], [0, 0]),
        ([UNIT * 4, UNIT * 4 + [4, 0]], [0, 1]),
        ([UNIT * 4, UNIT * 2 + 1], [0, 1]),
        # A hole along the outline, and one whose rim is a twentieth outside it.
        ([UNIT * 4, UNIT * 2 + [2, 1]], [0, 1]),
        ([UNIT * 4, UNIT * 2 + [2.1, 1]], [0, 1]),
        # Three in a row, the last two first: the middle one joins them.
        ([UNIT * 4, UNIT * 4 + [6, 0], UNIT * 4 + [3, 0]], [0, 0, 0]),
        ([UNIT * 4, UNIT * 4 + 2, UNIT * 2 + 20, UNIT + 1], [0, 0, 2, 3]),
    ],
    ids=["across", "touching", "hole", "hole at the rim", "hole over the rim", "three", "beside others"],
)
def test_polygons_that_overlap_are_one_solid_and_holes_are_not(polygons, solids):
    assert solids_of(polygons) == solids
