"""A report as one file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pipeline.report.report_zip import main


@pytest.fixture
def results(tmp_path: Path) -> Path:
    study = tmp_path / "mine"
    for name in ("report/index.html", "report/patients/A1.html", "report/patients/A1.png", "report/patients/A1.js",
                 "report/viewer/niivue.umd.js", "report/.snakemake_timestamp", "bundle/ID",
                 "bundle/weights"):  # fmt: skip
        path = study / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return study


def test_volumes_go_along_only_where_asked(results: Path, tmp_path: Path) -> None:
    assert main([str(results), str(tmp_path / "a.zip")]) == 0
    plain = {"mine/index.html", "mine/patients/A1.html", "mine/patients/A1.png", "mine/bundle/ID"}
    assert set(zipfile.ZipFile(tmp_path / "a.zip").namelist()) == plain
    assert main([str(results), str(tmp_path / "b.zip"), "volumes"]) == 0
    everything = plain | {"mine/patients/A1.js", "mine/viewer/niivue.umd.js"}
    assert set(zipfile.ZipFile(tmp_path / "b.zip").namelist()) == everything
    main([str(results), str(tmp_path / "again.zip")])
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def test_an_unfinished_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), str(tmp_path / "a.zip")]) != 0
    assert "there is no finished report to pack" in capsys.readouterr().err
    assert not (tmp_path / "a.zip").exists()
