"""A study without outcomes, from slices to its report: masks and labels, and no number of survival."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study_runner import Study, copy_house

SIDE, DEVELOPMENT, EXTERNAL = 32, 16, 3
SURVIVAL = ("c_index", "auc_", "brier", "observed_expected", "ibs", "logrank")
CONFIG = {
    "study": {"name": "seen", "title": "Slices", "on_bad_patient": "stop"},
    "cohort": {"source": "slices", "table": "cohort.csv", "image_root": "images"},
    "contours": {"required": False},
    "registration": {"method": "none"},
    "crop": {"shape": [1, SIDE, SIDE], "spacing_mm": [1.0, 1.0, 1.0]},
    "plan": {"folds": 2, "validation_fraction": 0.3},
    "models": {
        "classes": {"kind": "chest_ct", "tasks": ["classification"], "width": 0.125},
        "masks": {"kind": "chest_ct", "tasks": ["segmentation", "reconstruction"], "width": 0.125},
    },
    "training": {
        "standardise": "none", "iterations": 4, "batch": 4, "balance_events": False, "validate_every": 2,
        "augment": {"translation_voxels": 2.0},
    },
    "evaluation": {"bootstraps": 100, "curve_days": [100.0]},
    "report": {"examples": 2},
}  # fmt: skip


def prepare(house: Path) -> None:
    """Slices with a bright square, one of three sizes: its class."""
    rng = np.random.default_rng(3)
    rows = ["patient_id,set,image_path,label_diagnosis"]
    for number in range(DEVELOPMENT + EXTERNAL):
        image = rng.normal(0.2, 0.05, (SIDE, SIDE)).astype(np.float32)
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        reach = 4 + 4 * (number % 3)
        mask[8 : 8 + reach, 8 : 8 + reach] = 1
        folder = house / "images" / f"s{number:02d}"
        folder.mkdir(parents=True)
        np.save(folder / "image.npy", image + 0.5 * mask)
        np.save(folder / "mask.npy", mask)
        which = "development" if number < DEVELOPMENT else "external"
        rows.append(f"s{number:02d},{which},s{number:02d},{number % 3}")
    (house / "cohort.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study(copy_house(tmp_path_factory.mktemp("seen") / "repo"), CONFIG)
    prepare(made.house)
    made.snakemake()
    return made


def test_nothing_is_made_of_outcomes_that_are_not_there(study: Study) -> None:
    assert {"time_days", "event"}.isdisjoint(pd.read_parquet(study.results / "cohort.parquet").columns)
    plan = json.loads((study.results / "plan.json").read_text())
    assert plan["patients"]["events"] is plan["folds"][0]["train"]["events"] is None
    for path in [
        *study.results.glob("models/*/fold*/predictions.parquet"),
        *study.results.glob("ensemble/*.parquet"),
    ]:
        columns = list(pd.read_parquet(path).columns)
        assert not [c for c in columns if c in ("risk", "spread") or c.startswith("survival_")], path


def test_masks_and_labels_are_scored(study: Study) -> None:
    with (study.results / "metrics/metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert not [r for r in rows if r["metric"].startswith(SURVIVAL)]
    assert {r["events"] for r in rows} == {""}
    values = {(r["model"], r["set"], r["metric"]): r for r in rows}
    for which, count in (("development", DEVELOPMENT), ("external", EXTERNAL)):
        assert values["masks", which, "dice"]["patients"] == str(count)
        assert values["classes", which, "label_diagnosis_accuracy"]["patients"] == str(count)
    for name in ("comparisons", "risk_groups", "km", "observed", "calibration"):
        assert len((study.results / f"metrics/{name}.csv").read_text().splitlines()) == 1, name


def test_the_report_says_once_what_it_leaves_out(study: Study) -> None:
    page = (study.results / "report/index.html").read_text()
    assert page.count("has no outcomes (time and event)") == 1
    left = page.replace("there is no C-index, no risk group, no Kaplan–Meier curve and no calibration", "")
    for word in (
        "C-index",
        "Kaplan",
        "endpoint",
        "events",
        "baseline hazard",
        "Z-scor",
        "stratified by event",
    ):
        assert word not in left, word
    assert {"Dice", "Predictions"} <= set(page.replace("<", " ").replace(">", " ").replace(",", " ").split())
    names = {path.stem for path in (study.results / "report").rglob("*.*")}
    assert {"masks", "labels", "metrics"} <= names
    wrong = ("kaplan", "calibration", "concordance", "discrimination", "predicted_survival", "risk_groups")
    assert not [name for name in names if name.startswith(wrong)]


def test_a_bundle_holds_no_hazard_and_gives_the_mask_alone(study: Study, tmp_path: Path) -> None:
    """A held-out patient's mask is the study's own."""
    import zarr

    from pipeline.deploy.bundle_files import Bundle
    from pipeline.deploy.members import MemberFolds, pack_member
    from pipeline.deploy.networks import ComputeOptions, NetworkInputs, run_network
    from pipeline.settings.kinds import read_models
    from tests.deploy.synthetic_bundle import make_manifest

    folders = tuple(study.results / f"models/masks/fold{fold}" for fold in (0, 1))
    settings = read_models(CONFIG["models"])["masks"]
    member = pack_member(MemberFolds("masks", settings, folders, []), tmp_path)
    assert all(fold.hazard is None and fold.scale is None for fold in member.folds)
    patient = json.loads((study.results / "splits.json").read_text())["folds"][1]["test"][0]
    nothing = pd.DataFrame(index=pd.Index([patient], name="patient_id"))
    inputs = NetworkInputs(study.results / "crops" / f"{patient}.zarr", nothing, ())
    bundle = Bundle(tmp_path, make_manifest(), identity="0" * 64)
    result = run_network(bundle, member.folds[1], inputs, ComputeOptions("cpu"))
    assert result.risk is None and result.survival is None and result.labels == {}
    of_study = zarr.open_array(folders[1] / "masks.zarr" / patient, mode="r")[...]
    # bf16 convolutions of one patient round otherwise than those of a batch.
    assert np.mean((result.probability > 0.5) == (of_study > 0)) > 0.99


def test_a_model_that_needs_outcomes_is_refused_before_anything_runs(study: Study) -> None:
    models = {**CONFIG["models"], "survivors": {"kind": "deepmts"}}
    output = Study(study.house, {**CONFIG, "models": models}).snakemake("-n", check=False)
    assert "model 'survivors' predicts survival" in output and "Traceback" not in output
