"""Dice of each class and aggregated over patients, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.mask_classes import class_overlaps, class_scores
from pipeline.metrics.pixel_scores import pixel_scores

# Three patients with a manual mask (the second has no node, and one voxel is found for one), one without.
TABLE = pd.DataFrame(
    {
        "dice": [0.8, 0.5, 0.0, np.nan],
        "overlap_voxels_union": [40.0, 10.0, 0.0, np.nan],
        "size_voxels_union": [100.0, 41.0, 30.0, np.nan],
        "overlap_voxels_gtvp": [35.0, 10.0, 0.0, np.nan],
        "size_voxels_gtvp": [80.0, 40.0, 30.0, np.nan],
        "dice_gtvp": [0.875, 0.5, 0.0, np.nan],
        "overlap_voxels_gtvn": [5.0, 0.0, 0.0, np.nan],
        "size_voxels_gtvn": [20.0, 1.0, 0.0, np.nan],
        "dice_gtvn": [0.5, 0.0, np.nan, np.nan],
    }
)


def rows(table, counts):
    return {row.metric: row for row in class_scores(class_overlaps(table), counts, 0.95)}


def test_mean_and_aggregated_dice_by_hand():
    scores = rows(TABLE, np.ones((50, 4)))
    values = {name: row.interval.value for name, row in scores.items()}
    assert values == pytest.approx(
        {
            "dice_gtvp": (0.875 + 0.5 + 0.0) / 3,
            "dice_gtvn": 0.25,
            "dice_agg": 2 * 50 / 171,
            "dice_agg_gtvp": 2 * 45 / 150,
            "dice_agg_gtvn": 2 * 5 / 21,
            "dice_agg_mean": (90 / 150 + 10 / 21) / 2,
        }
    )
    assert {name: row.patients for name, row in scores.items()} == {
        "dice_gtvp": 3,
        "dice_gtvn": 2,
        "dice_agg": 3,
        "dice_agg_gtvp": 3,
        "dice_agg_gtvn": 3,
        "dice_agg_mean": 3,
    }
    # Every resample is the sample: the interval is the value.
    assert scores["dice_agg_gtvp"].interval.low == pytest.approx(0.6) == scores["dice_agg_gtvp"].interval.high


def test_intervals_resample_patients():
    counts = resample_counts(4, 400, 1)
    row = rows(TABLE, counts)["dice_agg_gtvp"]
    drawn = counts[:, :3]
    size = drawn @ TABLE["size_voxels_gtvp"].to_numpy()[:3]
    samples = 2 * (drawn @ TABLE["overlap_voxels_gtvp"].to_numpy()[:3]) / np.where(size > 0, size, np.nan)
    low, high = np.nanquantile(samples, [0.025, 0.975])
    assert (row.interval.low, row.interval.high) == pytest.approx((low, high))


def test_a_class_that_nobody_has_has_no_value_and_no_mean():
    table = TABLE.assign(overlap_voxels_gtvn=[0.0, 0, 0, np.nan], size_voxels_gtvn=[0.0, 0, 0, np.nan])
    scores = rows(table.assign(dice_gtvn=np.nan), np.ones((50, 4)))
    assert np.isnan(scores["dice_agg_gtvn"].interval.value) and scores["dice_agg_gtvn"].note
    assert np.isnan(scores["dice_agg_mean"].interval.value)
    assert np.isfinite(scores["dice_agg"].interval.value)


def test_a_table_without_classes_has_no_such_metric():
    assert class_overlaps(TABLE[["dice"]]) == ()


def test_a_mask_without_classes_has_an_aggregated_dice_alone():
    """Over the pixels of all slices it is their F1, 2TP / (2TP + FP + FN); by hand 2·50 / 171."""
    table = TABLE[["overlap_voxels_union", "size_voxels_union"]]
    scores = rows(table, np.ones((50, 4)))
    assert list(scores) == ["dice_agg"]
    assert (
        scores["dice_agg"].interval.value == pytest.approx(2 * 50 / 171) and scores["dice_agg"].patients == 3
    )
    both, size = np.array([40.0, 10.0, 0.0]), np.array([100.0, 41.0, 30.0])
    pixels = {
        "pixels_both": both,
        "pixels_predicted": size / 2,
        "pixels_manual": size / 2,
        "pixels_all": np.full(3, 400.0),
    }
    f1 = next(row for row in pixel_scores(pixels, np.ones((100, 3)), 0.95) if row.metric == "pixel_f1")
    assert f1.interval.value == pytest.approx(scores["dice_agg"].interval.value)
