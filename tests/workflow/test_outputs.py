"""What a finished run leaves: whole, private, and escaped."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from pipeline.phantoms.headers import PLANTED
from study_runner import Study


def test_ends_with_where_the_report_lies(finished_study: Study) -> None:
    assert re.search(r"report: .*results/tiny/report/index\.html", finished_study.output)
    assert "Traceback" not in finished_study.output


def test_all_contracted_files_exist(finished_study: Study) -> None:
    for name in (
        "splits.json", "plan.json", "problems.csv", "cohort.parquet", "radiomics/features.parquet",
        "metrics/metrics.csv", "metrics/comparisons.csv", "ensemble/both.parquet", "ensemble/both.json",
        "models/deepmts/fold0/predictions.parquet", "models/deepmts/fold0/history.csv",
        "models/lasso/fold1/predictions.parquet", "report/index.html",
    ):  # fmt: skip
        assert (finished_study.results / name).exists(), name


def test_every_model_is_scored_on_both_sets(finished_study: Study) -> None:
    metrics = pd.read_csv(finished_study.results / "metrics" / "metrics.csv")
    rows = metrics[metrics["metric"] == "c_index"]
    assert set(zip(rows["model"], rows["set"], strict=True)) == {
        (m, s) for m in ("deepmts", "lasso", "volume", "both") for s in ("development", "external")
    }


def test_report_escapes_what_users_write(finished_study: Study) -> None:
    page = (finished_study.results / "report" / "index.html").read_text()
    assert "Tiny &lt;study&gt;" in page and "Tiny <study>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def planted_values() -> list[bytes]:
    values = PLANTED.values() if isinstance(PLANTED, dict) else PLANTED
    return [str(v).encode() for v in values]


@pytest.mark.parametrize("value", planted_values(), ids=range(len(planted_values())))
def test_no_planted_identifier_outside_the_images(finished_study: Study, value: bytes) -> None:
    """DICOM names, birth dates and accession numbers reach no output and no log."""
    leaks = [
        str(path.relative_to(finished_study.results))
        for path in finished_study.results.rglob("*")
        if path.is_file()
        and path.relative_to(finished_study.results).parts[0] != "phantom"
        and value in path.read_bytes()
    ]
    assert not leaks


def test_no_uid_outside_the_index(finished_study: Study) -> None:
    uid = re.compile(rb"\b[0-2]\.\d+(?:\.\d+){6,}\b")
    leaks = [
        str(path.relative_to(finished_study.results))
        for path in finished_study.results.rglob("*")
        if path.is_file()
        and path.relative_to(finished_study.results).parts[0] not in ("phantom", "index")
        and path.suffix in (".json", ".csv", ".log", ".html", ".tsv", ".svg", ".mat")
        and uid.search(path.read_bytes())
    ]
    assert not leaks


def test_snakemakes_own_report(finished_study: Study) -> None:
    finished_study.snakemake("--report", "own.html")
    assert (finished_study.house / "own.html").stat().st_size > 100_000
