"""Every row of the PET multi-scale paper trains, is evaluated per cancer and fills its cell on the paper's page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.ensemble.ensemble import ensemble
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.planning.exclusions import gather_problems
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan
from pipeline.report.job import ReportJob
from pipeline.report.paper_cells import read_tables
from pipeline.report.sections import StudyResults
from pipeline.settings.root import Settings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop
from pipeline.tables.cohort import Patient
from pipeline.training.context import FoldJob
from pipeline.training.train_fold import train_fold
from pipeline.workflow.study import load_study

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "config" / "studies" / "papers" / "pet_multiscale_small.yaml"


def write_pet(folder: Path, patient: Patient, settings: Settings) -> None:
    """A tumour, long in the second cancer, in noise: PET alone."""
    rng = np.random.default_rng(int(patient.patient_id[1:]))
    shape = settings.crop.shape
    long = 2.0 if patient.extra["label_pathology"] == "1" else 1.0
    z, y, x = (index - side / 2 for index, side in zip(np.indices(shape), shape, strict=True))
    mask = ((z / long) ** 2 + y**2 + x**2 < rng.uniform(3, 5) ** 2).astype(np.uint8)
    image = (rng.gamma(2.0, 0.5, shape) + 6.0 * mask).astype(np.float32)
    attributes = CropAttributes(patient.patient_id, ("pet",), ("g/mL",), settings.crop.spacing_mm)
    crop = Crop(image[None], mask, np.ones(shape, np.uint8), attributes)
    write_crop(folder / f"{patient.patient_id}.zarr", crop)


@pytest.mark.nightly  # 33 networks
def test_every_row_lands_in_its_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    study = load_study(yaml.safe_load(SMALL.read_text()))
    settings, patients = study.settings, study.cohort.patients
    for patient in patients:
        write_pet(tmp_path / "crops", patient, settings)
    stages = {p.patient_id: [tmp_path / "crops" / f"{p.patient_id}.zarr"] for p in patients}
    gather_problems(stages, {}, tmp_path / "problems.csv")
    paths = PlanPaths(tmp_path / "splits.json", tmp_path / "cohort.parquet")
    splits = make_plan(
        PlanJob(patients, tmp_path / "problems.csv", settings.plan, settings.study.seed), paths
    )
    assert len(splits.external) == 24 and not splits.folds[0].test  # the locked patients, and nobody else
    tables = {}
    for name, network in settings.networks().items():
        training = settings.training_of(name).model_copy(
            update={"iterations": 2, "validate_every": 2, "checkpoint_every": 2, "device": "cpu"}
        )
        job = FoldJob(
            model=name, network=network, training=training, crops=tmp_path / "crops", outcomes=paths.cohort,
            splits=paths.splits, fold=0, horizons_days=(365.25,), seed=1, threads=1, work=tmp_path / "work" / name,
        )  # fmt: skip
        folder = tmp_path / "models" / name / "fold0"
        train_fold(job, folder)
        tables[name] = tmp_path / "ensemble" / f"{name}.parquet"
        tables[name].parent.mkdir(exist_ok=True)
        ensemble({name: [folder]}, tables[name], tables[name].with_suffix(".json"), "training")
    sources = Sources(paths.cohort, paths.splits)
    evaluate(tables, sources, settings.evaluation, 1, tmp_path / "metrics")
    assert settings.paper is not None
    cells = cells_of(tmp_path, settings)
    printed = sum(len(row.printed) for table in settings.paper.tables.values() for row in table.rows)
    assert len(cells) == printed
    empty = cells[cells["ours"].isna()]
    assert empty.empty, empty[["row", "column", "note"]].to_string()
    counted = cells.set_index(["table", "row", "column"])["patients"]
    # 14 of the locked patients have the first cancer, 10 the second; the kind of cancer is asked of all.
    ours = "T1 & T2 & T3 & T4, global and tumour"
    assert str(counted["table_1_oesophageal", ours, "p_auc"]) == "14"
    assert str(counted["table_1_lung", ours, "p_auc"]) == "10"
    assert str(counted["table_1_lung", ours, "c_auc"]) == "24"


def cells_of(results: Path, settings: Settings) -> pd.DataFrame:
    study = StudyResults.read(ReportJob(results, settings, "0" * 16, ()))
    assert settings.paper is not None
    return read_tables(settings.paper, study)
