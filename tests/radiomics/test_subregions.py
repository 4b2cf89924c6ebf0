"""Subregions of a contour: its hot part, and the shell around it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.radiomics_features import feature_images
from pipeline.errors import RadiomicsError
from pipeline.radiomics.subregions import with_subregion
from pipeline.settings.radiomics import RadiomicsSettings


def test_subregions_by_hand() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4:6] = True
    pet = np.ones(mask.shape, np.float32)
    pet[4, 4, 4], pet[4, 4, 5] = 10, 4
    inside = np.ones(mask.shape, bool)
    inside[3] = False
    images = feature_images({"pet": pet, "ct": pet * 0}, mask, (1.0, 1.0, 1.0))
    images = {name: replace(image, inside=inside) for name, image in images.items()}
    hot = with_subregion(images, "threshold", RadiomicsSettings())
    assert np.argwhere(hot["ct"].mask).tolist() == [[4, 4, 4]]  # 4 lies below 41 % of 10
    rim = with_subregion(images, "peritumoral", RadiomicsSettings(rim_mm=1.0))["pet"].mask
    assert rim.sum() == 10 - 2 and not (rim & (mask | ~inside)).any()
    with pytest.raises(RadiomicsError, match="`peritumoral` is empty"):
        with_subregion(images, "peritumoral", RadiomicsSettings(rim_mm=0.5))
