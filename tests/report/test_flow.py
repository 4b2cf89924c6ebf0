"""The flow chart's numbers, counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.report import flow
from pipeline.report.job import ReportJob
from pipeline.tables.splits import Fold, Splits, read_splits
from tests.report.synthetic_study import make_study


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    return make_study(tmp_path_factory.mktemp("study") / "synthetic")


def test_flow_counts_each_patient_once(job: ReportJob) -> None:
    cohort = pd.read_parquet(job.results / "cohort.parquet")
    problems = pd.read_csv(job.results / "problems.csv", keep_default_na=False)
    counted = flow.flow_of(cohort, problems, read_splits(job.results / "splits.json"))
    # 8 usable; X1 and X3 refused by suv (X3 passed on by crop), X2 by contours.
    assert counted.listed == 11
    assert counted.excluded == {"suv": 2, "contours": 1}
    assert list(counted.excluded) == ["suv", "contours"], "the stages' order"
    assert counted.warned == 1, "A1 twice warned is one patient; X1 is excluded"
    assert counted.sets == {"development": (6, 3), "external": (2, 1)}
    assert (counted.training, counted.external) == ("2-fold cross-validation", "predicted by all folds")


def test_flow_without_folds_says_who_was_trained_on(job: ReportJob) -> None:
    cohort = pd.read_parquet(job.results / "cohort.parquet")
    problems = pd.DataFrame(columns=["patient_id", "stage", "state"])
    fold = Fold(("A1", "A2", "A3", "A4"), ("A5", "A6"), ())
    once = flow.flow_of(cohort, problems, Splits((fold,), ("E1", "E2"), 1))
    assert (once.training, once.external) == ("4 training, 2 validation", "predicted by the model")
    thrice = flow.flow_of(cohort, problems, Splits((fold,) * 3, ("E1", "E2"), 1))
    assert thrice.external == "predicted by 3 runs"


def test_who_was_left_out_stands_apart_from_who_was_used_with_a_warning() -> None:
    rows = [
        ("B", "crop", "warned"),
        ("A", "suv", "excluded"),
        ("A", "index", "warned"),
        ("C", "suv", "warned"),
    ]
    problems = pd.DataFrame(rows, columns=["patient_id", "stage", "state"]).assign(
        problem="p", consequence="c"
    )
    tables = flow.problem_tables(problems)
    assert list(tables["problems"].frame["patient_id"]) == ["A", "A"]
    assert list(tables["warnings"].frame["patient_id"]) == ["B", "C"]
