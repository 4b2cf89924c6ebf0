"""Predicted beside observed survival of whole sets, on predictions whose means are counted by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.job import ReportJob
from pipeline.report.predicted_survival import predicted_survival
from pipeline.report.report import build_report
from pipeline.settings.root import load_settings
from pipeline.tables.status import Status, write_status
from tests.report.synthetic_study import CODE
from tests.settings.minimal import study as minimal_study

# Four training and three external images, all with an event; risk 4 … 1 would be perfect.
TIMES = {"T1": 1.0, "T2": 2.0, "T3": 3.0, "T4": 4.0, "E1": 1.0, "E2": 2.0, "E3": 3.0}


@pytest.fixture
def job(tmp_path: Path) -> ReportJob:
    settings = load_settings(
        minimal_study(
            cohort={"source": "generated", "time_unit": "none"},
            disks={},
            plan={"folds": 1, "repeats": 2},
            models={"net": {"kind": "sr_net"}, "plain": {"kind": "feature"}},
            evaluation={"horizons_days": [2.0], "curve_days": [1.0]},
        )
    )
    for run, risk in enumerate(([4.0, 3, 2, 1, 3, 2, 1], [4.0, 3, 1, 2, 1, 2, 3])):
        for model in ("net", "plain"):
            table = pd.DataFrame(
                {"patient_id": list(TIMES), "set": ["train"] * 4 + ["external"] * 3, "risk": risk}
            )
            table["survival_1d"] = [0.0] * 4 + [0.9, 0.6, 0.6 - 0.3 * run]
            table["survival_2d"] = [0.0] * 4 + [0.3, float("nan") if run else 0.3, 0.3]
            if model == "net":
                table["dice"] = [float("nan")] * 4 + [0.9, 0.95 + 0.01 * run, 1.0]
            folder = tmp_path / "models" / model / f"fold{run}"
            folder.mkdir(parents=True)
            table.to_parquet(folder / "predictions.parquet", index=False)
    return ReportJob(tmp_path, settings, CODE, tuple(f"P{n}" for n in range(len(TIMES))))


def test_mean_survival_of_a_set(job: ReportJob) -> None:
    curve = predicted_survival(job, "net", "external")
    assert list(curve["time"]) == [0, 1, 2]
    # Day 1: means 0.7 and 0.6 of the external images alone; training images have 0.
    assert curve["mean"][1] == pytest.approx(0.65) and curve["sd"][1] == pytest.approx(0.1 / 2**0.5)
    assert pd.isna(curve["mean"][2]), "a run that cannot say makes the mean unknown"


def test_the_report_of_a_study_without_folds(tmp_path: Path) -> None:
    from tests.report.synthetic_study import make_study

    job = make_study(tmp_path / "results")
    settings = {
        "study": {"name": "synthetic"},
        "cohort": {"source": "generated", "table": "synthetic.csv", "time_unit": "none"},
        "disks": {},
        "plan": {"folds": 1},
        "models": {"deepmts": {"kind": "sr_net"}},
        "evaluation": {"horizons_days": [400.0], "curve_days": [800.0]},
        "paper": {
            "source": "a paper",
            "tables": {
                "table_1": {
                    "title": "Table 1",
                    "columns": {"c": {"title": "C-index", "metric": "c_index", "set": "external"}},
                    "rows": [{"title": "SR-net", "model": "deepmts", "printed": {"c": 0.8}}],
                }
            },
        },
    }
    (job.results / "metrics" / "observed.csv").write_text(
        "set,time,survival,ci_low,ci_high,at_risk\nexternal,0,1,1,1,2\nexternal,2800,0.5,0.1,0.9,2\n"
    )
    shutil.rmtree(job.results / "models" / "deepmts" / "fold1")
    table = pd.DataFrame({"patient_id": ["A1", "E1", "E2"], "set": ["train", "external", "external"]})
    table = table.assign(risk=[1.0, 2, 1], survival_400d=0.9, survival_800d=0.8)
    table.to_parquet(job.results / "models" / "deepmts" / "fold0" / "predictions.parquet", index=False)
    for folder in (job.results / "metrics", job.results / "models" / "deepmts" / "fold0"):
        write_status(folder, Status("ok", folder.name))
    build_report(ReportJob(job.results, load_settings(settings), CODE, job.patients), tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Published: a paper." in (tmp_path / "report" / "paper.html").read_text()
    assert "No development patient was held out" in page and "No cross-validation" in page
    assert "one run, so there is no band" in page
    assert (tmp_path / "report" / "figures" / "predicted_survival.svg").is_file()
