"""Deep features for classical models: a block of columns per network, of patients it was not trained on.

A network's features of its own training patients separate their outcomes far better than those
of other patients; a model fitted on them learns what does not hold out of sample. So a fold's
training patients are dealt into parts, and for each part a network is trained on the others
(:mod:`pipeline.planning.cross_splits`). The feature spaces of two networks have no axis in common
(Li et al., Convergent Learning, ICLR 2016), so features of different networks are never put into
one column: a classical model is fitted on each part in its own network's block, and a patient's
risk is the mean over those networks that were not trained on the patient. That is cross-fitting
(Chernozhukov et al., Econometrics J 2018; 21: C1, section 3) of features in place of nuisance
functions; stacking asks the same of its first level (Wolpert, Neural Networks 1992; 5: 241).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.classical import ClassicalModel
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.patients import Patients
from pipeline.survival.preprocessing import fit_preprocessed
from pipeline.tables.parquet import read_frame
from pipeline.tables.splits import Splits, read_splits
from pipeline.tables.status import read_whole

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DeepSource:
    """Where cross-fitted deep features come from.

    Attributes:
        tables: `deep_features.parquet` of every cross network, fold by fold, part by part.
        splits: `cross_splits.json`, a fold for each of them.
    """

    tables: tuple[Path, ...]
    splits: Path


@dataclass(frozen=True)
class Block:
    """Patients that a cross network was not trained on, with its features.

    Attributes:
        patients: Those patients, with the shared features and the network's own, named `deep_*`.
        rows: Their positions among all patients.
    """

    patients: Patients
    rows: NDArray[np.int64]


def with_deep_features(patients: Patients, source: DeepSource, fold: int, splits: Splits) -> Patients:
    """Patients with a block of columns per cross network of a fold.

    A network's columns are missing (NaN) for patients it was trained on, so that no model can
    be fitted on them or predict from them.

    Args:
        patients: All usable patients, with other features or none.
        source: Deep features of all cross networks.
        fold: Number of the study's fold.
        splits: The study's folds.

    Raises:
        ModelError: A cross network was trained on patients that are not its fold's training
            patients, or gives no features of a patient.
    """

    cross = read_splits(source.splits)
    parts = len(cross.folds) // len(splits.folds)
    blocks, names = [patients.features], list(patients.names)
    for part in range(parts):
        number = fold * parts + part
        trained = set(cross.folds[number].train)
        _check_trained(trained, splits, fold, number)
        read_whole(source.tables[number].parent, source.tables[number].name)
        frame = read_frame(source.tables[number]).set_index("patient_id")
        values = _values_of(frame, patients, source.tables[number])
        values[[str(p) in trained for p in patients.table.index]] = np.nan
        blocks.append(values)
        names.extend(_block_prefix(part) + str(column) for column in frame.columns)
    return Patients(patients.table, np.concatenate(blocks, axis=1), tuple(names))


def _block_prefix(number: int) -> str:
    """Prefix of the columns of one cross network among a fold's patients."""
    return f"block{number}:"


def _check_trained(trained: set[str], splits: Splits, fold: int, number: int) -> None:
    """Refuse a network that was trained on other patients than its fold's training patients."""
    foreign = sorted(trained - set(splits.folds[fold].train))
    if foreign:
        raise ModelError(
            "deep features come from a network that was trained on patients of other sets",
            where=f"cross network {number}, fold {fold}",
            expected="training patients of its fold only",
            got=", ".join(foreign[:5]),
            action="rerun cross_splits and the networks after it",
        )


def _values_of(frame: pd.DataFrame, patients: Patients, path: Path) -> Array:
    """(n, d) values in the patients' order."""
    absent = [str(p) for p in patients.table.index if p not in frame.index]
    if absent:
        raise ModelError(
            "a network gives no deep features of some patients",
            where=str(path),
            got=f"{len(absent)} absent: {', '.join(absent[:5])}",
            action="rerun the network",
        )
    return np.array(frame.loc[patients.table.index].to_numpy(dtype=float))


def count_blocks(patients: Patients) -> int:
    """Number of cross networks whose columns the patients have; 0 where there are none."""
    prefixes = {name.split(":", 1)[0] for name in patients.names if ":" in name}
    return sum(prefix.startswith("block") for prefix in prefixes)


def select_block(patients: Patients, number: int) -> Block:
    """The block of one cross network."""
    prefix = _block_prefix(number)
    own = [name.startswith(prefix) for name in patients.names]
    foreign = [":" in name and not is_own for name, is_own in zip(patients.names, own, strict=True)]
    rows = np.flatnonzero(~np.isnan(patients.features[:, own]).all(axis=1))
    columns = np.flatnonzero(~np.array(foreign, dtype=bool))
    names = tuple(patients.names[i].removeprefix(prefix) for i in columns)
    part = patients.pick(rows)
    return Block(Patients(part.table, part.features[:, columns], names), rows)


def fit_estimator(model: ClassicalModel, train: Patients, context: Context) -> FittedModel:
    """Fit a model with all that comes before it; one that is offered deep features, once per block.

    Args:
        model: The model's settings.
        train: The training patients; nothing is learned from others.
        context: Seed, threads and what some models need beside the patients.

    Raises:
        ModelError: The model is offered deep features, and there are none.
    """
    if not model.needs.deep:
        return fit_preprocessed(model, train, context)
    number_of_blocks = count_blocks(train)
    if not number_of_blocks:
        raise ModelError("a model is offered deep features, and there are none", action="rerun its network")
    parts = [_fit_block(model, train, context, number) for number in range(number_of_blocks)]

    def score(patients: Patients) -> Array:
        return _mean_over_blocks(parts, patients)

    return FittedModel(
        score,
        {"deep_features_of": model.needs.deep, "parts": [part.report for part in parts]},
        tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        tuple(dict.fromkeys(caveat for part in parts for caveat in part.caveats)),
    )


def _fit_block(model: ClassicalModel, train: Patients, context: Context, number: int) -> FittedModel:
    """Fit a model on one network's features of the patients that the network was not trained on."""
    part = select_block(train, number).patients
    if not part.event.any():
        raise ModelError(
            "no patient with an event is left in a part of the cross-fitting",
            got=f"{len(part)} patients",
            action="use fewer folds or parts (plan.cross_parts)",
        )
    if context.validation is not None:
        context = replace(context, validation=select_block(context.validation, number).patients)
    return fit_preprocessed(model, part, context)


def _mean_over_blocks(parts: list[FittedModel], patients: Patients) -> Array:
    """(n,) mean risk over the networks that were not trained on a patient."""
    total, count = np.zeros(len(patients)), np.zeros(len(patients))
    for number, part in enumerate(parts):
        block = select_block(patients, number)
        total[block.rows] += part.score(block.patients)
        count[block.rows] += 1
    mean: Array = total / np.maximum(count, 1)
    return mean
