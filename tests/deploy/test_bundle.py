"""Studies that cannot be packed say so before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.deploy.bundle import BundleJob, write_bundle
from pipeline.deploy.manifest import BundleError
from pipeline.settings.root import load_settings
from tests.settings.minimal import study as minimal_study


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": {"folds": 1}}, r"no risks .* placed among.*plan\.folds: 1"),
        ({"radiomics": {"images": "native"}}, "takes radiomics from the crop"),
        ({"cohort": {"source": "slices"}}, "made for scanner images"),
    ],
)
def test_studies_that_cannot_be_packed(tmp_path: Path, changes: dict, message: str) -> None:
    settings = load_settings(minimal_study(models={"lasso": {"kind": "lasso_cox"}}, **changes))
    job = BundleJob(tmp_path / "results", "lasso", ("lasso",), 1, settings, None)
    with pytest.raises(BundleError, match=message):
        write_bundle(job, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_study_without_risk_needs_no_folds_to_be_packed(tmp_path: Path) -> None:
    """Labels and masks are placed among nobody's: one network, judged on external patients, is enough."""
    network = {"kind": "v_net", "width": 0.125}
    settings = load_settings(
        minimal_study(models={"net": network}, plan={"folds": 1}, training={"balance_events": False})
    )
    job = BundleJob(tmp_path / "results", "net", ("net",), 1, settings, None)
    # It gets as far as the results, of which there are none here.
    with pytest.raises(FileNotFoundError, match=r"ensemble/net\.json"):
        write_bundle(job, tmp_path / "bundle")
