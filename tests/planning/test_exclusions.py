"""Problems of every kind of output are gathered, each once."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.errors import DamageError, TrainingError
from pipeline.planning.training_plan import ModelPlan
from pipeline.settings.training import TrainingSettings
from pipeline.store.crops import write_excluded
from pipeline.tables.cohort import Patient
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.splits import read_splits
from pipeline.tables.status import Status, write_status
from tests.planning.made_up import cohort, plan


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
    models = {
        "net": ModelPlan("deepmts", TrainingSettings(checkpoint_selection="best_test")),
        "next": ModelPlan("deepmts", TrainingSettings(pretrained_from="net")),
    }
    splits = plan(tmp_path, people, stages, {"bad1": "time is 0"}, models, folds=3)
    with (tmp_path / "problems.csv").open() as stream:
        rows = [(r["patient_id"], r["stage"], r["state"], r["problem"]) for r in csv.DictReader(stream)]
    a, b, c, d = (p.patient_id for p in people[:4])
    assert rows == [
        ("bad1", "cohort", "excluded", "time is 0"),
        (a, "index", "excluded", "no PET"),  # passed on by two later stages: listed once
        (b, "index", "warned", "two CTs"),
        (c, "crop", "warned", "lesion cut"),
        (d, "radiomics", "excluded", "mask empty"),
    ]
    used = {p for f in splits.folds for p in (*f.train, *f.validation, *f.test)} | set(splits.external)
    assert used == {p.patient_id for p in people} - {a, d}
    assert read_splits(tmp_path / "splits.json") == splits
    outcomes = read_outcomes(tmp_path / "cohort.parquet")
    assert set(outcomes.index) == used and outcomes.index.is_monotonic_increasing
    plan_json = json.loads((tmp_path / "plan.json").read_text())
    assert (
        plan_json["patients"]["excluded"] == sorted(["bad1", a, d])
        and plan_json["patients"]["in_table"] == 36
    )
    assert plan_json["models"]["net"]["training"]["iterations"] == 15000
    chosen = "the epoch was chosen on the test fold that is reported"
    started = "next: training started from net, of which "
    assert plan_json["caveats"] == [f"net: {chosen}", started + chosen]


def test_without_a_usable_patient_the_plan_is_refused_and_problems_are_written(tmp_path: Path) -> None:
    people = cohort(5)
    for patient in people:
        write_status(tmp_path / patient.patient_id, Status("excluded", "index", "no PET", "out"))
    stages = {p.patient_id: [tmp_path / p.patient_id] for p in people}
    with pytest.raises(TrainingError, match="no development patient is usable"):
        plan(tmp_path, people, stages)
    assert len((tmp_path / "problems.csv").read_text().splitlines()) == 6


def test_a_missing_status_is_refused(tmp_path: Path) -> None:
    people = cohort(30)
    with pytest.raises(DamageError, match="is missing or damaged"):
        plan(tmp_path, people, {people[0].patient_id: [tmp_path / "gone"]})
