"""Groups of rows (slices of a volume) are on one side of every split, and given splits are kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import TrainingError
from pipeline.planning.blocks import STRATA, blocks_of, deal, draw
from pipeline.planning.cross_splits import write_cross_splits
from pipeline.planning.folds import divide
from pipeline.settings.plan import PlanSettings
from pipeline.tables.cohort import Patient
from pipeline.tables.splits import read_splits
from tests.planning.made_up import cohort, plan, without_outcomes


def in_volumes(people: Sequence[Patient], slices: int) -> list[Patient]:
    """Every `slices` patients, one after the other, are slices of one volume; the last ten have none."""
    alone = len(people) - 10
    return [
        replace(p, group=f"v{i // slices}" if i < alone else "", event=int(i // slices % 3 == 0))
        for i, p in enumerate(people)
    ]


def test_patients_alone_are_dealt_in_turn_as_before_there_were_groups() -> None:
    people = cohort(47)

    # The rule as docs/stages/plan.md states it, written out once more.
    def key(p: Patient) -> tuple[bytes, str]:
        return hashlib.sha256(f"3\0{p.patient_id}".encode()).digest(), p.patient_id

    order = [p for event in STRATA for p in sorted((q for q in people if q.event == event), key=key)]
    turn = [{p.patient_id for p in order[k::5]} for k in range(5)]
    assert deal(blocks_of(people), 5, "3") == turn


@pytest.mark.parametrize("folds", [2, 5])
def test_no_fold_and_no_validation_set_cuts_a_group(folds: int) -> None:
    people = in_volumes(cohort(130), 6)
    name = {p.patient_id: p.group or p.patient_id for p in people}
    made = divide(people, PlanSettings(folds=folds, validation_fraction=0.2), 7)
    for fold in made:
        sides = [{name[p] for p in ids} for ids in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)), "a group is on two sides"
        assert 0.1 * 130 * (1 - 1 / folds) < len(fold.validation) < 0.3 * 130
    assert Counter(p for fold in made for p in fold.test) == Counter(name.keys())
    sizes = [len(fold.test) for fold in made]
    assert max(sizes) - min(sizes) <= 6, "no more than a volume apart"


def test_a_share_that_no_group_fits_into_takes_the_smallest() -> None:
    people = [replace(p, group="large" if i < 9 else "small") for i, p in enumerate(without_outcomes(15))]
    assert draw(blocks_of(people), 0.1, "s") == {p.patient_id for p in people[9:]}
    assert not draw(blocks_of(people[:9]), 0.1, "s"), "one block alone is never drawn: nobody would train"


def test_given_sets_are_kept_and_repeats_share_them() -> None:
    people = [replace(p, split="validation" if i % 5 == 0 else "train") for i, p in enumerate(cohort(40))]
    first, second = divide(people, PlanSettings(folds=1, repeats=2), 1)
    assert first == second and not first.test
    assert set(first.validation) == {p.patient_id for p in people[::5]}
    assert set(first.train) == {p.patient_id for p in people} - set(first.validation)


def test_given_folds_are_kept() -> None:
    people = [replace(p, split=str(1 + i % 3)) for i, p in enumerate(cohort(60))]
    made = divide(people, PlanSettings(folds=3), 1)
    for number, fold in enumerate(made):
        assert set(fold.test) == {p.patient_id for p in people[number::3]}


@pytest.mark.parametrize(
    ("split", "folds", "message"),
    [
        ("4", 3, "does not fit plan.folds: 3.*1 to 3.*got: '4'"),
        ("train", 3, "does not fit plan.folds: 3"),
        ("2", 1, "does not fit plan.folds: 1.*train or validation"),
    ],
)
def test_a_split_that_does_not_fit_the_folds_is_refused(split: str, folds: int, message: str) -> None:
    people = [replace(p, split=split) for p in cohort(40)]
    with pytest.raises(TrainingError, match=message):
        divide(people, PlanSettings(folds=folds), 1)


def test_a_group_of_two_centres_is_refused_where_centres_are_held_out() -> None:
    people = cohort(60)
    other = next(i for i, p in enumerate(people) if p.centre != people[0].centre)
    people = [replace(p, group="v" if i in (0, other) else "") for i, p in enumerate(people)]
    with pytest.raises(TrainingError, match="group 'v' has patients of two centres"):
        divide(people, PlanSettings(folds=2, by_centre=True), 1)


def test_subsets_are_parts_of_the_same_sets(tmp_path: Path) -> None:
    people = [
        replace(p, subsets=("small", "all_b") if i % 2 else ("all_b",)) for i, p in enumerate(cohort(60))
    ]
    splits = plan(tmp_path, people, folds=3)
    assert read_splits(tmp_path / "splits.json") == splits
    small = splits.of_subset("small")
    members = {p.patient_id for p in people[1::2]}
    for part, whole in zip(small.folds, splits.folds, strict=True):
        assert set(part.train) == set(whole.train) & members and set(part.test) == set(whole.test) & members
    assert splits.of_subset("") == splits


def test_cross_fitting_cuts_no_group(tmp_path: Path) -> None:
    people = in_volumes(cohort(130), 4)
    plan(tmp_path, people, folds=2)
    write_cross_splits(tmp_path / "splits.json", tmp_path / "cohort.parquet", 2, 0, tmp_path / "cross.json")
    name = {p.patient_id: p.group or p.patient_id for p in people}
    for fold in read_splits(tmp_path / "cross.json").folds:
        assert not {name[p] for p in fold.train} & {name[p] for p in fold.test}
