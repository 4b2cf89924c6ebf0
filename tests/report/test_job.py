"""What the report takes from a study's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.report.job import ReportJob
from pipeline.settings.root import load_settings

REQUIRED = {"study": {"name": "synthetic"}, "cohort": {"table": "cohort.csv"}}
MODELS = {
    "masks": {"kind": "seg_backbone"},
    "volume": {"kind": "feature"},
    "hazard": {"kind": "column", "column": "truth_log_hazard"},
}
ENSEMBLES = {"alone": ["volume"], "both": ["volume", "hazard"]}


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"ensembles": ENSEMBLES, "evaluation": {"compare_with": "hazard"}}, "hazard"),
        ({"ensembles": ENSEMBLES}, "both"),
        ({"ensembles": {"alone": ["volume"]}}, "volume"),
        ({"models": {"masks": MODELS["masks"]}}, ""),
    ],
)
def test_headline_is_the_model_that_others_are_compared_with(
    tmp_path: Path, changes: dict[str, Any], headline: str
) -> None:
    config = {**REQUIRED, "models": MODELS, **changes}
    assert ReportJob(tmp_path, load_settings(config), "code", ()).headline == headline


def test_simulated_truths_and_survival_models(tmp_path: Path) -> None:
    job = ReportJob(tmp_path, load_settings({**REQUIRED, "models": MODELS}), "code", ())
    assert job.survival_models() == ("volume", "hazard")
    assert job.simulated_truths() == {"hazard"}
