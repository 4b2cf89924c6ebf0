"""Which patients a batch holds, and how their crops are standardised."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop
from pipeline.training.intensity import standardise
from pipeline.training.sampler import make_sampler


def test_batches_are_balanced_and_everybody_comes_equally_often() -> None:
    events = [1] * 12 + [0] * 20
    sampler = make_sampler(range(32), events, 8, 3, balance=True)
    seen: Counter[int] = Counter()
    for iteration in range(300):
        batch = sampler.batch_at(iteration)
        assert len(set(batch)) == 8 and sum(events[row] for row in batch) == 4
        seen.update(batch)
    assert {seen[row] for row in range(12)} == {100}  # 3 batches are one pass over 12 events
    assert {seen[row] for row in range(12, 32)} == {60}
    assert sampler.batch_at(77) == make_sampler(range(32), events, 8, 3, balance=True).batch_at(77)
    assert not sampler.notes()


def test_odd_groups_are_drawn_fairly() -> None:
    events = [1] * 7 + [0] * 9
    seen: Counter[int] = Counter()
    sampler = make_sampler(range(16), events, 6, 0, balance=True)
    for iteration in range(2000):
        seen.update(sampler.batch_at(iteration))
    for row, event in enumerate(events):
        expected = 2000 * 3 / (7 if event else 9)
        assert abs(seen[row] - expected) < 4 * math.sqrt(expected)


def test_a_scarce_class_is_repeated_and_told() -> None:
    sampler = make_sampler(range(10), [1] + [0] * 9, 8, 0, balance=True)
    assert sum(row == 0 for row in sampler.batch_at(5)) == 4
    assert "only 1 of the training patients are events" in sampler.notes()[0]


def test_unbalanced_and_uncensored_batches() -> None:
    plain = make_sampler(range(10), [1, 0] * 5, 5, 0, balance=False)
    assert sorted(plain.batch_at(0) + plain.batch_at(1)) == list(range(10))
    assert len(make_sampler(range(6), [1] * 6, 3, 0, balance=True).groups) == 1
    with pytest.raises(TrainingError, match="no training patient has an event"):
        make_sampler(range(6), [0] * 6, 3, 0, balance=True)


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


def test_batches_without_outcomes_balance_nothing() -> None:
    sampler = make_sampler([3, 5, 8], None, 2, seed=1, balance=False)
    assert {row for i in range(9) for row in sampler.batch_at(i)} == {3, 5, 8}
    with pytest.raises(TrainingError, match="batches balance events, and the study has no outcomes"):
        make_sampler([3, 5, 8], None, 2, seed=1, balance=True)
