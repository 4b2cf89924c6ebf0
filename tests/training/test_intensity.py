"""Standardisation of crops, patient by patient."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop
from pipeline.training.intensity import standardise


def _crop(image: np.ndarray, inside: np.ndarray, channels: tuple[str, ...] = ("pet", "ct")) -> Crop:
    units = ("g/mL", "HU")[: len(channels)]
    attributes = CropAttributes("p1", channels, units, (1.0, 1.0, 1.0))
    return Crop(image.astype(np.float32), None, inside.astype(np.uint8), attributes)


def test_statistics_come_from_imaged_voxels_and_padding_is_air() -> None:
    rng = np.random.default_rng(0)
    image = np.stack([rng.normal(3, 2, (6, 6, 6)), rng.normal(40, 100, (6, 6, 6))])
    inside = np.ones((6, 6, 6))
    inside[0] = 0
    image[:, 0] = 1e6  # whatever lies where nothing was imaged
    ready = standardise(_crop(image, inside), "zscore")
    for channel, air in enumerate((0.0, -1024.0)):
        values = image[channel, 1:]
        assert np.allclose(ready.image[channel, 1:], (values - values.mean()) / values.std(), atol=1e-5)
        assert np.allclose(ready.image[channel, 0], (air - values.mean()) / values.std(), atol=1e-5)
        assert np.isclose(ready.air[channel], (air - values.mean()) / values.std())


def test_hecktor_clips_ct_to_one() -> None:
    image = np.stack([np.linspace(0, 9, 27), np.linspace(-2000, 3000, 27)]).reshape(2, 3, 3, 3)
    ready = standardise(_crop(image, np.ones((3, 3, 3))), "hecktor")
    assert ready.image[1].min() == -1 and ready.image[1].max() == 1 and ready.air[1] == -1
    assert abs(ready.image[0].mean()) < 1e-6 and abs(ready.image[0].std() - 1) < 1e-5
    raw = standardise(_crop(image, np.ones((3, 3, 3))), "none")
    assert np.array_equal(raw.image, image.astype(np.float32)) and list(raw.air) == [0, -1024]


def test_a_crop_that_cannot_be_standardised_is_refused() -> None:
    flat = np.zeros((2, 3, 3, 3))
    with pytest.raises(TrainingError, match=r"'pet' has no contrast.*patient p1"):
        standardise(_crop(flat, np.ones((3, 3, 3))), "zscore")
    with pytest.raises(TrainingError, match="no imaged voxel"):
        standardise(_crop(flat, np.zeros((3, 3, 3))), "zscore")
    inside = np.ones((3, 3, 3))
    inside[0] = 0
    with pytest.raises(TrainingError, match="value of air is unknown"):
        standardise(_crop(np.random.rand(1, 3, 3, 3), inside, ("mr",)), "zscore")
