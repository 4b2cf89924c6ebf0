"""Lesions of one ROI that are drawn on planes of their own: solids of known volume."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.contours.rasterise import rasterise
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import RoiSpec, patient, rtstruct, run, square

EVERY = tuple(16.0 + 4.0 * n for n in range(9))
EVEN, ODD = EVERY[::2], EVERY[1::2]
CIRCLE = np.linspace(0, 2 * np.pi, 180, endpoint=False)


def grid():
    """Slices of 4 mm at z = 0, 4, …; voxels of 1 mm."""
    return Grid((20, 60, 60), (4.0, 1.0, 1.0), (-30.0, -30.0, 0.0))


def cylinder(heights, x, y=0.0, radius=6.0):
    """Circles at heights, all of one radius."""
    return [
        np.stack([x + radius * np.cos(CIRCLE), y + radius * np.sin(CIRCLE), np.full(180, z)], axis=1)
        for z in heights
    ]


def ml(height, radius=6.0):
    """Volume of a cylinder: π r² h."""
    return np.pi * radius**2 * height / 1000


@pytest.mark.parametrize(
    ("first", "second", "volume"),
    [
        (cylinder(EVERY, -8), cylinder(EVERY, 8), 2 * ml(36)),
        (cylinder(EVEN, -8), cylinder(ODD, 8), ml(40) + ml(32)),
        (cylinder(EVEN, -8), cylinder((12.0, *ODD), 8), 2 * ml(40)),
        (cylinder(EVERY, -8), cylinder(EVEN, 8), ml(36) + ml(40)),
        # Beside each other with boxes that overlap: centres 14 mm apart along the diagonal.
        (cylinder(EVERY, -5, -5), cylinder(EVEN, 5, 5), ml(36) + ml(40)),
        # One above the other, each with its own distance, 24 mm between them.
        (cylinder((4.0, 8.0, 12.0, 16.0), 0), cylinder((40.0, 48.0, 56.0, 64.0), 2), ml(16) + ml(32)),
        # The upper one on every third slice and 12 mm above the other, as far as its own planes are apart.
        (cylinder((4.0, 8.0, 12.0, 16.0), 0), cylinder((28.0, 40.0, 52.0), 2), ml(16) + ml(36)),
        (cylinder((4.0, 16.0, 28.0), 2), cylinder((40.0, 44.0, 48.0, 52.0), 0), ml(36) + ml(16)),
    ],
    ids=[
        "alike",
        "even and odd",
        "even and odd, as long",
        "every and every second",
        "diagonal",
        "above",
        "every third above",
        "every third below",
    ],
)
def test_each_lesion_of_an_roi_has_its_own_distance_of_planes(first, second, volume):
    both = rasterise(first + second, grid(), 15)
    assert both.polygon_ml == pytest.approx(volume, rel=2e-3)
    assert both.shares.values.sum() * 0.004 == pytest.approx(volume, rel=2e-3)
    alone = [rasterise(contours, grid(), 15).mask for contours in (first, second)]
    assert np.array_equal(both.mask, alone[0] | alone[1])
    assert both.outside_share < 1e-12 and both.crossing_planes == 0


@pytest.mark.parametrize("lost", [(24.0, 28.0), (20.0, 28.0), (44.0, 36.0)], ids=str)
def test_one_lesion_with_planes_lost_is_not_filled(lost):
    # Gaps of one or two planes, be they alike, are no distance of their own: each plane stands for one slice.
    kept = [z for z in EVERY if z not in lost]
    rasterised = rasterise(cylinder(kept, 0), grid(), 15)
    assert rasterised.polygon_ml == pytest.approx(ml(4 * len(kept)), rel=2e-3)
    assert rasterised.planes.gaps > 0


def test_holes_keep_the_slab_of_their_outline():
    # A ring on every second slice beside a disc on every slice: π (8² - 4²) 40 and π 6² 36 mm³.
    ring = cylinder(EVEN, -9, radius=8.0) + cylinder(EVEN, -9, radius=4.0)
    rasterised = rasterise(ring + cylinder(EVERY, 10), grid(), 15)
    assert rasterised.polygon_ml == pytest.approx(ml(40, 8.0) - ml(40, 4.0) + ml(36), rel=2e-3)
    assert rasterised.crossing_planes == 0 and rasterised.planes.gaps == 0


@pytest.mark.parametrize("aside", [0.0, 0.15, -0.15, 0.5], ids=str)
@pytest.mark.parametrize("holes", [EVERY, EVERY[4:5]], ids=["all", "one"])
def test_holes_and_islands_beside_the_plane_of_their_outline_are_on_it(aside, holes):
    # π 16² 36 less π 8² 4 for each hole, and π 4² 4 for its island; before, 18 and 8.7 mL for the 21.7 of all holes.
    outline = cylinder(EVERY, 0, radius=16.0)
    inside = cylinder([z + aside for z in holes], 0, radius=8.0)
    islands = cylinder([z - aside for z in holes], 0, radius=4.0)
    volume = ml(36, 16.0) - len(holes) * ml(4, 8.0)
    pierced = rasterise(outline + inside, grid(), 15)
    assert pierced.polygon_ml == pytest.approx(volume, rel=2e-3)
    assert np.array_equal(pierced.mask, rasterise(outline + cylinder(holes, 0, radius=8.0), grid(), 15).mask)
    filled = rasterise(outline + inside + islands, grid(), 15)
    assert filled.polygon_ml == pytest.approx(volume + len(holes) * ml(4, 4.0), rel=2e-3)
    assert pierced.planes.beside == filled.planes.beside == 0


def test_a_contour_further_beside_the_plane_of_its_outline_is_told():
    outline, inside = cylinder(EVERY, 0, radius=16.0), cylinder([33.0], 0, radius=8.0)
    assert rasterise(outline + inside, grid(), 15).planes.beside == 1
    assert rasterise(outline + cylinder([33.0], 0, radius=16.0), grid(), 15).planes.beside == 0


def test_a_lesion_on_dense_planes_ends_in_ever_smaller_contours():
    # A cone: planes of 1 mm on slices of 4 mm, radii from 16 down to 2; π/3 h (R² + R r + r²), by slabs of 1 mm.
    heights = [16.0 + n for n in range(15)]
    cone = [cylinder([z], 0, radius=16.0 - n)[0] for n, z in enumerate(heights)]
    rasterised = rasterise(cone, grid(), 15)
    assert rasterised.polygon_ml == pytest.approx(sum(ml(1, 16.0 - n) for n in range(15)), rel=2e-3)
    assert rasterised.planes.beside == 0


def test_a_missing_plane_is_told_where_another_lesion_has_a_contour_at_its_height():
    missing = [z for z in EVERY if z != 28.0]
    rasterised = rasterise(cylinder(missing, -8) + cylinder(EVERY, 8), grid(), 15)
    assert rasterised.planes.gaps == 1
    assert rasterised.polygon_ml == pytest.approx(ml(32) + ml(36), rel=2e-3)  # nothing is filled in


def test_two_planes_of_a_small_lesion_are_not_joined_over_a_slice_that_the_large_one_has():
    rasterised = rasterise(cylinder(EVERY, -8) + cylinder((28.0, 36.0), 8), grid(), 15)
    assert rasterised.planes.gaps == 1
    assert rasterised.polygon_ml == pytest.approx(ml(36) + ml(8), rel=2e-3)


def test_a_lobe_that_ends_below_a_bulge_misses_no_plane():
    # The body widens over where the lobe was, one slice after the lobe has ended.
    body = [*cylinder(EVERY[:5], -8), *cylinder(EVERY[5:], 0, radius=16.0)]
    rasterised = rasterise(body + cylinder(EVERY[:4], 8), grid(), 15)
    assert rasterised.planes.gaps == 0
    assert rasterised.polygon_ml == pytest.approx(ml(20) + ml(16, 16.0) + ml(16), rel=2e-3)


def test_the_mask_of_a_patient_with_two_lesions_on_planes_of_their_own(tmp_path):
    # CT voxels of 1 × 1 × 3 mm, squares of 64 voxels: five slices of 3 mm, and three that stand for 6 mm each, of
    # whose outermost slices just one half is inside, which is out.
    every = [square(-18.5, -10.5, 100.0 + 3.0 * n, -24.5, -16.5) for n in range(1, 6)]
    second = [square(-4.5, 3.5, 100.0 + 3.0 * n, -14.5, -6.5) for n in (1, 3, 5)]
    path = rtstruct(tmp_path / "rs.dcm", [RoiSpec("GTV", every + second)])
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    entry = report["masks"]["ct"]["rois"][0]
    assert entry["volume_polygons_ml"] == pytest.approx((5 * 3 + 3 * 6) * 64 / 1000)
    assert entry["voxels"] == 10 * 64 and entry["planes"] == 5
