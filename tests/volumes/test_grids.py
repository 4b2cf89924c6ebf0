"""Parts of grids, finer and coarser grids, and boxes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.volumes.grids import bounding_box, coarse_grid, sub_grid, subdivide
from pipeline.volumes.resample import coarsen
from pipeline.volumes.volume import Grid, Volume

NATIVE = Grid((30, 40, 50), (3.0, 1.2, 0.9), (-22.0, -24.0, -45.0))


def test_subdivided_and_coarse_grids_share_the_field_of_view():
    fine = subdivide(NATIVE, (3, 2, 1))
    for corner, size in (((-0.5,) * 3, -0.5), (NATIVE.shape, None)):
        ends = np.asarray(corner, dtype=float) - (0.0 if size is not None else 0.5)
        scaled = (ends + 0.5) * (3, 2, 1) - 0.5
        assert fine.points(scaled)[0] == pytest.approx(NATIVE.points(ends)[0])
    volume = Volume(np.zeros(NATIVE.shape, dtype=np.float32), NATIVE)
    coarse = coarsen(volume, 6.0, 0.0)
    assert coarse.grid.spacing_mm == (6.0, 6.0, 6.0)
    assert coarse.grid.points([-0.5] * 3)[0] == pytest.approx(NATIVE.points([-0.5] * 3)[0])


def test_bounding_box():
    array = np.zeros((6, 7, 8))
    assert bounding_box(array) is None
    array[2, 3:5, 6] = 1
    array[4, 1, 7] = 1
    assert bounding_box(array) == (slice(2, 5), slice(1, 5), slice(6, 8))


def test_a_part_of_a_grid_keeps_the_place_of_its_voxels():
    part = sub_grid(NATIVE, (slice(4, 20), slice(10, 30), slice(5, 45)))
    assert part.shape == (16, 20, 40)
    assert part.points([[0, 0, 0], [15, 19, 39]]) == pytest.approx(NATIVE.points([[4, 10, 5], [19, 29, 44]]))


def test_a_coarse_grid_of_thin_images_has_one_voxel():
    assert coarse_grid(Grid((1, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), 4.0).shape == (1, 1, 1)
