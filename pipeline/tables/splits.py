"""Folds of a study: `splits.json`, the names of their sets, and how patients are dealt to parts."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pipeline.tables.failures import own_result
from pipeline.tables.whole import write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FoldSet = Literal["train", "validation", "test", "external"]
"""Set of a patient as one fold sees it, the value of every column `set` of a fold's files."""
FOLD_SETS: tuple[FoldSet, ...] = get_args(FoldSet)


@dataclass(frozen=True)
class Fold:
    """Patient ids of one fold; the three sets are disjoint and cover the development patients.

    Attributes:
        train: The patients that models are fitted on.
        validation: Choose the epoch, and shrink survival probabilities.
        test: Are only predicted.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """All folds and the external patients.

    Attributes:
        folds: In the order of their numbers.
        external: Patients that every fold predicts and none learns from.
        seed: Seed of the draw.
        subsets: Name of a subset of the cohort → its patients.
        repeats: Folds of each further cross-validation of the same patients, by which only the spread of
            classical models is judged.
    """

    folds: tuple[Fold, ...]
    external: tuple[str, ...]
    seed: int
    subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repeats: tuple[tuple[Fold, ...], ...] = ()

    def of_subset(self, name: str) -> Splits:
        """The same sets without the patients who are not of a subset; empty name: all patients."""
        if not name:
            return self
        members = set(self.subsets[name])
        folds = tuple(
            Fold(*(_among(ids, members) for ids in (fold.train, fold.validation, fold.test)))
            for fold in self.folds
        )
        return Splits(folds, _among(self.external, members), self.seed, self.subsets)

    def sets(self, fold: int) -> dict[FoldSet, tuple[str, ...]]:
        """Patients of each set as one fold sees them."""
        members = self.folds[fold]
        return {
            "train": members.train,
            "validation": members.validation,
            "test": members.test,
            "external": self.external,
        }


def _among(ids: Collection[str], members: set[str]) -> tuple[str, ...]:
    return tuple(patient_id for patient_id in ids if patient_id in members)


def write_splits(path: Path, splits: Splits) -> None:
    """Write folds as JSON."""
    write_text(path, json.dumps(asdict(splits), indent=1) + "\n")


def read_splits(path: Path) -> Splits:
    """Read folds from JSON."""
    with own_result(path, "JSON with the patients of every fold"):
        raw = json.loads(path.read_text(encoding="utf-8"))
        subsets = {name: tuple(ids) for name, ids in raw["subsets"].items()}
        repeats = tuple(_folds(division) for division in raw.get("repeats", ()))
        return Splits(_folds(raw["folds"]), tuple(raw["external"]), raw["seed"], subsets, repeats)


def _folds(rows: Sequence[Mapping[str, Sequence[str]]]) -> tuple[Fold, ...]:
    """Folds from plain values."""
    return tuple(Fold(*(tuple(row[name]) for name in ("train", "validation", "test"))) for row in rows)


def stratified_folds(
    stratum: NDArray[np.bool_] | NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """Number of the fold of each of n patients, who are dealt out at random, stratum by stratum.

    Args:
        stratum: (n,) whether the event occurred (those with it are dealt first), or a class (the highest first).
        folds: Number of folds.
        seed: Seed of the random order.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    strata = [np.flatnonzero(stratum == value) for value in np.unique(stratum)[::-1]]
    assigned = np.empty(len(stratum), dtype=np.int64)
    if strata:
        order = np.concatenate([generator.permutation(members) for members in strata])
        assigned[order] = np.arange(len(stratum)) % folds
    return assigned


def groups_with_event(event: NDArray[np.bool_], group: NDArray[np.object_]) -> int:
    """Number of groups with a patient who had the event; of patients each on his own, the number of events.

    Args:
        event: (n,) whether the event occurred.
        group: (n,) group of each patient.
    """
    return len(set(group[event]))


def grouped_stratified_folds(
    stratum: NDArray[np.bool_] | NDArray[np.int64], group: NDArray[np.object_], folds: int, seed: int
) -> NDArray[np.int64]:
    """Number of the fold of each of n patients, where no fold cuts a group (slices of a volume).

    Whole groups are dealt out as :func:`stratified_folds` deals patients, a group by the highest stratum of its
    patients: those with an event first. Where no two patients share a group, the folds are the same as without groups.

    Args:
        stratum: (n,) whether the event occurred, or a class from 0.
        group: (n,) group of each patient.
        folds: Number of folds.
        seed: Seed of the random order of groups.
    """
    import numpy as np

    number_of = {name: number for number, name in enumerate(dict.fromkeys(group))}
    number = np.array([number_of[name] for name in group], dtype=np.int64)
    highest = np.zeros(len(number_of), dtype=np.int64)
    np.maximum.at(highest, number, stratum.astype(np.int64))
    return stratified_folds(highest, folds, seed)[number]
