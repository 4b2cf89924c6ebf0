"""Folds: stratified, disjoint, whatever the order of the table; problems gathered once."""

from __future__ import annotations

import csv
import json
import random
import re
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.errors import TableError, TrainingError
from pipeline.planning.exclusions import gather_problems
from pipeline.planning.folds import divide, infeasible_plan_reason
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan, patients_from
from pipeline.planning.training_plan import ModelPlan, ResolveJob, resolve_training
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.store.crops import write_excluded
from pipeline.tables.cohort import Patient
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.splits import Splits, read_splits
from pipeline.tables.status import Status, write_status
from pipeline.training.sampler import make_sampler


def cohort(n: int, rate: float = 0.4, centres: int = 4, external: int = 0) -> list[Patient]:
    draw = random.Random(n)
    return [
        Patient(
            f"id{draw.randrange(10**9)}_{i}",
            "external" if i >= n else "development",
            f"c{draw.randrange(centres)}",
            "-",
            "",
            draw.uniform(10, 3000),
            int(i % 10 < 10 * rate),
        )
        for i in range(n + external)
    ]


def plan(folder: Path, people, stages=None, table=None, models=None, **settings):
    """The rules problems, plan and resolve, one after the other."""
    problems, chosen = folder / "problems.csv", PlanSettings(**settings)
    gather_problems(stages or {}, table or {}, problems)
    where = PlanPaths(folder / "splits.json", folder / "cohort.parquet")
    splits = make_plan(PlanJob(tuple(people), problems, chosen, 1), where)
    job = ResolveJob(where.splits, where.cohort, problems, chosen, models or {})
    resolve_training(job, folder / "plan.json")
    return splits


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


def test_one_fold_holds_out_nobody_and_repeats_draw_other_inner_patients() -> None:
    people = cohort(50)
    made = divide(people, PlanSettings(folds=1, repeats=3, validation_fraction=0.2), 3)
    assert [f.test for f in made] == [(), (), ()]
    for fold in made:
        assert set(fold.train) | set(fold.validation) == {p.patient_id for p in people}
        assert not set(fold.train) & set(fold.validation) and len(fold.validation) == 10
    assert len({f.validation for f in made}) == 3


