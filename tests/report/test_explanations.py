"""The section of explained networks: there where a study asks for it, escaped, with its verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from pipeline.report.report import build_report
from tests.report.made_up import HOSTILE, make_study

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x00\x80"


def test_maps_and_verdicts_are_shown(tmp_path: Path) -> None:
    made = make_study(tmp_path / "results", full=False)
    made.job.settings["explain"]["models"] = ["volume"]
    folder = made.results / "explain" / "volume"
    folder.mkdir(parents=True)
    told = {HOSTILE: "insensitive", "occlusion": "sensitive"}
    (folder / "explain.json").write_text(json.dumps({"target": "mask", "sanity": told}))
    rows = [("cascade", 1, HOSTILE, 0.2), ("cascade", 2, HOSTILE, 0.91), ("independent", 2, HOSTILE, 0.1)]
    rows.append(("cascade", 1, "occlusion", 0.07))
    pd.DataFrame(rows, columns=["order", "step", "map", "rho_absolute"]).to_csv(folder / "sanity.csv")
    for name in ("maps", "sanity"):
        (folder / f"{name}.png").write_bytes(PNG)
    build_report(made.job, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'id="explained"' in page and "<script>document" not in page
    table = pd.read_csv(tmp_path / "report" / "tables" / "sanity.csv")
    assert table["rank_correlation"].tolist() == [0.91, 0.07]
    assert table["verdict"].tolist() == ["insensitive", "sensitive"]
    assert (tmp_path / "report" / "figures" / "explain_volume_maps.png").read_bytes() == PNG


def test_a_study_that_explains_nothing_has_no_such_section(tmp_path: Path) -> None:
    build_report(make_study(tmp_path / "results", full=False).job, tmp_path / "report")
    assert 'id="explained"' not in (tmp_path / "report" / "index.html").read_text()
