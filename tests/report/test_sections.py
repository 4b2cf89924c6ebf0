"""Sections of the page: explained networks where a study asks for them, escaped, with verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline.report.report import build_report
from pipeline.tables.status import Status, write_status
from tests.report.synthetic_study import HOSTILE, make_study

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x00\x80"


def test_maps_and_verdicts_are_shown(tmp_path: Path) -> None:
    job = make_study(tmp_path / "results", full=False)
    explain = job.settings.explain.model_copy(update={"models": ("volume",)})
    job = replace(job, settings=job.settings.model_copy(update={"explain": explain}))
    folder = job.results / "explain" / "volume"
    folder.mkdir(parents=True)
    verdicts = {HOSTILE: "insensitive", "occlusion": "sensitive"}
    (folder / "explain.json").write_text(json.dumps({"target": "mask", "sanity": verdicts}))
    rows = [("cascade", 1, HOSTILE, 0.2), ("cascade", 2, HOSTILE, 0.91), ("independent", 2, HOSTILE, 0.1)]
    rows.append(("cascade", 1, "occlusion", 0.07))
    pd.DataFrame(rows, columns=["order", "step", "map", "rho_absolute"]).to_csv(folder / "sanity.csv")
    for name in ("maps", "sanity"):
        (folder / f"{name}.png").write_bytes(PNG)
    write_status(folder, Status("ok", "explain_model"))
    build_report(job, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'id="explained"' in page and "<script>document" not in page
    table = pd.read_csv(tmp_path / "report" / "tables" / "sanity.csv")
    assert table["rank_correlation"].tolist() == [0.91, 0.07]
    assert table["verdict"].tolist() == ["insensitive", "sensitive"]
    assert (tmp_path / "report" / "figures" / "explain_volume_maps.png").read_bytes() == PNG


def test_a_study_that_explains_nothing_has_no_such_section(tmp_path: Path) -> None:
    build_report(make_study(tmp_path / "results", full=False), tmp_path / "report")
    assert 'id="explained"' not in (tmp_path / "report" / "index.html").read_text()
