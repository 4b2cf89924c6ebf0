"""One interpolation: exactness, anti-aliasing, masks, field of view."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.volumes.grids import in_field, index_map, sub_grid
from pipeline.volumes.resample import Sampling, antialias_sigma, resample
from pipeline.volumes.resample_masks import resample_labels, resample_mask
from pipeline.volumes.volume import Grid, Volume

NATIVE = Grid((30, 40, 50), (3.0, 1.2, 0.9), (-22.0, -24.0, -45.0))
RANDOM = np.random.default_rng(2).normal(0.0, 300.0, NATIVE.shape).astype(np.float32)


def rotation(angle_deg: float, axes: tuple[int, int] = (0, 1)) -> np.ndarray:
    matrix, angle = np.eye(4), np.radians(angle_deg)
    i, j = axes
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def ball(grid: Grid, radius_mm: float, centre=(0.0, 0.0, 0.0)) -> Volume:
    points = grid.points(np.argwhere(np.ones(grid.shape)))
    inside = np.linalg.norm(points - np.asarray(centre), axis=1) < radius_mm
    return Volume(inside.reshape(grid.shape).astype(np.uint8), grid, "mask")


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "bspline"])
def test_grids_that_fall_together_give_native_voxels(interpolation):
    region = (slice(4, 20), slice(10, 30), slice(5, 45))
    target = sub_grid(NATIVE, region)
    values = resample(Volume(RANDOM, NATIVE), target, np.eye(4), Sampling(interpolation))
    assert np.array_equal(values, RANDOM[region])
    # a header that kept its numbers in single precision is the same grid
    near = Grid(target.shape, target.spacing_mm, tuple(o + 1e-5 for o in target.origin_mm))
    assert np.array_equal(resample(Volume(RANDOM, NATIVE), near, np.eye(4), Sampling(interpolation)), values)


def test_beyond_the_image_is_the_outside_value():
    target = Grid((40, 40, 50), NATIVE.spacing_mm, (-22.0, -24.0, -60.0))
    values = resample(Volume(RANDOM, NATIVE), target, np.eye(4), Sampling("linear", -1024.0))
    assert np.all(values[:5] == -1024.0)
    assert np.array_equal(values[5:35], RANDOM)
    assert np.array_equal(
        in_field(NATIVE, target, np.eye(4)).any(axis=(1, 2)), [False] * 5 + [True] * 30 + [False] * 5
    )
    far = Grid((4, 4, 4), (1.0, 1.0, 1.0), (900.0, 0.0, 0.0))
    assert np.all(resample(Volume(RANDOM, NATIVE), far, np.eye(4), Sampling("linear", 7.0)) == 7.0)
    assert not in_field(NATIVE, far, np.eye(4)).any()


def test_a_linear_field_is_reproduced_under_rotation():
    # Linear interpolation is exact on a linear field: the value is known at every point.
    points = NATIVE.points(np.argwhere(np.ones(NATIVE.shape)))
    slope = np.array([2.0, -3.0, 0.5])
    field = (points @ slope).reshape(NATIVE.shape).astype(np.float32)
    matrix = rotation(12.0) @ rotation(-7.0, (1, 2))
    matrix[:3, 3] = (1.5, -2.0, 3.0)
    target = Grid((10, 12, 14), (1.0, 1.0, 1.0), (-6.0, -6.0, -5.0))
    at = target.points(np.argwhere(np.ones(target.shape))) @ matrix[:3, :3].T + matrix[:3, 3]
    values = resample(Volume(field, NATIVE), target, matrix, Sampling("linear"))
    assert values.ravel() == pytest.approx(at @ slope, abs=1e-3)


def test_only_a_coarser_target_is_filtered():
    fine = Grid((20, 20, 20), (1.4, 1.4, 1.4), (0.0, 0.0, 0.0))
    source = Grid((50, 50, 50), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    assert not antialias_sigma(index_map(source, fine, np.eye(4))).any()
    coarse = Grid((10, 10, 10), (4.0, 1.0, 2.0), (0.0, 0.0, 0.0))
    # by hand: sqrt(step² − 1) / 2.3548
    assert antialias_sigma(index_map(source, coarse, np.eye(4))) == pytest.approx(
        [np.sqrt(15) / 2.3548, 0.0, np.sqrt(3) / 2.3548], rel=1e-4
    )


def test_no_aliasing_on_a_coarse_grid():
    # A checkerboard at the native Nyquist frequency has no content a 4 times coarser grid
    # can hold: its mean, 0, is right; picking voxels would give ±100.
    source = Grid((64, 64, 64), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    checks = (100.0 * (1 - 2 * (np.indices(source.shape).sum(axis=0) % 2))).astype(np.float32)
    target = Grid((12, 12, 12), (4.0, 4.0, 4.0), (8.0, 8.0, 8.0))
    values = resample(Volume(checks, source), target, np.eye(4), Sampling("linear"))
    assert np.abs(values).max() < 1.0
    # and the mean of a constant stays
    flat = Volume(np.full(source.shape, 37.0, dtype=np.float32), source)
    assert resample(flat, target, np.eye(4), Sampling("linear")) == pytest.approx(37.0, abs=1e-3)


def test_padding_of_the_scanner_is_raised_before_interpolation():
    array = np.full((8, 8, 8), 40.0, dtype=np.float32)
    array[:, :, :4] = -3024.0
    source = Grid((8, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    target = Grid((4, 4, 4), (1.0, 1.0, 1.0), (3.5, 2.0, 2.0))
    values = resample(Volume(array, source), target, np.eye(4), Sampling("linear", -1024.0, -1024.0))
    assert values[0, 0, 0] == pytest.approx((40.0 - 1024.0) / 2)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 1.0, 1.0)])
@pytest.mark.parametrize("angle", [0.0, 7.0, 15.0])
@pytest.mark.parametrize("radius", [8.0, 14.0])
def test_mask_volume_is_preserved_under_rotation(spacing, angle, radius):
    # Target: within 2 %. A ball on a CT grid; rotation about a point off its centre.
    source = Grid((24, 50, 50), (3.0, 1.2, 1.2), (-29.4, -29.4, -34.5))
    mask = ball(source, radius, (2.0, 1.0, -1.5))
    shape = tuple(int(60 / s) for s in spacing)
    target = Grid(shape, spacing, (-29.5, -29.5, -29.5))
    resampled = resample_mask(mask, target, rotation(angle) @ rotation(angle, (1, 2)), "linear")
    volume = resampled.sum() * np.prod(spacing)
    native = mask.array.sum() * np.prod(source.spacing_mm)
    assert volume == pytest.approx(native, rel=0.02)


def test_a_coarse_mask_is_averaged_not_picked():
    # A plate of 3 of 4 voxels in each block fills more than half and stays; 1 of 4 does not.
    source = Grid((16, 16, 16), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = np.zeros(source.shape, dtype=np.uint8)
    array[4:7], array[12:13] = 1, 1
    target = Grid((4, 4, 4), (4.0, 4.0, 4.0), (1.5, 1.5, 1.5))
    resampled = resample_mask(Volume(array, source), target, np.eye(4), "linear")
    assert resampled.any(axis=(1, 2)).tolist() == [False, True, False, False]


def test_an_empty_or_distant_mask_gives_zeros():
    target = Grid((4, 4, 4), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    empty = Volume(np.zeros(NATIVE.shape, dtype=np.uint8), NATIVE)
    assert not resample_mask(empty, target, np.eye(4), "linear").any()
    far = np.eye(4)
    far[0, 3] = 1e4
    assert not resample_mask(ball(NATIVE, 8.0), target, far, "nearest").any()


def test_a_mask_at_the_border_is_not_widened():
    # all of the image is mask: no voxel beyond the field of view may be
    whole = Volume(np.ones(NATIVE.shape, dtype=np.uint8), NATIVE)
    target = Grid((40, 60, 60), (3.0, 1.2, 0.9), (-26.5, -30.0, -60.0))
    resampled = resample_mask(whole, target, np.eye(4), "linear")
    assert np.array_equal(resampled.astype(bool), in_field(NATIVE, target, np.eye(4)))


def test_turned_axes_are_followed():
    # the same voxels stored with x and y exchanged and z reversed
    direction = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    turned = np.ascontiguousarray(RANDOM.transpose(0, 2, 1)[::-1])
    top = NATIVE.points([29, 0, 0])[0]
    grid = Grid((30, 50, 40), (3.0, 0.9, 1.2), tuple(float(v) for v in top), direction)
    values = resample(Volume(turned, grid), NATIVE, np.eye(4), Sampling("linear"))
    assert values == pytest.approx(RANDOM, abs=1e-3)


def test_bspline_is_exact_at_voxel_centres():
    shift = np.eye(4)
    shift[0, 3] = 0.9015  # one voxel, and more than the tolerance that takes grids for aligned
    values = resample(Volume(RANDOM, NATIVE), NATIVE, shift, Sampling("bspline"))
    assert values[:, :, :-2] == pytest.approx(RANDOM[:, :, 1:-1], abs=3.0)


def two_halves(grid: Grid, radius_mm: float) -> Volume:
    """A ball whose half at x < 3 mm has label 1, the other label 2."""
    whole = ball(grid, radius_mm)
    points = grid.points(np.argwhere(np.ones(grid.shape))).reshape(*grid.shape, 3)
    return Volume(whole.array * np.where(points[..., 0] < 3.0, 1, 2).astype(np.uint8), grid, "mask")


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (4.0, 4.0, 4.0)])
def test_labels_share_the_lesion_that_a_mask_has(interpolation, spacing):
    source = Grid((24, 50, 50), (3.0, 1.2, 1.2), (-29.4, -29.4, -34.5))
    labels = two_halves(source, 14.0)
    target = Grid(tuple(int(60 / s) for s in spacing), spacing, (-29.5, -29.5, -29.5))
    to_source = rotation(7.0) @ rotation(7.0, (1, 2))
    resampled = resample_labels(labels, target, to_source, interpolation)
    mask = resample_mask(Volume(np.minimum(labels.array, 1), source), target, to_source, interpolation)
    assert np.array_equal(resampled > 0, mask > 0) and set(np.unique(resampled)) == {0, 1, 2}
    # Each voxel has the label of the side that its centre lies on, but for those that the border cuts.
    index = np.argwhere(resampled)
    centre = target.points(index) @ to_source[:3, :3].T + to_source[:3, 3]
    clear = np.abs(centre[:, 0] - 3.0) > max(max(spacing), 1.2)
    wanted = np.where(centre[:, 0] < 3.0, 1, 2)
    assert clear.mean() > 0.5 and np.array_equal(resampled[tuple(index.T)][clear], wanted[clear])


def test_labels_are_never_averaged_as_numbers():
    # Halfway between labels 1 and 3 lies no voxel of label 2; a mask without classes is as before.
    source = Grid((1, 1, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = np.array([[[0, 1, 1, 1, 3, 3, 3, 0]]], dtype=np.uint8)
    target = Grid((1, 1, 15), (1.0, 1.0, 0.5), (0.0, 0.0, 0.0))
    resampled = resample_labels(Volume(array, source), target, np.eye(4), "linear")
    assert set(np.unique(resampled)) == {0, 1, 3}
    assert resampled[0, 0, 2:7].tolist() == [1] * 5 and resampled[0, 0, 8:13].tolist() == [3] * 5
    same = resample_labels(Volume(array, source), source, np.eye(4), "linear")
    assert np.array_equal(same, array)
    single = Volume(np.where(array == 3, 3, 0).astype(np.uint8), source)
    mask = resample_mask(single, target, np.eye(4), "linear")
    assert np.array_equal(resample_labels(single, target, np.eye(4), "linear"), 3 * mask)
