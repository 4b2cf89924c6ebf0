"""A bundle finds in a new patient the boxes that the study boxes, and says where they lie."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.deploy.boxes import COLUMNS, POINTS, boxes_table
from pipeline.deploy.bundle import BundleJob, stage_settings
from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.members import MemberFolds, pack_member
from pipeline.deploy.networks import ComputeOptions
from pipeline.deploy.outputs import write_prediction
from pipeline.deploy.predict import predict_patient
from pipeline.deploy.preprocess import NewPatient, preprocess_patient
from pipeline.planning.exclusions import gather_problems
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan
from pipeline.settings.plan import PlanSettings
from pipeline.settings.root import load_settings
from pipeline.settings.training import TrainingSettings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, read_attributes, write_crop
from pipeline.tables.cohort import Patient
from pipeline.tables.detections import CORNERS, read_detections
from pipeline.training.context import FoldJob
from pipeline.training.train_fold import train_fold
from tests.deploy.scans import write_scan
from tests.deploy.synthetic_bundle import IDENTITY, make_manifest

SIDE, MARGIN = 48, 2
NEW, SEEN = "new", ["kind", "score", *CORNERS]
CONFIG = {
    "study": {"name": "boxes"},
    "cohort": {"table": "none.csv"},
    "registration": {"method": "none"},
    "crop": {
        "shape": [1, SIDE, SIDE],
        "spacing_mm": [4.0] * 3,
        "margin": MARGIN,
        "centre_mm": [-400.0, -170.0, 0.0],
    },
    "models": {"finder": {"kind": "chest_ct", "tasks": ["detection"], "lesions": 1, "width": 0.125}},
}
TRAINING = {
    "iterations": 25,
    "batch": 4,
    "balance_events": False,
    "device": "cpu",
    "precision": "fp32",
    "validate_every": 25,
    "schedule": {"kind": "constant", "learning_rate": 1e-3},
    "augment": {"enabled": False},
    "checkpoint_selection": "last",
}


@dataclass(frozen=True)
class BundledStudy:
    """A study of two folds whose external patient `new` came from DICOM, and its bundle."""

    root: Path
    bundle: Bundle


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> BundledStudy:
    root = tmp_path_factory.mktemp("boxes")
    settings = load_settings(CONFIG)
    manifest = make_manifest(
        model="finder",
        stages=stage_settings(BundleJob(root, "finder", ("finder",), 2, settings, None)),
        shape=settings.crop.shape,
        spacing_mm=settings.crop.spacing_mm,
    )
    write_scan(root / "dicom")
    # Writes crops/new.zarr.
    preprocess_patient(Bundle(root, manifest, IDENTITY), NewPatient(NEW, root / "dicom", "", {}), root)
    attributes = read_attributes(root / "crops" / f"{NEW}.zarr")
    rng, everyone = np.random.default_rng(0), [Patient(NEW, "external", "c", "-", "", 1.0, 1, {})]
    for number in range(12):
        patient_id, full = f"s{number:02d}", SIDE + 2 * MARGIN
        mask = np.zeros((1 + 2 * MARGIN, full, full), dtype=np.uint8)
        top, left = rng.integers(6, 24, 2)
        mask[:, top : top + 14, left : left + 18] = 1
        image = np.stack([5.0 * mask, 900.0 * mask - 900]) + rng.normal(0, 0.3, (2, *mask.shape))
        about = CropAttributes(patient_id, attributes.channels, attributes.units, (4.0,) * 3, margin=MARGIN)
        crop = Crop(image.astype(np.float32), mask, np.ones_like(mask), about)
        write_crop(root / "crops" / f"{patient_id}.zarr", crop)
        everyone.append(Patient(patient_id, "development", "c", "-", "", 100.0 + number, 1, {}))
    stages = {p.patient_id: [root / "crops" / f"{p.patient_id}.zarr"] for p in everyone}
    gather_problems(stages, {}, root / "problems.csv")
    plan = PlanJob(
        tuple(everyone), root / "problems.csv", PlanSettings(folds=2, validation_fraction=0.4), seed=1
    )
    make_plan(plan, PlanPaths(root / "splits.json", root / "cohort.parquet"))
    network = settings.models["finder"]
    for fold in (0, 1):
        inputs = (root / "crops", root / "cohort.parquet", root / "splits.json", fold, (365.25,), 1, 1)
        training = TrainingSettings.model_validate(TRAINING)
        train_fold(FoldJob("finder", network, training, *inputs, root / f"work{fold}"), root / f"fold{fold}")
    folders, scales = (root / "fold0", root / "fold1"), [{"mean": 0.0, "sd": 0.0}] * 2
    member = pack_member(MemberFolds("finder", network, folders, scales), root / "bundle")
    manifest = manifest.model_copy(
        update={"members": {"finder": member}, "clinical": (), "uses_radiomics": False}
    )
    (root / "bundle" / "MODEL_CARD.md").write_text("card")
    return BundledStudy(root, Bundle(root / "bundle", manifest, IDENTITY))


def test_boxes_are_the_studys(study: BundledStudy, tmp_path: Path) -> None:
    patient = NewPatient(NEW, study.root / "dicom", "", {})
    prediction = predict_patient(study.bundle, patient, tmp_path / "work", ComputeOptions("cpu", threads=1))
    write_prediction(study.bundle, prediction, tmp_path / "out")
    boxes = pd.read_csv(tmp_path / "out" / "detections.csv")
    assert tuple(boxes.columns) == COLUMNS and set(boxes["model"]) == {"finder"}
    for fold in (0, 1):
        known = read_detections(study.root / f"fold{fold}" / "detections.parquet")
        known = known[known["patient_id"] == NEW]
        assert len(known) > 0 and set(known["set"]) == {"external"} and set(known["fold"]) == {fold}
        ours = boxes[boxes["fold"] == fold]
        assert len(ours) == len(known)
        assert np.allclose(ours[SEEN].to_numpy(float), known[SEEN].to_numpy(float), atol=1e-3)
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["boxes"] == len(boxes)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<td>finder</td>") == len(boxes)


def test_weights_are_readable_by_whom_the_umask_lets(study: BundledStudy) -> None:
    """`safetensors.torch.save_file` writes files of mode 0600."""
    mask = os.umask(0)
    os.umask(mask)
    modes = [path.stat().st_mode & 0o777 for path in (study.root / "bundle").rglob("*.safetensors")]
    assert modes == [0o666 & ~mask] * 2


@pytest.mark.parametrize("slices", [1, 9])
def test_corners_lie_in_the_patient(tmp_path: Path, slices: int) -> None:
    """A crop of 2 × 3 mm pixels turned by a quarter about z and shifted, by hand; margin also in z, or not."""
    turned = ((0.0, -1.0, 0.0, 100.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 7.0), (0.0, 0.0, 0.0, 1.0))
    about = CropAttributes(
        "p", ("pet",), ("g/mL",), (5.0, 3.0, 2.0), origin_mm=(10.0, 20.0, 30.0), transform=turned, margin=4
    )
    imaged = np.ones((slices, 16, 16), np.uint8)
    write_crop(tmp_path / "p.zarr", Crop(imaged[None].astype(np.float32), None, imaged, about))
    frame = boxes_table(
        "p", {"a": [[(1.0, 2.0, 4.0, 8.0, 0.5, 1.0)], []], "b": [[], []]}, tmp_path / "p.zarr"
    )
    assert frame is not None
    # x: 10 + 2·(4 − 0.5 + 1) = 19, to 25; y: 20 + 3·(4 − 0.5 + 2) = 36.5, to 54.5; then (x, y) → (100 − y, x).
    z = 37 if slices == 1 else 37 + 5 * 4
    corners = [(63.5, 19, z), (63.5, 25, z), (45.5, 25, z), (45.5, 19, z)]
    assert frame[list(POINTS)].to_numpy().reshape(4, 3).tolist() == pytest.approx(np.array(corners))
    assert frame[["model", "fold", *SEEN]].to_numpy().tolist() == [["a", 0, 1, 0.5, 1, 2, 4, 8]]


def test_no_box_is_an_empty_table_and_no_detection_is_none(tmp_path: Path) -> None:
    about = CropAttributes("p", ("pet",), ("g/mL",), (1.0, 1.0, 1.0))
    blank = np.zeros((1, 8, 8), np.uint8)
    write_crop(tmp_path / "p.zarr", Crop(np.zeros((1, 1, 8, 8), np.float32), None, blank + 1, about))
    frame = boxes_table("p", {"a": [[], []]}, tmp_path / "p.zarr")
    assert frame is not None and frame.empty and tuple(frame.columns) == COLUMNS
    assert boxes_table("p", {}, tmp_path / "p.zarr") is None
