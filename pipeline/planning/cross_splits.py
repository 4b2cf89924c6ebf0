"""Splits of the networks that give deep features to classical models: the rule `cross_splits`.

A fold's training patients are dealt into parts; for each part a network is trained on the others,
so that its features of the part are those of patients it has not seen
(:mod:`pipeline.survival.deep_feature_blocks` says why).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.tables.outcomes import groups_of, read_outcomes
from pipeline.tables.splits import (
    Fold,
    Splits,
    grouped_stratified_folds,
    groups_with_event,
    read_splits,
    write_splits,
)


def write_cross_splits(splits: Path, outcomes: Path, parts: int, seed: int, out: Path) -> None:
    """Write `cross_splits.json`: `parts` folds for each fold of the study, in that order.

    In fold k·parts + j, `train` is fold k's training patients but part j, `validation` is fold k's
    (epochs are chosen there), `test` is part j and fold k's test patients.

    Args:
        splits: `splits.json`.
        outcomes: `cohort.parquet`; parts are stratified by event and cut no group of patients.
        parts: Number of parts, at least 2.
        seed: Seed of the random order in which patients are dealt to parts.
        out: The JSON file to write.

    Raises:
        ModelError: A fold has fewer than two training events per part.
    """
    study, table = read_splits(splits), read_outcomes(outcomes)
    cross_folds: list[Fold] = []
    for number, fold in enumerate(study.folds):
        group = groups_of(table)[list(fold.train)].to_numpy(dtype=object)
        event = (table["event"] == 1)[list(fold.train)].to_numpy(dtype=bool)
        events = groups_with_event(event, group)
        if events < 2 * parts:
            raise ModelError(
                "too few events to cross-fit deep features",
                where=f"fold {number}",
                expected=f"at least {2 * parts} events among training patients, two per part",
                got=str(events),
                action="use fewer folds or parts (plan.cross_parts), or no deep features",
            )
        part_of = grouped_stratified_folds(event, group, parts, seed + number)
        cross_folds.extend(_leave_out(fold, part_of, part) for part in range(parts))
    write_splits(out, Splits(tuple(cross_folds), study.external, study.seed, study.subsets))


def _leave_out(fold: Fold, part_of: NDArray[np.int64], part: int) -> Fold:
    """The fold of the network that is trained without one part of a fold's training patients."""
    left_out = tuple(patient for patient, p in zip(fold.train, part_of, strict=True) if p == part)
    train = tuple(patient for patient, p in zip(fold.train, part_of, strict=True) if p != part)
    return Fold(train, fold.validation, (*left_out, *fold.test))
