"""Folds are stratified, disjoint, and the same whatever the order of the table."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from pipeline.errors import TrainingError
from pipeline.planning.folds import divide, further_divisions, infeasible_plan_reason
from pipeline.settings.plan import PlanSettings
from tests.planning.made_up import cohort, without_outcomes


@pytest.mark.parametrize(
    ("n", "folds", "validation"), [(30, 5, 0.2), (47, 5, 0.25), (101, 3, 0.1), (40, 4, 0.0)]
)
def test_folds_are_stratified_disjoint_and_cover_everyone(n: int, folds: int, validation: float) -> None:
    people = cohort(n)
    events = {p.patient_id for p in people if p.event}
    made = divide(people, PlanSettings(folds=folds, validation_fraction=validation), 3)
    held = [set(f.test) for f in made]
    assert set.union(*held) == {p.patient_id for p in people}
    assert sum(map(len, held)) == n
    # Dealt in turn: sizes and events differ by at most one between folds.
    assert max(map(len, held)) - min(map(len, held)) <= 1
    counts = [len(h & events) for h in held]
    assert max(counts) - min(counts) <= 1
    for fold in made:
        train, inside, out = set(fold.train), set(fold.validation), set(fold.test)
        assert not train & inside and not train & out and not inside & out
        assert len(train | inside | out) == n
        rest = len(train | inside)
        assert abs(len(inside) - validation * rest) <= 1
        if validation:
            share = len(events & (train | inside)) / rest
            assert abs(len(events & inside) - share * len(inside)) <= 1


def test_one_fold_holds_out_nobody_and_repeats_draw_other_validation_patients() -> None:
    people = cohort(50)
    made = divide(people, PlanSettings(folds=1, repeats=3, validation_fraction=0.2), 3)
    assert [f.test for f in made] == [(), (), ()]
    for fold in made:
        assert set(fold.train) | set(fold.validation) == {p.patient_id for p in people}
        assert not set(fold.train) & set(fold.validation) and len(fold.validation) == 10
    assert len({f.validation for f in made}) == 3


def test_further_cross_validations_are_stratified_keep_groups_and_differ() -> None:
    people = [replace(p, group=f"g{i // 2}") for i, p in enumerate(cohort(60))]
    settings = PlanSettings(folds=4, repeats=3)
    divisions = further_divisions(people, settings, 3)
    assert len(divisions) == 2 and divisions == further_divisions(people[::-1], settings, 3)
    held = [tuple(fold.test for fold in division) for division in (divide(people, settings, 3), *divisions)]
    assert len(set(held)) == 3
    group = {p.patient_id: p.group for p in people}
    for division in divisions:
        assert sorted(p for fold in division for p in fold.test) == sorted(group)
        for fold in division:
            assert not {group[p] for p in fold.test} & {group[p] for p in (*fold.train, *fold.validation)}
    assert further_divisions(people, PlanSettings(folds=4), 3) == ()
    assert further_divisions(people, PlanSettings(folds=1, repeats=3), 3) == ()


def test_further_cross_validations_by_centre_hold_out_other_centres_or_are_refused() -> None:
    people = cohort(90, centres=9)
    settings = PlanSettings(folds=3, repeats=4, by_centre=True, validation_fraction=0.2)
    centre = {p.patient_id: p.centre for p in people}
    divisions = [divide(people, settings, 3), *further_divisions(people, settings, 3)]
    held = [frozenset(frozenset(centre[p] for p in fold.test) for fold in folds) for folds in divisions]
    assert len(set(held)) == 4, "the same centres are together in no two repeats"
    for folds in held:
        assert sum(map(len, folds)) == 9 == len(frozenset.union(*folds)), "no fold cuts a centre"
    few = cohort(90, centres=3)
    with pytest.raises(TrainingError, match="the same folds each time.*3 centres for 3 folds"):
        further_divisions(few, settings, 3)
    assert "the same folds each time" in infeasible_plan_reason(few, settings, 3)
    given = [replace(p, split=str(1 + i % 3)) for i, p in enumerate(people)]
    with pytest.raises(TrainingError, match="column 'split' gives the folds"):
        further_divisions(given, PlanSettings(folds=3, repeats=2), 3)


def test_order_of_the_table_changes_nothing_and_the_seed_does() -> None:
    people = cohort(40)
    shuffled = random.Random(1).sample(people, len(people))
    settings = PlanSettings(folds=4)
    assert divide(people, settings, 1) == divide(shuffled, settings, 1)
    assert divide(people, settings, 1) != divide(people, settings, 2)


def test_outcome_times_do_not_matter_to_the_folds() -> None:
    people = cohort(40)
    other = [replace(p, time_days=p.time_days * 7 + 1) for p in people]
    assert divide(people, PlanSettings(), 1) == divide(other, PlanSettings(), 1)


def test_whole_centres_are_held_out() -> None:
    people = cohort(60, centres=7)
    made = divide(people, PlanSettings(folds=3, by_centre=True), 1)
    centre = {p.patient_id: p.centre for p in people}
    for fold in made:
        assert not {centre[p] for p in fold.test} & {centre[p] for p in (*fold.train, *fold.validation)}
    assert sum(len(f.test) for f in made) == 60


def test_centres_are_held_out_without_outcomes() -> None:
    folds = divide(without_outcomes(40), PlanSettings(folds=2, by_centre=True), 1)
    centre = {p.patient_id: p.centre for p in without_outcomes(40)}
    assert {centre[p] for p in folds[0].test}.isdisjoint(centre[p] for p in folds[1].test)


def test_fewer_centres_than_folds_is_refused() -> None:
    with pytest.raises(TrainingError, match="fewer centres than folds.*c0 .*lower plan.folds"):
        divide(cohort(60, centres=2), PlanSettings(folds=3, by_centre=True), 1)


@pytest.mark.parametrize(("n", "rate", "folds"), [(40, 0.1, 5), (4, 0.5, 2), (6, 1.0, 5)])
def test_too_few_events_or_patients_are_refused(n: int, rate: float, folds: int) -> None:
    with pytest.raises(TrainingError, match=r"too few patients or events .* fold \d, set \w+"):
        divide(cohort(n, rate), PlanSettings(folds=folds), 1)


@pytest.mark.parametrize(
    ("events", "patients", "validation", "message"),
    [
        # Two folds hold out 3 and 2 of 5 events; of the 2 left one is validation, and one trains no Cox loss.
        (5, 10, 0.2, "fold 0, set train; .* got: . patients and 1 event"),
        (6, 12, 0.2, "^$"),
        (5, 10, 0.0, "^$"),
    ],
)
def test_what_the_plan_would_refuse_is_known_before(
    events: int, patients: int, validation: float, message: str
) -> None:
    people = [replace(p, event=int(n < events)) for n, p in enumerate(cohort(patients))]
    assert re.search(
        message, infeasible_plan_reason(people, PlanSettings(folds=2, validation_fraction=validation), 1)
    )
