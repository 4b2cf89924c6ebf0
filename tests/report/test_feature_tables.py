"""Tables of features, counted by hand on synthetic inputs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.feature_tables import (
    chosen_variables,
    feature_title,
    radiomics_overview,
    stability_summary,
)
from pipeline.report.job import ReportJob
from pipeline.report.report import build_report
from tests.report.synthetic_study import make_study


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    return make_study(tmp_path_factory.mktemp("study") / "synthetic")


def test_stability_is_counted_by_class_and_shown_on_the_page(job: ReportJob, tmp_path: Path) -> None:
    assert job.stability is not None
    table = pd.read_csv(job.stability)
    assert table is not None
    rows = {tuple(row[:3]): row[3:] for row in stability_summary(table).values.tolist()}
    # Of 0.95 (from 0.91), 0.8 (from 0.75), 0.2 (from -0.1) and one without agreement.
    assert rows["All", "", "6 patients"] == [4, pytest.approx(0.8), 2, 1]
    assert rows["PET", "original", "glcm"] == [1, pytest.approx(0.95), 1, 1]
    assert rows["PET", "wavelet", "glcm"] == [2, pytest.approx(0.5), 1, 0]
    assert rows["PET", "–", "index"][0] == 1 and rows["PET", "–", "index"][2:] == [0, 0]
    build_report(job, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Stability of features under perturbed contours" in page
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "report" / "tables" / "stability.csv"), table)


def test_nothing_measured_leaves_the_table_out() -> None:
    assert stability_summary(
        pd.DataFrame(columns=["feature", "icc", "icc_low", "icc_high", "patients"])
    ).empty


def test_radiomics_are_counted_by_image_filter_and_class(job: ReportJob) -> None:
    table = radiomics_overview(job.results / "radiomics" / "features.parquet")
    assert table.iloc[0].tolist() == ["All", "", "8 patients", 4, 1]
    rows = {tuple(row[:3]): row[3:] for row in table.values.tolist()}
    assert rows["PET", "wavelet", "glcm"] == [2, 0]
    assert rows["PET", "–", "index"] == [1, 1]


def test_variables_of_linear_models(job: ReportJob) -> None:
    row = chosen_variables(job).iloc[0]
    assert (row["Variable"], row["Folds"]) == ("volume_ml", "2 of 2")
    assert row["Mean log-hazard ratio"] == pytest.approx(0.3)


def test_features_are_named_in_words() -> None:
    titles = {
        "pet_original_glcm_Contrast": "PET, GLCM: Contrast",
        "ct_wavelet-LLH_firstorder_90Percentile": "CT, wavelet-LLH, first order: 90Percentile",
        "ct_original_shape_MeshVolume": "CT, shape: Mesh Volume",
        "clinical_performance": "performance",
        "pet_index_volume_ml": "PET: volume ml",
    }
    assert {name: feature_title(name) for name in titles} == titles
