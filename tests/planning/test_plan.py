"""Plan and training plan of a study: outcomes or none, external patients, equal bytes."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.errors import TrainingError
from pipeline.planning.folds import divide
from pipeline.planning.plan import patients_from
from pipeline.settings.plan import PlanSettings
from pipeline.tables.outcomes import read_outcomes
from tests.planning.made_up import cohort, plan, without_outcomes


def test_one_fold_needs_external_patients(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no patients to evaluate the models on"):
        plan(tmp_path, cohort(30), folds=1)
    made = plan(tmp_path, cohort(30, external=5), folds=1)
    assert len(made.external) == 5 and len(made.folds) == 1


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    people = cohort(30)
    for name, order in (("a", people), ("b", people[::-1])):
        folder = tmp_path / name
        plan(folder, order, folds=3)
    for name in ("splits.json", "plan.json", "problems.csv", "cohort.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_patients_survive_the_way_through_a_rule() -> None:
    people = cohort(3)
    assert list(patients_from([asdict(p) for p in people])) == people


def test_without_outcomes_patients_are_dealt_out_at_random(tmp_path: Path) -> None:
    splits = plan(tmp_path, without_outcomes(23, external=2), folds=4, validation_fraction=0.25)
    # 23 in 4 folds; a quarter of the other 17 or 18, rounded, is 4.
    assert sorted(len(f.test) for f in splits.folds) == [5, 6, 6, 6]
    assert [len(f.validation) for f in splits.folds] == [4] * 4
    assert sorted(p for f in splits.folds for p in f.test) == sorted(
        p.patient_id for p in without_outcomes(23)
    )
    assert list(read_outcomes(tmp_path / "cohort.parquet").columns) == ["set", "centre"]
    plan_json = json.loads((tmp_path / "plan.json").read_text())
    assert (
        plan_json["patients"]["events"]
        is plan_json["external"]["events"]
        is plan_json["folds"][0]["validation"]["events"]
        is None
    )
    assert plan_json["external"]["patients"] == 2
    people = without_outcomes(23)
    random.Random(1).shuffle(people)
    assert divide(people, PlanSettings(folds=4, validation_fraction=0.25), 1) == splits.folds


def test_without_outcomes_patients_alone_are_counted(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least 3 patients.*2 patients"):
        plan(tmp_path, without_outcomes(4), folds=4, validation_fraction=0.2)
