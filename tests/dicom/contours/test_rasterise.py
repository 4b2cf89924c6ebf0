"""Planar contours to masks: hand-calculated solids, an exact area, and real contours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.dicom.contours.rasterise import rasterise
from pipeline.errors import ContourError
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import sampled_mask, square

GRID = Grid((6, 20, 20), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def counts(contours, grid=GRID, lines=15):
    return rasterise(contours, grid, lines).mask.sum(axis=(1, 2)).tolist()


def test_squares_fill_the_voxels_they_cover_by_more_than_half():
    # Voxels 3..10 of 8 each way; an edge at 10.4 leaves voxel 10 covered by 0.9.
    assert counts([square(2.5, 10.5, 3.0)]) == [0, 64, 0, 0, 0, 0]
    assert counts([square(2.5, 10.4, 3.0)]) == [0, 64, 0, 0, 0, 0]
    assert counts([square(2.5, 9.9, 3.0)]) == [0, 49, 0, 0, 0, 0]


def test_a_voxel_covered_by_exactly_one_half_is_out():
    assert counts([square(2.5, 10.0, 3.0, 2.5, 10.5)]) == [0, 7 * 8, 0, 0, 0, 0]


def test_a_single_scan_line_runs_through_the_voxels_centres():
    mask = rasterise([square(2.5, 10.5, 3.0, 2.9, 6.9)], GRID, 1).mask[1]
    assert np.flatnonzero(mask.any(axis=1)).tolist() == [3, 4, 5, 6]


def test_a_contour_inside_another_is_a_hole_and_one_inside_that_an_island():
    outer, hole, island = square(2.5, 12.5, 6.0), square(4.5, 10.5, 6.0), square(6.5, 8.5, 6.0)
    rasterised = rasterise([outer, hole, island], GRID, 15)
    assert rasterised.mask[2].sum() == 100 - 36 + 4
    assert not rasterised.mask[2, 5, 5] and rasterised.mask[2, 7, 7]
    assert rasterised.polygon_ml == pytest.approx((100 - 36 + 4) * 3 / 1000)
    assert rasterised.crossing_planes == 0


def test_a_keyhole_is_the_same_as_a_hole():
    # PS3.3 C.8.8.6.3: one contour that goes in and out along the same line.
    hole = square(4.5, 10.5, 3.0)[::-1]
    outer = square(2.5, 12.5, 3.0)
    keyhole = np.concatenate([outer[:1], hole, hole[:1], outer[:1], outer[1:]])
    assert np.array_equal(
        rasterise([keyhole], GRID, 15).mask, rasterise([outer, square(4.5, 10.5, 3.0)], GRID, 15).mask
    )
    assert rasterise([keyhole], GRID, 15).polygon_ml == pytest.approx(64 * 3 / 1000)


def test_separate_contours_on_one_slice_are_both_in():
    assert counts([square(0.5, 4.5, 0.0), square(8.5, 12.5, 0.0)])[0] == 32


def test_contours_that_overlap_along_pixel_edges_are_counted():
    # 8 × 8 voxels twice, 5 apart: no edge crosses another at an angle. Their union is 13 × 8; XOR leaves 2 × 5 × 8.
    first, second = square(2.5, 10.5, 0.0, 2.5, 10.5), square(7.5, 15.5, 0.0, 2.5, 10.5)
    rasterised = rasterise([first, second], GRID, 15)
    assert rasterised.mask.sum() == 104
    assert rasterised.crossing_planes == rasterised.united_planes == 1
    by_type = rasterise([first, second], GRID, 15, unite=False)
    assert by_type.mask.sum() == 80 and (by_type.crossing_planes, by_type.united_planes) == (1, 0)
    assert by_type.polygon_ml == pytest.approx(80 * 3 / 1000)


CIRCLE = np.linspace(0, 2 * np.pi, 720, endpoint=False)


def circle(x, radius, z=6.0):
    return np.stack([x + radius * np.cos(CIRCLE), 20 + radius * np.sin(CIRCLE), np.full(720, z)], axis=1)


@pytest.mark.parametrize("apart", [12.0, 16.0, 19.0])
def test_contours_that_cross_enclose_their_union(apart):
    # Circles of 10 mm: 2 π r² less the lens r² 2 acos(d / 2r) - d / 2 √(4 r² - d²), 3 mm thick.
    lens = 200 * np.arccos(apart / 20) - apart / 2 * np.sqrt(400 - apart**2)
    volume = (200 * np.pi - lens) * 3 / 1000
    grid = Grid((6, 40, 50), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    # A hole of 2 mm where they overlap, and an apart circle of 3 mm, are what they are without the crossing.
    middle, aside = circle(12 + apart / 2, 2.0 if apart == 12 else 0.01), circle(45, 3.0)
    crossing = rasterise([circle(12, 10.0), circle(12 + apart, 10.0), middle, aside], grid, 31)
    rest = np.pi * (9 - (4 if apart == 12 else 0)) * 3 / 1000
    assert crossing.polygon_ml == pytest.approx(volume + rest, rel=2e-3)
    assert crossing.outer_ml == pytest.approx(volume + 9 * np.pi * 3 / 1000, rel=2e-3)
    assert crossing.shares.volume_ml(grid) == pytest.approx(volume + rest, rel=2e-3)
    assert crossing.united_planes == 1 and crossing.hollow_planes == 0
    xor = rasterise([circle(12, 10.0), circle(12 + apart, 10.0)], grid, 31, unite=False)
    assert xor.polygon_ml == pytest.approx((200 * np.pi - 2 * lens) * 3 / 1000, rel=2e-3)


def test_a_hole_whose_rim_reaches_over_the_outline_stays_a_hole():
    # 10 × 10 with a hole of 6 × 4, a tenth of a voxel of which lies outside: 100 - 4 × 5.9 + 4 × 0.1.
    outer, hole = square(2.5, 12.5, 6.0), square(6.6, 12.6, 6.0, 5.5, 9.5)
    rasterised = rasterise([outer, hole], GRID, 63)
    assert rasterised.polygon_ml == pytest.approx((100 - 23.6 + 0.4) * 3 / 1000, rel=2e-3)
    assert (rasterised.crossing_planes, rasterised.united_planes) == (1, 0)


def test_a_contour_that_crosses_itself_is_counted():
    # A bow tie of two triangles of 8 × 4 / 2 voxels; its corners' signed area is 0.
    bow = np.array([[2.5, 2.5, 0.0], [10.5, 10.5, 0.0], [10.5, 2.5, 0.0], [2.5, 10.5, 0.0]])
    assert rasterise([bow], GRID, 15).crossing_planes == 1
    for lines in (1, 3, 15):  # neither a keyhole nor coarse sampling of a small contour is a crossing
        for side in (1.3, 2.6, 8.0):
            assert rasterise([square(2.4, 2.4 + side, 0.0)], GRID, lines).crossing_planes == 0


def test_crossing_contours_are_counted():
    assert rasterise([square(2.5, 8.5, 0.0), square(5.5, 12.5, 0.0)], GRID, 15).crossing_planes == 1
    assert rasterise([square(2.5, 8.5, 0.0), square(8.5, 12.5, 0.0)], GRID, 15).crossing_planes == 0


def test_the_first_corner_and_the_direction_do_not_matter():
    points = np.array([[2.2, 3.1, 0], [14.7, 4.4, 0], [11.3, 15.9, 0], [8.1, 7.7, 0], [3.9, 13.2, 0]])
    expected = rasterise([points], GRID, 15).mask
    for turned in (np.roll(points, 2, axis=0), points[::-1], np.roll(points[::-1], 3, axis=0)):
        assert np.array_equal(rasterise([turned], GRID, 15).mask, expected)


def clipped_area(polygon, x0, x1, y0, y1):
    """Area of a polygon within a box, by Sutherland-Hodgman clipping: exact."""
    for axis, bound, keep_above in ((0, x0, True), (0, x1, False), (1, y0, True), (1, y1, False)):
        result = []
        for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            ins = [(p[axis] >= bound) == keep_above or p[axis] == bound for p in (a, b)]
            if ins[0]:
                result.append(a)
            if ins[0] != ins[1]:
                result.append(a + (b - a) * (bound - a[axis]) / (b[axis] - a[axis]))
        if len(result) < 3:
            return 0.0
        polygon = np.array(result)
    x, y = polygon.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@pytest.mark.parametrize("seed", range(4))
def test_star_shapes_agree_with_the_exact_area_of_every_voxel(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
    radius = rng.uniform(3, 9, 40)
    points = np.stack([9.5 + radius * np.cos(angle), 9.5 + radius * np.sin(angle), np.zeros(40)], axis=1)
    mask = rasterise([points], GRID, 63).mask[0]
    for j in range(20):
        for i in range(20):
            area = clipped_area(points[:, :2], i - 0.5, i + 0.5, j - 0.5, j + 0.5)
            if abs(area - 0.5) > 0.02:  # what 63 lines cannot tell apart
                assert mask[j, i] == (area > 0.5), (j, i, area)


def test_an_oblique_grid_gives_the_mask_of_the_straight_one():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    rows = tuple(tuple(float(v) for v in row) for row in turn)
    oblique = Grid(GRID.shape, GRID.spacing_mm, (11.0, -7.0, 40.0), rows)
    contours = [square(2.3, 9.8, z) for z in (3.0, 6.0, 9.0)] + [square(4.4, 6.7, 6.0)]
    moved = [points @ turn.T + np.array(oblique.origin_mm) for points in contours]
    assert np.array_equal(rasterise(moved, oblique, 15).mask, rasterise(contours, GRID, 15).mask)


def test_slices_stored_from_the_other_end_give_the_mirrored_mask():
    turned = replace(GRID, origin_mm=(0.0, 0.0, 15.0), direction=((1, 0, 0), (0, 1, 0), (0, 0, -1)))
    contours = [square(2.5, 9.5, 0.0), square(2.5, 6.5, 3.0)]
    assert np.array_equal(rasterise(contours, turned, 15).mask, rasterise(contours, GRID, 15).mask[::-1])


def test_a_contour_across_slices_is_refused():
    with pytest.raises(ContourError, match="not parallel"):
        rasterise([np.array([[2.0, 2, 0], [9, 2, 0], [9, 9, 6.0]])], GRID, 15)


def test_planes_between_slices_count_by_volume():
    # Slabs 0.3 slice off: slice 1 is covered by 0.7, the next one past the end by 0.3.
    assert counts([square(2.5, 6.5, z + 0.9) for z in (3.0, 6.0)]) == [0, 16, 16, 0, 0, 0]
    # Narrow above wide, half way: only what both cover.
    assert counts([square(2.5, 6.5, 4.5), square(2.5, 4.5, 7.5)]) == [0, 0, 4, 0, 0, 0]


def test_planes_denser_than_slices_are_averaged_not_toggled():
    # Three planes in each slice: an even-odd rule per slice would keep one of two.
    contours = [square(2.5, 6.5, z) for z in np.arange(2.0, 11.0, 1.0)]
    assert counts(contours) == [0, 16, 16, 16, 0, 0]


def test_planes_on_every_second_slice_are_joined_and_wide_gaps_are_not():
    every_second = rasterise([square(2.5, 6.5, z) for z in (0.0, 6.0, 12.0)], GRID, 15)
    assert every_second.mask.sum(axis=(1, 2)).tolist() == [16, 16, 16, 16, 16, 0]
    assert every_second.planes.step == pytest.approx(2.0)
    two_lesions = rasterise([square(2.5, 6.5, 0.0), square(2.5, 6.5, 15.0)], GRID, 15)
    assert two_lesions.mask.sum(axis=(1, 2)).tolist() == [16, 0, 0, 0, 0, 16]
    one_missing = rasterise([square(2.5, 6.5, z) for z in (0.0, 3.0, 6.0, 12.0)], GRID, 15)
    assert one_missing.mask.sum(axis=(1, 2)).tolist() == [16, 16, 16, 0, 16, 0]
    assert one_missing.planes.gaps == 1


def test_the_share_outside_the_image_is_measured():
    assert rasterise([square(2.5, 6.5, 3.0)], GRID, 15).outside_share == 0.0
    beside = rasterise([square(-5.5, 4.5, 0.0)], GRID, 15)
    assert beside.outside_share == pytest.approx(0.75)
    assert beside.mask[0].sum() == 25
    above = rasterise([square(2.5, 6.5, z) for z in (15.0, 18.0)], GRID, 15)
    assert above.outside_share == pytest.approx(0.5)
    assert rasterise([square(100, 110, 0.0)], GRID, 15).outside_share == 1.0


def test_the_sampled_reference_agrees_on_a_disk():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    disk = np.stack([9.3 + 6.1 * np.cos(angle), 9.7 + 6.1 * np.sin(angle), np.full(200, 3.0)], axis=1)
    assert np.array_equal(sampled_mask([disk], GRID, 15), rasterise([disk], GRID, 15).mask)


def sphere(radius=18.0, corners=90):
    """Contours each 2 mm of a sphere: 4/3 π 18³ = 24.43 mL."""
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    contours = []
    for z in np.arange(16.0, 49.0, 2.0):
        r = np.sqrt(radius**2 - (z - 32.0) ** 2)
        contours.append(np.stack([10 + r * np.cos(turn), 5 + r * np.sin(turn), np.full(corners, z)], axis=1))
    return contours


@pytest.mark.parametrize(
    "shift",
    [(0.006, 0, 0), (0.02, 0, 0), (0.05, 0.05, 0), (0, 0, 0.05), (0.15, 0.1, 0.02)],
    ids=["6 µm", "20 µm", "50 µm", "along z", "a sixth of a pixel"],
)
@pytest.mark.parametrize("count", [5, 17], ids=["five planes", "all planes"])
def test_a_plane_stored_twice_counts_once(shift, count):
    grid = Grid((32, 128, 128), (2.0, 1.0, 1.0), (-63.5, -63.5, 0.0))
    drawn = sphere()
    plain = rasterise(drawn, grid, 15)
    twice = rasterise(drawn + [points + np.array(shift) for points in drawn[:count]], grid, 15)
    assert twice.repeated == count and twice.crossing_planes == 0
    assert np.count_nonzero(twice.mask) * 0.002 == pytest.approx(24.25, abs=0.06)
    assert twice.polygon_ml == pytest.approx(plain.polygon_ml, rel=1e-3)


def test_a_contour_stored_twice_with_other_corners_counts_once():
    grid = Grid((32, 128, 128), (2.0, 1.0, 1.0), (-63.5, -63.5, 0.0))
    twice = rasterise(sphere() + sphere(corners=120)[::-1], grid, 15)
    assert twice.repeated == 17
    assert np.array_equal(twice.mask, rasterise(sphere(), grid, 15).mask)


def test_a_hole_stored_three_times_stays_a_hole():
    # Each is within a quarter of a pixel of the next one, the first and the last are not.
    grid = Grid((32, 128, 128), (2.0, 1.0, 1.0), (-63.5, -63.5, 0.0))
    holes = [np.column_stack([points[:, :2] / 2 + [5.0, 2.5], points[:, 2]]) for points in sphere()]
    once = rasterise(sphere() + holes, grid, 15)
    copies = [points + np.array([x, 0, 0]) for x in (0.4, 0.2) for points in holes]
    thrice = rasterise(sphere() + holes + copies, grid, 15)
    assert np.array_equal(thrice.mask, once.mask) and thrice.repeated == 34
    assert once.polygon_ml == pytest.approx(0.75 * 24.33, rel=1e-3)  # half as wide on each plane


def test_planes_that_cancel_most_of_themselves_are_counted():
    grid = Grid((32, 128, 128), (2.0, 1.0, 1.0), (-63.5, -63.5, 0.0))
    shifted = [points + np.array([1.0, 0, 0]) for points in sphere()[4:9]]
    result = rasterise(sphere() + shifted, grid, 15)
    assert result.hollow_planes == 5
    assert result.outer_ml == pytest.approx(24.33, abs=0.01)  # what the contours were drawn around
    assert result.polygon_ml < 16


@pytest.mark.parametrize("apart_mm", [0.15, 0.3, 0.5])
def test_planes_that_are_all_stored_twice_a_little_apart_are_one_solid(apart_mm):
    # A ball of 12 mm on slices of 2 mm: 4/3 π 12³ = 7.24 mL; its planes’ areas × 2 mm make 7.18 mL.
    grid = Grid((20, 40, 40), (2.0, 1.0, 1.0), (-19.5, -19.5, 0.0))
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)

    def ball(shift):
        radii = {z: np.sqrt(144.0 - (z - 20.0) ** 2) for z in np.arange(10.0, 31.0, 2.0)}
        return [
            np.stack([r * np.cos(angle), r * np.sin(angle), np.full(90, z + shift)], 1)
            for z, r in radii.items()
        ]

    doubled = rasterise(ball(0.0) + ball(apart_mm), grid, 15)
    for measured in (doubled.mask.sum() * 0.002, doubled.polygon_ml):
        assert measured == pytest.approx(7.18, rel=0.01)
    assert doubled.planes.gaps == 0


def test_planes_dense_everywhere_with_one_gap_are_not_joined_over_it():
    # Squares of 8 × 8 mm every 0.6 mm (a fifth of a slice) from 0 to 6 and from 12 to 15 mm: 11 and 6 slabs.
    heights = [*np.arange(0, 6.1, 0.6), *np.arange(12, 15.1, 0.6)]
    rasterised = rasterise([square(2.5, 10.5, z) for z in heights], GRID, 15)
    assert rasterised.planes.gaps == 1
    assert rasterised.polygon_ml == pytest.approx(17 * 0.6 * 64 / 1000)
