"""Each part of a fold's training patients is left out by one cross network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.planning.cross_splits import write_cross_splits
from pipeline.tables.splits import read_splits
from tests.planning.made_up import cohort, plan

PARTS = 2


def test_each_part_is_left_out_by_one_network(tmp_path: Path) -> None:
    study = plan(tmp_path, cohort(60, external=3), folds=3)
    write_cross_splits(
        tmp_path / "splits.json", tmp_path / "cohort.parquet", PARTS, 0, tmp_path / "cross.json"
    )
    cross = read_splits(tmp_path / "cross.json")
    event = pd.read_parquet(tmp_path / "cohort.parquet")["event"]
    assert len(cross.folds) == 3 * PARTS and cross.external == study.external
    for number, fold in enumerate(study.folds):
        networks = cross.folds[PARTS * number : PARTS * (number + 1)]
        left_out = [set(fold.train) - set(network.train) for network in networks]
        assert set.union(*left_out) == set(fold.train) and not set.intersection(*left_out)
        for network, part in zip(networks, left_out, strict=True):
            assert set(network.test) == part | set(fold.test) and network.validation == fold.validation
        events = [int(event[list(part)].sum()) for part in left_out]
        assert max(events) - min(events) <= 1


def test_few_events_are_refused(tmp_path: Path) -> None:
    plan(tmp_path, cohort(60, rate=0.2), folds=3)
    with pytest.raises(ModelError, match="too few events to cross-fit"):
        write_cross_splits(
            tmp_path / "splits.json", tmp_path / "cohort.parquet", 4, 0, tmp_path / "cross.json"
        )
