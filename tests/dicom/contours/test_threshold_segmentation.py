"""Segmentation by thresholds within a seed region."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.contours.threshold_segmentation import (
    SeedSphere,
    is_seed_sphere,
    segment_lesion,
    sphere_mask,
)
from pipeline.errors import ContourError
from pipeline.volumes.volume import Grid, Volume

GRID = Grid((5, 9, 9), (4.0, 2.0, 2.0), (10.0, 20.0, 30.0))


def volume():
    array = np.full(GRID.shape, 0.5, np.float32)
    array[2, 4, 4], array[2, 4, 5], array[2, 4, 6] = 10.0, 4.2, 4.0  # 41 % of 10 is 4.1
    array[0, 0, 0] = 50.0  # outside every seed below
    array[2, 0, 4] = 9.0  # in the seed, not connected
    return Volume(array, GRID, "pet_suvbw")


def seed():
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[1:4] = True
    return mask


def test_41_percent_of_the_seeds_maximum():
    lesion = segment_lesion(volume(), seed(), "threshold_41")
    assert lesion.threshold_suv == pytest.approx(4.1)
    assert np.argwhere(lesion.mask).tolist() == [[2, 4, 4], [2, 4, 5]]


def test_40_percent_takes_what_41_leaves():
    values = volume()
    values.array[2, 5, 4] = 4.05
    assert segment_lesion(values, seed(), "threshold_41").mask.sum() == 2
    lesion = segment_lesion(values, seed(), "threshold_40")
    assert lesion.threshold_suv == pytest.approx(4.0) and lesion.mask[2, 5, 4]


def test_fixed_thresholds_and_connection():
    assert segment_lesion(volume(), seed(), "fixed_4.0").mask.sum() == 3
    assert segment_lesion(volume(), seed(), "fixed_2.5").threshold_suv == 2.5


def test_a_cold_or_empty_seed_is_refused():
    cold = np.zeros(GRID.shape, dtype=bool)
    cold[4] = True
    with pytest.raises(ContourError, match="no uptake"):
        segment_lesion(volume(), cold, "fixed_2.5")
    with pytest.raises(ContourError, match="no uptake"):
        segment_lesion(volume(), np.zeros(GRID.shape, dtype=bool), "threshold_41")


def test_a_sphere_in_millimetres():
    # Centre on voxel (2, 4, 4); 4 mm reach two voxels in plane and one across.
    mask = sphere_mask(GRID, SeedSphere((18.0, 28.0, 38.0), 4.0))
    assert mask[2].sum() == 13 and mask[1].sum() == mask[3].sum() == 1 and mask.sum() == 15
    assert is_seed_sphere("Sphere(1,2,3,4)") and not is_seed_sphere("GTV*")
