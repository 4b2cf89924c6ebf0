"""Which patients a batch holds."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from pipeline.errors import TrainingError
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


def test_batches_without_outcomes_balance_nothing() -> None:
    sampler = make_sampler([3, 5, 8], None, 2, seed=1, balance=False)
    assert {row for i in range(9) for row in sampler.batch_at(i)} == {3, 5, 8}
    with pytest.raises(TrainingError, match="batches balance events, and the study has no outcomes"):
        make_sampler([3, 5, 8], None, 2, seed=1, balance=True)
