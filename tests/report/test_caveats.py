"""What is printed beside the numbers: caveats and warnings."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from pipeline.report import caveats
from pipeline.report.flow import SetSize
from pipeline.report.job import ReportJob
from tests.report.synthetic_study import make_study


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    return make_study(tmp_path_factory.mktemp("study") / "synthetic")


def test_caveats_of_plan_and_metrics_are_listed(job: ReportJob) -> None:
    metrics = pd.read_csv(job.results / "metrics" / "metrics.csv")
    assert caveats.survival_caveats(job, metrics) == [
        "no validation: the epoch was chosen on test patients",
        "Z-scores from test patients (deepmts)",
    ]


def test_few_events() -> None:
    assert caveats.few_events({"development": SetSize(40, 20), "external": SetSize(90, 45)}) == ""
    warning = caveats.few_events({"development": SetSize(40, 20), "external": SetSize(40, 19)})
    assert "external 19 events: with fewer than 20" in warning
    assert "development" not in warning
    warning = caveats.few_events({"development": SetSize(40, 1), "external": SetSize(40, 10)})
    assert "development 1 event: with fewer than 10 nothing is estimated" in warning
    assert "external 10 events: with fewer than 20 values are uncertain" in warning
    assert caveats.few_events({"development": SetSize(9, None)}) == ""


def test_warnings_of_fits_are_shown_once_per_model(job: ReportJob) -> None:
    assert caveats.model_remarks(job) == []
    model = next(name for name in job.settings.models if len(job.folds(name)) == 2)
    for folder, events in zip(job.folds(model), (19, 21), strict=True):
        path = folder / "model.json"
        about = json.loads(path.read_text()) if path.is_file() else {}
        lines = [f"{events} events for 80 candidate variables (0.{events} per variable)"]
        lines += ["the risk is 0"] * (events == 21)
        path.write_text(json.dumps({**about, "warnings": lines}))
    few, nothing = caveats.model_remarks(job)
    assert "2 of 2 folds, the first of them: 19 events for 80" in few
    assert nothing.endswith("1 of 2 folds: the risk is 0")
