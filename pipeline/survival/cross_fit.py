"""Deep features for classical models: each network's features only of patients it was not trained on.

A network's features of its own training patients separate their outcomes far better than those
of anybody else; a model fitted on them learns what does not hold out of sample. So a fold's
training patients are dealt into parts; for each part a network is trained on the others. The
spaces of two networks have no axis in common (Li et al., Convergent Learning, ICLR 2016), so
features of different networks are never put into one column: a classical model is fitted on
each part in its own network's space, and a patient's risk is the mean over those networks that
were not trained on the patient. That is cross-fitting (Chernozhukov et al., Econometrics J
2018; 21: C1, section 3) of features in place of nuisance functions; stacking asks the same of
its first level (Wolpert, Neural Networks 1992; 5: 241).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.survival.patients import Patients
from pipeline.tables.splits import Splits, read_splits

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "deep_"
"""Deep features as a classical model sees them, and as `deep_features.parquet` names them."""


@dataclass(frozen=True)
class DeepSource:
    """Where cross-fitted deep features come from.

    Attributes:
        tables: `deep_features.parquet` of every cross network, fold by fold, part by part.
        splits: `cross_splits.json`, a fold for each of them.
    """

    tables: tuple[Path, ...]
    splits: Path


def space_prefix(number: int) -> str:
    """Prefix of the columns of one cross network among a fold's patients."""
    return f"space{number}:"


def with_deep_features(patients: Patients, source: DeepSource, fold: int, splits: Splits) -> Patients:
    """Patients with a block of columns per cross network of a fold.

    A network's columns are missing (NaN) for patients it was trained on, so that no model can
    be fitted on them or score by them.

    Args:
        patients: All usable patients, with other features or none.
        source: Deep features of all cross networks.
        fold: Number of the study's fold.
        splits: The study's.

    Raises:
        ModelError: A cross network was trained on patients that are not its fold's training
            patients, or gives no features of a patient.
    """
    import pandas as pd

    cross = read_splits(source.splits)
    parts = len(cross.folds) // len(splits.folds)
    blocks, names = [patients.features], list(patients.names)
    for j in range(parts):
        number = fold * parts + j
        trained = set(cross.folds[number].train)
        _check_trained(trained, splits, fold, number)
        frame = pd.read_parquet(source.tables[number]).set_index("patient_id")
        values = _of_patients(frame, patients, source.tables[number])
        values[[str(p) in trained for p in patients.table.index]] = np.nan
        blocks.append(values)
        names.extend(space_prefix(j) + str(c) for c in frame.columns)
    return Patients(patients.table, np.concatenate(blocks, axis=1), tuple(names))


def _check_trained(trained: set[str], splits: Splits, fold: int, number: int) -> None:
    """A network that gives features of a fold knows training patients of that fold only."""
    foreign = sorted(trained - set(splits.folds[fold].train))
    if foreign:
        raise ModelError(
            "deep features come from a network that was trained on patients of other sets",
            where=f"cross network {number}, fold {fold}",
            expected="training patients of its fold only",
            got=", ".join(foreign[:5]),
            action="rerun cross_splits and the networks after it",
        )


def _of_patients(frame: pd.DataFrame, patients: Patients, path: Path) -> NDArray[np.float64]:
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


def spaces_of(patients: Patients) -> int:
    """How many cross networks' columns patients have; 0: none."""
    found = {name.split(":", 1)[0] for name in patients.names if ":" in name}
    return len([name for name in found if name.startswith("space")])


def in_space(patients: Patients, number: int) -> tuple[Patients, NDArray[np.int64]]:
    """Patients a cross network was not trained on, in its space.

    Returns:
        Those patients with the shared features and the network's own, named `deep_*`; and
        their positions.
    """
    mine = space_prefix(number)
    own = [name.startswith(mine) for name in patients.names]
    foreign = [":" in name and not o for name, o in zip(patients.names, own, strict=True)]
    rows = np.flatnonzero(~np.isnan(patients.features[:, own]).all(axis=1))
    kept = np.flatnonzero(~np.array(foreign, dtype=bool))
    names: Sequence[str] = [patients.names[i].removeprefix(mine) for i in kept]
    part = patients.pick(rows)
    return Patients(part.table, part.features[:, kept], tuple(names)), rows
