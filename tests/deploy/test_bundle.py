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
