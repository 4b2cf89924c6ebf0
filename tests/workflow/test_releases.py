"""Made-up releases of all years from `make cohort` to the report, and a bundle of each that predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline.tables.status import read_status
from study_runner import Study, copy_house
from tests.releases.made_up_releases import WRITERS, write_release

SMALL = {
    "crop": {"shape": [32, 32, 32], "spacing_mm": [4.5, 4.5, 4.5], "margin": 2},
    "radiomics": {"feature_set": "demo"},
    "plan": {"folds": 2, "validation_fraction": 0.3},
    "evaluation": {"bootstraps": 100},
    "report": {"examples": 2},
}
TRAINING = {"iterations": 3, "batch": 4, "validate_every": 2, "checkpoint_every": 3, "precision": "fp32"}
MODELS = {
    "multitask": {"kind": "hecktor", "filters": 2},
    "volume": {"kind": "feature", "feature": "pet_index_volume_ml"},
}


def command(house: Path, *arguments: str) -> str:
    """Run a module in the house; its output."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=house,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize("layout", sorted(WRITERS))
def test_from_the_release_to_report_and_prediction(layout: str, tmp_path: Path) -> None:
    house = copy_house(tmp_path / "repo")
    write_release(layout, house / "release", 12)
    said = command(house, "pipeline.releases.draft_release", layout, "release", "mine/cohort.csv")
    assert said.startswith("12 patients, 6 events: mine/cohort.csv")
    drafted = yaml.safe_load((house / "mine/cohort.yaml").read_text())
    config = {**drafted, **SMALL, "models": MODELS}
    config["crop"] = {**drafted["crop"], **SMALL["crop"]}
    config["training"] = {**drafted["training"], **TRAINING}
    config.pop("paper", None)
    study = Study(house, config)
    study.snakemake()
    problems = pd.read_csv(study.results / "problems.csv")
    assert problems[problems["state"] == "excluded"].empty
    for patient in pd.read_csv(house / "mine/cohort.csv")["patient_id"]:
        assert read_status(study.results / "contours" / patient).state != "excluded"
    assert (study.results / "report/index.html").is_file()
    metrics = pd.read_csv(study.results / "metrics/metrics.csv")
    for model, metric in (("multitask", "c_index"), ("multitask", "dice"), ("volume", "c_index")):
        assert len(metrics[(metrics["model"] == model) & (metrics["metric"] == metric)]) > 0, (model, metric)
    study.snakemake("bundle")
    _predict(study, drafted)


def _predict(study: Study, drafted: dict) -> None:
    """The first patient's risk is the number that the bundle gives, with a box where the study has boxes."""
    table = pd.read_csv(study.house / "mine/cohort.csv")
    name = str(table["image_path"][0])
    images = study.house / drafted["cohort"]["image_root"] / name
    call = ["pipeline", "predict", "--bundle", str(study.results / "bundle"), "--images", str(images)]
    if drafted["crop"]["position"] == "box":
        boxes = pd.read_csv(study.house / drafted["crop"]["boxes"]).set_index("patient_id")
        call.append("--box=" + ",".join(str(value) for value in boxes.loc[str(table["patient_id"][0])]))
    command(study.house, *call, "--out", str(study.house / "out"))
    prediction = json.loads((study.house / "out/prediction.json").read_text())
    assert isinstance(prediction["risk"], float) and (study.house / "out/mask_ct.nii.gz").is_file()
