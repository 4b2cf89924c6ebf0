"""The bundle of the finished demo, judged on the demo's own external patients, gives the numbers of the study.

Reads `results/phantom` of this checkout (made by `make demo`).
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline.__main__ import main
from pipeline.deploy.bundle import BundleJob, write_bundle
from pipeline.settings.root import load_settings
from pipeline.tables.parquet import read_frame

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "phantom"
PATIENTS = 2
pytestmark = [
    pytest.mark.finished,
    pytest.mark.skipif(not (RESULTS / "metrics").is_dir(), reason="no finished demo: run make demo"),
]


def test_risks_are_those_of_the_study(tmp_path: Path) -> None:
    """Of two patients, all stages and networks anew; float32 is rounded patient by patient and in batches."""
    settings = load_settings(yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8")))
    model, features = (
        settings.bundled(),
        ROOT / "config" / "radiomics" / f"{settings.radiomics.feature_set}.yaml",
    )
    members = settings.ensembles[model]
    write_bundle(
        BundleJob(RESULTS, model, members, settings.plan.runs, settings, features), tmp_path / "bundle"
    )
    with (ROOT / settings.cohort.table).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    external = [row for row in rows if row["set"] == "external"][:PATIENTS]
    with (tmp_path / "cohort.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(external[0]))
        writer.writeheader()
        writer.writerows(external)
    call = ["validate", "--bundle", str(tmp_path / "bundle"), "--cohort", str(tmp_path / "cohort.csv")]
    call += ["--image-root", str(RESULTS / "phantom"), "--roi", "study", "--device", "cpu"]
    assert main([*call, "--out", str(tmp_path / "out")]) == 0
    said = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("patient_id")
    study = read_frame(RESULTS / "ensemble" / f"{model}.parquet").set_index("patient_id").loc[said.index]
    assert len(said) == PATIENTS
    for column in ("risk", "spread", *(name for name in study if name.startswith("survival_"))):
        assert said[column].to_numpy() == pytest.approx(study[column].to_numpy(), abs=1e-5), column
    page = (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Nothing was refitted" in page and "too few for an answer" in page
