"""Margins and shells in millimetres."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.volumes.margins import grow, shell

SPACING = (3.0, 1.0, 2.0)


def brute(mask, margin):
    """Every voxel within the margin of any voxel of the mask, pair by pair."""
    points = np.argwhere(mask) * np.array(SPACING)
    index = np.indices(mask.shape).reshape(3, -1).T * np.array(SPACING)
    distance = np.linalg.norm(index[:, None] - points[None], axis=2).min(axis=1)
    return (distance <= margin + 1e-9).reshape(mask.shape)


@pytest.mark.parametrize("margin", [0.9, 1.0, 2.0, 3.0, 4.7])
def test_a_margin_is_what_lies_within_it(margin):
    mask = np.random.default_rng(1).random((7, 12, 9)) > 0.97
    assert np.array_equal(grow(mask, SPACING, margin), brute(mask, margin))
    solid = brute(mask, 4.0)
    expected = solid & ~brute(~solid, margin)
    assert np.array_equal(grow(solid, SPACING, -margin), expected)


def test_a_shell_is_the_tissue_around_the_lesion():
    mask = np.zeros((5, 21, 21), dtype=bool)
    mask[2, 10, 10] = True
    around = shell(mask, (10.0, 1.0, 1.0), 0.0, 2.0)
    assert around.sum() == 12 and not around[2, 10, 10]
    with pytest.raises(ValueError, match="greater"):
        shell(mask, SPACING, 2.0, 2.0)


def test_nothing_stays_nothing_and_the_border_takes_nothing():
    empty = np.zeros((3, 3, 3), dtype=bool)
    assert not grow(empty, SPACING, 5.0).any()
    full = np.ones((3, 3, 3), dtype=bool)
    assert grow(full, SPACING, -5.0).all()
