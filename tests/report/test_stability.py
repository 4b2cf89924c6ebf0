"""Agreement of features on the page, counted by hand on made-up inputs."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.report.methods import _features_from
from pipeline.report.report import build_report
from pipeline.report.stability import read_stability, stability_summary
from tests.report.made_up import make_study


def test_summary_counts_by_class_and_stands_on_the_page(tmp_path: Path) -> None:
    made = make_study(tmp_path / "made_up")
    table = read_stability(made.results)
    assert table is not None
    rows = {tuple(row[:3]): row[3:] for row in stability_summary(table).values.tolist()}
    # Of 0.95 (from 0.91), 0.8 (from 0.75), 0.2 (from -0.1) and one without agreement.
    assert rows["All", "", "6 patients"] == [4, pytest.approx(0.8), 2, 1]
    assert rows["PET", "original", "glcm"] == [1, pytest.approx(0.95), 1, 1]
    assert rows["PET", "wavelet", "glcm"] == [2, pytest.approx(0.5), 1, 0]
    assert rows["PET", "–", "index"][0] == 1 and rows["PET", "–", "index"][2:] == [0, 0]
    build_report(made.job, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Stability of features under perturbed contours" in page
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "report" / "tables" / "stability.csv"), table)


def test_nothing_measured_leaves_the_table_out(tmp_path: Path) -> None:
    assert read_stability(tmp_path) is None
    assert stability_summary(
        pd.DataFrame(columns=["feature", "icc", "icc_low", "icc_high", "patients"])
    ).empty


def test_methods_say_whose_contour_and_what_was_left_out() -> None:
    assert _features_from({}) == ""
    told = _features_from({"contour": "predicted", "contour_network": "deepmts", "min_icc": 0.75})
    assert "the fold that held them out" in told and "reached 0.75" in told
    assert "shell" in _features_from({"contour": "peritumoral"})
