"""Recalibration that is offered for external patients."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.report.job import ReportJob
from pipeline.report.recalibration import recalibrated, recalibration
from pipeline.settings.root import load_settings
from tests.report.synthetic_study import make_study

JOB = ReportJob(
    Path(),
    load_settings(
        {
            "study": {"name": "small"},
            "cohort": {"table": "t.csv"},
            "models": {"volume": {"kind": "feature"}},
            "evaluation": {"horizons_days": [365.25, 730.5, 1095.75]},
        }
    ),
    "0" * 16,
    (),
)


def metrics(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    columns = ["model", "set", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame([("volume", *row) for row in rows], columns=columns)


def test_the_factor_is_the_exponential_of_the_intercept() -> None:
    nan = float("nan")
    first, second = recalibration(
        JOB,
        metrics(
            # exp(0.693) = 2.00, exp(0.405) = 1.50, exp(0.916) = 2.50; exp(-0.223) = 0.80.
            ("external", "calibration_intercept_365.25d", 0.6931, 0.4055, 0.9163),
            ("external", "calibration_intercept_730.5d", 0.0, -0.2231, 0.4055),
            ("external", "calibration_intercept_1095.75d", nan, nan, nan),
            ("development", "calibration_intercept_1095.75d", 1.0, 0.9, 1.1),
        ),
    )
    assert first.startswith("1 year: ") and "multiplied by 2.00 (1.50–2.50), which does not hold 1" in first
    assert second.startswith("2 years: ") and "1.00 (0.80–1.50), which holds 1: none is asked for" in second


def test_without_external_patients_none_is_offered() -> None:
    assert recalibration(JOB, metrics(("development", "calibration_intercept_365.25d", 1.0, 0.9, 1.1))) == ()


def test_recalibrated_probabilities_are_marked(tmp_path: Path) -> None:
    table = recalibrated(make_study(tmp_path / "study"))
    assert table.title == "Recalibrated on these patients: not validation" and "very patients" in table.note
    assert table.page is not None
    assert table.page.iloc[2].to_dict() == {
        "Time": "1 year", "Version": "baseline and slope", "a": "0.500", "b": "0.800", "Observed/expected": "1.02",
        "ICI": "0.031",
    }  # fmt: skip
    assert not len(recalibrated(make_study(tmp_path / "bare", full=False)).frame)