def test_one_fold_needs_external_patients(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nobody to judge the models on"):
        plan(tmp_path, cohort(30), folds=1)
    made = plan(tmp_path, cohort(30, external=5), folds=1)
    assert len(made.external) == 5 and len(made.folds) == 1


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


def _stages(root: Path, people: list[Patient]) -> dict[str, list[Path]]:
    stages: dict[str, list[Path]] = {}
    for number, patient in enumerate(people):
        name = patient.patient_id
        folders = [root / stage / name for stage in ("index", "convert")]
        store, table = root / "crops" / f"{name}.zarr", root / "radiomics" / f"{name}.parquet"
        status = Status("ok", "index")
        if number == 0:
            status = Status("excluded", "index", "no PET", "excluded from the study")
        elif number == 1:
            status = Status("warned", "index", "two CTs", "used")
        for folder in folders:
            write_status(
                folder, status if folder.parent.name == "index" or number == 0 else Status("ok", "x")
            )
        crop = status if number == 0 else Status("warned", "crop", "lesion cut", "used")
        write_excluded(store, crop if number in (0, 2) else Status("ok", "crop"))
        table.parent.mkdir(exist_ok=True)
        radiomics = Status("excluded", "radiomics", "mask empty", "out") if number == 3 else Status("ok", "r")
        said = {b"status": json.dumps(asdict(radiomics)).encode()}
        pyarrow.parquet.write_table(pa.table({"a": [1]}).replace_schema_metadata(said), table)
        stages[name] = [*folders, store, table]
    return stages


def test_problems_are_gathered_from_every_kind_of_output(tmp_path: Path) -> None:
    people = sorted(cohort(30, external=5), key=lambda p: (p.set, p.patient_id))
    stages = _stages(tmp_path, people)
    models = {"net": ModelPlan("deepmts", TrainingSettings(checkpoint_selection="best_test"))}
    splits = plan(tmp_path, people, stages, {"bad1": "time is 0"}, models, folds=3)
    with (tmp_path / "problems.csv").open() as stream:
        rows = [(r["patient_id"], r["stage"], r["state"], r["problem"]) for r in csv.DictReader(stream)]
    a, b, c, d = (p.patient_id for p in people[:4])
    assert rows == [
        ("bad1", "cohort", "excluded", "time is 0"),
        (a, "index", "excluded", "no PET"),  # passed on by two later stages: told once
        (b, "index", "warned", "two CTs"),
        (c, "crop", "warned", "lesion cut"),
        (d, "radiomics", "excluded", "mask empty"),
    ]
    used = {p for f in splits.folds for p in (*f.train, *f.validation, *f.test)} | set(splits.external)
    assert used == {p.patient_id for p in people} - {a, d}
    assert read_splits(tmp_path / "splits.json") == splits
    outcomes = read_outcomes(tmp_path / "cohort.parquet")
    assert set(outcomes.index) == used and outcomes.index.is_monotonic_increasing
    told = json.loads((tmp_path / "plan.json").read_text())
    assert told["patients"]["excluded"] == sorted(["bad1", a, d]) and told["patients"]["in_table"] == 36
    assert told["models"]["net"]["training"]["iterations"] == 15000
    assert told["caveats"] == ["net: the epoch was chosen on the test fold that is reported"]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    people = cohort(30)
    for name, order in (("a", people), ("b", people[::-1])):
        folder = tmp_path / name
        plan(folder, order, folds=3)
    for name in ("splits.json", "plan.json", "problems.csv", "cohort.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_nobody_usable_is_refused_but_problems_are_told(tmp_path: Path) -> None:
    people = cohort(5)
    for patient in people:
        write_status(tmp_path / patient.patient_id, Status("excluded", "index", "no PET", "out"))
    stages = {p.patient_id: [tmp_path / p.patient_id] for p in people}
    with pytest.raises(TrainingError, match="no development patient is usable"):
        plan(tmp_path, people, stages)
    assert len((tmp_path / "problems.csv").read_text().splitlines()) == 6


def test_a_missing_status_is_told(tmp_path: Path) -> None:
    people = cohort(30)
    with pytest.raises(TableError, match="status cannot be read"):
        plan(tmp_path, people, {people[0].patient_id: [tmp_path / "gone"]})


def test_patients_survive_the_way_through_a_rule() -> None:
    people = cohort(3)
    assert list(patients_from([asdict(p) for p in people])) == people


def test_splits_keep_their_contract(study: Path) -> None:
    splits: Splits = read_splits(study / "splits.json")
    assert len(splits.folds) == 3 and len(splits.external) == 4
    assert isinstance(pd.read_parquet(study / "cohort.parquet"), pd.DataFrame)


def bare(count: int, external: int = 0) -> list[Patient]:
    """Patients without outcomes."""
    return [replace(p, time_days=None, event=None) for p in cohort(count, external=external)]


def test_without_outcomes_patients_are_dealt_out_at_random(tmp_path: Path) -> None:
    splits = plan(tmp_path, bare(23, external=2), folds=4, validation_fraction=0.25)
    # 23 in 4 folds; a quarter of the other 17 or 18, rounded, is 4.
    assert sorted(len(f.test) for f in splits.folds) == [5, 6, 6, 6]
    assert [len(f.validation) for f in splits.folds] == [4] * 4
    assert sorted(p for f in splits.folds for p in f.test) == sorted(p.patient_id for p in bare(23))
    assert list(read_outcomes(tmp_path / "cohort.parquet").columns) == ["set", "centre"]
    told = json.loads((tmp_path / "plan.json").read_text())
    assert (
        told["patients"]["events"]
        is told["external"]["events"]
        is told["folds"][0]["validation"]["events"]
        is None
    )
    assert told["external"]["patients"] == 2
    people = bare(23)
    random.Random(1).shuffle(people)
    assert divide(people, PlanSettings(folds=4, validation_fraction=0.25), 1) == splits.folds


def test_without_outcomes_patients_alone_are_counted(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least 3 patients.*2 patients"):
        plan(tmp_path, bare(4), folds=4, validation_fraction=0.2)


def test_without_outcomes_nothing_is_marked_of_hazards(tmp_path: Path) -> None:
    plan(tmp_path, bare(9), folds=3, validation_fraction=0)
    assert json.loads((tmp_path / "plan.json").read_text())["caveats"] == []


def test_centres_are_held_out_without_outcomes() -> None:
    folds = divide(bare(40), PlanSettings(folds=2, by_centre=True), 1)
    centre = {p.patient_id: p.centre for p in bare(40)}
    assert {centre[p] for p in folds[0].test}.isdisjoint(centre[p] for p in folds[1].test)


def test_batches_without_outcomes_balance_nothing() -> None:
    sampler = make_sampler([3, 5, 8], None, 2, seed=1, balance=False)
    assert {row for i in range(9) for row in sampler.batch_at(i)} == {3, 5, 8}
    with pytest.raises(TrainingError, match="batches balance events, and the study has no outcomes"):
        make_sampler([3, 5, 8], None, 2, seed=1, balance=True)
