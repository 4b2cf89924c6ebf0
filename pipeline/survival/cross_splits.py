"""Each fold's training patients in parts: a network trained without a part gives that part its features.

Why deep features of a network's own training patients mislead is said in
:mod:`pipeline.survival.cross_fit`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.errors import ModelError
from pipeline.survival.estimator import stratified_folds
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.splits import Fold, Splits, read_splits, write_splits


def write_cross_splits(splits: Path, outcomes: Path, parts: int, seed: int, out: Path) -> None:
    """Write `cross_splits.json`: `parts` folds for each fold of the study, in that order.

    In fold k·parts + j, `train` is fold k's training patients but part j, `validation` is fold k's
    (epochs are chosen there), `test` is part j and fold k's test patients.

    Args:
        splits: `splits.json`.
        outcomes: `cohort.parquet`; parts are stratified by event.
        parts: At least 2.
        seed: Of the parts.
        out: Where to write.

    Raises:
        ModelError: A fold has fewer training events than parts.
    """
    study, table = read_splits(splits), read_outcomes(outcomes)
    folds: list[Fold] = []
    for k, fold in enumerate(study.folds):
        event = np.asarray(table.loc[list(fold.train), "event"] == 1)
        if event.sum() < 2 * parts:
            raise ModelError(
                "too few events to cross-fit deep features",
                where=f"fold {k}",
                expected=f"at least {2 * parts} events among training patients, two per part",
                got=str(int(event.sum())),
                action="use fewer folds or parts (plan.cross_parts), or no deep features",
            )
        assigned = stratified_folds(event, parts, seed + k)
        for j in range(parts):
            left_out = tuple(p for p, part in zip(fold.train, assigned, strict=True) if part == j)
            train = tuple(p for p, part in zip(fold.train, assigned, strict=True) if part != j)
            folds.append(Fold(train, fold.validation, (*left_out, *fold.test)))
    write_splits(out, Splits(tuple(folds), study.external, study.seed))
