"""Shares of voxels by hand: what lies inside counts, and no more."""

import numpy as np
import pytest

from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.partial_volume import partial_volume_metrics
from pipeline.radiomics.pet_metrics import PET_METRIC_COLUMNS, pet_metrics


def image(shares):
    values = np.array([[[1.0, 6.0, 10.0, 3.0]]], np.float32)
    given = None if shares is None else np.array([[shares]], np.float32)
    mask = np.array([[[False, True, True, False]]])
    return FeatureImage(values, mask, np.ones(mask.shape, bool), (5.0, 10.0, 10.0), given)  # 0.5 mL a voxel


def test_by_hand():
    metrics = partial_volume_metrics(image([0.0, 0.75, 1.0, 0.25]))
    assert metrics["pet_index_volume_ml"] == pytest.approx(2.0 * 0.5)
    assert metrics["pet_index_suvmean"] == pytest.approx((0.75 * 6 + 10 + 0.25 * 3) / 2.0)
    assert metrics["pet_index_tlg"] == pytest.approx(15.25 * 0.5)
    assert metrics["pet_index_mtv_41"] == pytest.approx(1.75 * 0.5)  # from 4.1
    assert metrics["pet_index_mtv_2.5"] == pytest.approx(2.0 * 0.5)
    assert metrics["pet_index_tlg_4.0"] == pytest.approx(14.5 * 0.5)
    assert set(metrics) <= set(PET_METRIC_COLUMNS)


def test_whole_voxels_give_the_masks_metrics():
    whole = image([0.0, 1.0, 1.0, 0.0])
    expected = pet_metrics(whole)
    assert all(
        value == pytest.approx(expected[name]) for name, value in partial_volume_metrics(whole).items()
    )


def test_without_shares_nothing_changes():
    assert partial_volume_metrics(image(None)) == {}
