"""Folds keep their contract, and patients are dealt to parts by event."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.tables.splits import FOLD_SETS, Fold, Splits, read_splits, stratified_folds, write_splits


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
