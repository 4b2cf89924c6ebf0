"""A paper's numbers beside ours, on predictions whose figures are counted by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.job import ReportJob
from pipeline.report.published import compare_published, on_page, predicted_survival
from pipeline.report.report import build_report
from pipeline.settings.root import load_settings
from pipeline.tables.status import Status, write_status
from tests.report.synthetic_study import CODE
from tests.settings.minimal import study as minimal_study

# Four training and three external images, all with an event; risk 4 … 1 would be perfect.
TIMES = {"T1": 1.0, "T2": 2.0, "T3": 3.0, "T4": 4.0, "E1": 1.0, "E2": 2.0, "E3": 3.0}
FIGURES = [
    {"model": "net", "metric": "c_index", "set": "train", "value": 0.9},
    {"model": "net", "metric": "c_index", "set": "external", "value": 0.8},
    {"model": "net", "metric": "dice", "set": "external", "value": 0.95, "sd": 0.02},
    {"model": "plain", "metric": "dice", "set": "external", "value": 0.9},
]


@pytest.fixture
def job(tmp_path: Path) -> ReportJob:
    settings = load_settings(
        minimal_study(
            cohort={"source": "generated", "time_unit": "none"},
            disks={},
            plan={"folds": 1, "repeats": 2},
            models={"net": {"kind": "sr_net"}, "plain": {"kind": "feature"}},
            evaluation={"horizons_days": [2.0], "curve_days": [1.0]},
            report={"published": FIGURES},
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


@pytest.fixture
def cohort() -> pd.DataFrame:
    return pd.DataFrame({"time_days": TIMES, "event": 1})


def test_ours_is_the_mean_of_single_runs(job: ReportJob, cohort: pd.DataFrame) -> None:
    numbers = compare_published(job, cohort).set_index(["model", "metric", "set"])
    # Training: 6 of 6 pairs, then 5 of 6 (T3 and T4 change places). External: 3 of 3, then none.
    assert numbers.loc[("net", "c_index", "train"), "ours"] == pytest.approx((1 + 5 / 6) / 2)
    assert numbers.loc[("net", "c_index", "external"), "ours"] == pytest.approx(0.5)
    # SD of 1 and 0 with n − 1.
    assert numbers.loc[("net", "c_index", "external"), "runs_sd"] == pytest.approx(0.5**0.5)
    dice = numbers.loc[("net", "dice", "external")]
    assert dice["ours"] == pytest.approx((0.95 + (0.9 + 0.96 + 1) / 3) / 2)
    # SD over the images of a run, n − 1: 0.05 of 0.90, 0.95, 1.00 in the first.
    assert dice["ours_sd"] == pytest.approx((0.05 + pd.Series([0.9, 0.96, 1]).std()) / 2)
    assert pd.isna(numbers.loc[("plain", "dice", "external"), "ours"])


def test_the_page_shows_both_and_the_difference(job: ReportJob, cohort: pd.DataFrame) -> None:
    shown = on_page(compare_published(job, cohort))
    row = shown[(shown["Metric"] == "Dice") & (shown["Model"] == "net")].iloc[0]
    assert (row["Published"], row["Ours"]) == ("0.950 ± 0.020", "0.952 ± 0.050")
    assert row["Ours − published"] == "0.002" and row["SD over runs"] == "0.002"
    assert shown.iloc[3]["Ours"] == "–"


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
        "report": {
            "published_source": "a paper",
            "published": [{"model": "deepmts", "metric": "c_index", "set": "external", "value": 0.8}],
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
    assert "Beside the paper" in page and "Published: a paper." in page
    assert "No development patient was held out" in page and "No cross-validation" in page
    assert "one run, so there is no band" in page
    assert (tmp_path / "report" / "figures" / "predicted_survival.svg").is_file()
    assert "published,0" not in (tmp_path / "report" / "tables" / "published.csv").read_text()
