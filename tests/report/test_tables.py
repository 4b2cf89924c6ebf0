"""Tables of the cohort and of its scores, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.report import tables
from pipeline.report.job import ReportJob
from pipeline.tables.splits import read_splits
from tests.report.synthetic_study import make_study


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    return make_study(tmp_path_factory.mktemp("study") / "synthetic")


def test_risk_groups(job: ReportJob) -> None:
    table = tables.risk_groups(job.results / "metrics", job)
    first = table[(table["Set"] == "Development") & (table["Group"] == "low risk")].iloc[0]
    # Group 1 holds the odd numbers, all events, at 400, 1200 and 2000 days.
    assert (first["Patients"], first["Events"]) == (3, 3)
    assert first["Survival, 1 year"] == "1.00"
    assert first["Survival, 2 years"] == "0.67 (0.05–0.90)"


def test_scores_that_no_model_has_are_left_out(job: ReportJob) -> None:
    metrics = pd.read_csv(job.results / "metrics" / "metrics.csv")
    scores = tables.performance(metrics, job.settings.evaluation.horizons_days, "days", "1 (0–1)")
    assert list(scores.discrimination.columns) == [
        "Set",
        "Model",
        "C-index",
        "AUC, 1 year",
        "Patients (events)",
        "Trained on, per fold",
    ]
    first = scores.discrimination.iloc[0].tolist()
    assert first == ["External", "deepmts", "0.600 (0.41–0.87)", "0.700", "2 (1)", "1 (0–1)"]
    assert scores.calibration.empty


def test_training_sizes_by_hand(job: ReportJob) -> None:
    """Folds of the synthetic study train on A4 and on A1; patients 1, 3, 5 had the event."""
    cohort = pd.read_parquet(job.results / "cohort.parquet")
    assert tables.training_sizes(read_splits(job.results / "splits.json"), cohort) == "1 (0–1)"
    assert tables.training_sizes(read_splits(job.results / "splits.json"), cohort[["set"]]) == "1"


def test_scores_of_too_few_events_and_of_other_patients_say_so() -> None:
    row = {"set": "external", "ci_low": None, "ci_high": None, "patients": 20, "events": 12, "note": ""}
    metrics = pd.DataFrame(
        [
            row | {"model": "a", "metric": "c_index", "value": 0.7},
            row | {"model": "a", "metric": "auc_365.25d", "value": 0.8, "patients": 14},
            row
            | {
                "model": "b",
                "metric": "c_index",
                "value": None,
                "note": "7 events: not estimated; marked: x",
            },
        ]
    )
    table = tables.performance(metrics, [365.25], "days", "25 (11)").discrimination
    assert table.to_numpy().tolist() == [
        ["External", "a", "0.700", "0.800 [14]", "20 (12)", "25 (11)"],
        ["External", "b", "7 events: not estimated", "–", "20 (12)", "25 (11)"],
    ]


def test_what_probabilities_rest_on(tmp_path: Path) -> None:
    job = make_study(tmp_path / "results")
    for fold, slope in ((0, 0.25), (1, 0.0)):
        path = job.results / "models" / "volume" / f"fold{fold}" / "model.json"
        baseline = {
            "patients": 30 + fold,
            "events": 12,
            "slope": slope,
            "source": "validation and train (cross-fitted)",
        }
        path.write_text(json.dumps({"baseline": baseline}))
    assert tables.probability_basis(job).to_numpy().tolist() == [
        ["volume", "30–31 (12)", "validation and train (cross-fitted)", "0.00 to 0.25"]
    ]


def test_cohort_table(job: ReportJob) -> None:
    cohort = pd.read_parquet(job.results / "cohort.parquet")
    table = tables.cohort_table(cohort, "days").set_index("")
    assert table.loc["Events"].tolist() == ["3 (50%)", "1 (50%)"]
    assert table.loc["Age: median (range)", "Development"] == "52 (50–54); missing: 1"
    assert table.loc["Sex: patients", "Development"] == "F: 3, M: 2; missing: 1"
    follow = "Time to event or last follow-up, days: median (range)"
    assert table.loc[follow, "External"] == "3000 (2800–3200)"


def test_added_value_and_differences_are_tables_of_their_own() -> None:
    common = {"set": "development", "p_holm": 0.2, "patients": 20, "events": 9}
    rows = pd.DataFrame(
        [
            {"model_a": "net", "model_b": "age", "family": "all against age", "metric": "c_index", "difference": 0.1,
             "ci_low": -0.1, "ci_high": 0.3, "p_value": 0.1, **common},
            {"model_a": "net", "model_b": "age", "family": "all against age",
             "metric": "added_log_hazard_ratio", "difference": 0.0,
             "ci_low": -0.69314718, "ci_high": 0.69314718, "p_value": 0.1, **common},
        ]
    )  # fmt: skip
    (difference,) = tables.comparisons_on_page(rows)["Difference in C-index"]
    assert difference.startswith("0.100")
    (ratio,) = tables.added_value_on_page(rows)["Hazard ratio per SD"]
    assert ratio == "1.000 (0.50–2.00)"


def test_masks_and_class_outcomes_are_tables_of_their_own() -> None:
    metrics = pd.DataFrame(
        [
            {
                "model": "net",
                "set": "external",
                "metric": m,
                "value": v,
                "ci_low": v - 0.1,
                "ci_high": v + 0.1,
                "patients": 9,
                "events": 5,
            }
            for m, v in (("hd95_mm", 4.0), ("label_lung_metastasis_auc", 0.7), ("c_index", 0.6))
        ]
    )
    scores = tables.performance(metrics.assign(note=""), [365.25], "days", "9 (4)")
    assert list(scores.masks.columns) == ["Set", "Model", "HD95, mm", "Patients"]
    assert list(scores.labels.columns) == ["Set", "Model", "Lung metastasis, AUC", "Patients"]
    assert scores.masks.iloc[0].tolist()[-1] == "9"
    assert scores.calibration.empty
