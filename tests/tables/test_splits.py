"""Folds keep their contract, and patients are dealt to parts by event."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.tables.splits import (
    FOLD_SETS,
    Fold,
    Splits,
    grouped_stratified_folds,
    groups_with_event,
    read_splits,
    stratified_folds,
    write_splits,
)


def test_splits_are_read_as_written(tmp_path: Path) -> None:
    splits = Splits((Fold(("a", "b"), ("c",), ("d",)), Fold(("d", "c"), (), ("a", "b"))), ("x",), 3)
    write_splits(tmp_path / "splits.json", splits)
    assert read_splits(tmp_path / "splits.json") == splits
    sets = splits.sets(1)
    assert tuple(sets) == FOLD_SETS == ("train", "validation", "test", "external")
    assert sets == {"train": ("d", "c"), "validation": (), "test": ("a", "b"), "external": ("x",)}


def test_parts_have_equal_numbers_of_patients_and_events() -> None:
    event = np.arange(23) % 3 == 0
    parts = stratified_folds(event, 4, seed=1)
    assert sorted(np.bincount(parts)) == [5, 6, 6, 6]
    assert sorted(np.bincount(parts, weights=event)) == [2, 2, 2, 2]
    assert (parts == stratified_folds(event, 4, seed=1)).all()
    assert (parts != stratified_folds(event, 4, seed=2)).any()


def test_patients_each_alone_in_a_group_are_dealt_as_without_groups() -> None:
    event = np.random.default_rng(0).random(50) < 0.4
    alone = np.array([f"P{49 - i}" for i in range(50)], dtype=object)
    assert (grouped_stratified_folds(event, alone, 4, 3) == stratified_folds(event, 4, 3)).all()
    assert groups_with_event(event, alone) == event.sum()


def test_whole_groups_are_dealt_and_those_with_an_event_evenly() -> None:
    """Twelve volumes of five slices, scattered over the rows; one slice has the event in each of eight."""
    generator = np.random.default_rng(1)
    volume = generator.permutation(np.repeat(np.arange(12), 5))
    group = np.array([f"v{number}" for number in volume], dtype=object)
    event = np.zeros(60, dtype=bool)
    event[[np.flatnonzero(volume == number)[2] for number in range(8)]] = True
    parts = grouped_stratified_folds(event, group, 4, seed=1)
    assert groups_with_event(event, group) == 8
    assert all(len(set(parts[group == name])) == 1 for name in group), "a group is in two parts"
    assert list(np.bincount(parts)) == [15] * 4
    assert list(np.bincount(parts, weights=event)) == [2] * 4
