"""From a detecting network to its boxes on disk and their average precision."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.ensemble.ensemble import ensemble
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.planning.exclusions import gather_problems
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop
from pipeline.tables.cohort import Patient
from pipeline.tables.detections import CORNERS, read_detections
from pipeline.tables.splits import read_splits
from pipeline.training import predict
from pipeline.training.batches import Batch
from pipeline.training.context import FoldJob
from pipeline.training.detections import PatientBoxes, detections_table
from pipeline.training.device import DeviceConfig
from pipeline.training.train_fold import train_fold

SIDE = 64
STUDY = Path(__file__).parents[2] / "config/studies/papers/chest_ct.yaml"


def batch(known: tuple[bool, bool]) -> Batch:
    """Two slices of 8 × 8; the first with two regions, the second with none."""
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, 1:4, 2:7] = 1
    mask[0, 0, 6, 0] = 1
    targets = {"mask": mask, "mask_known": torch.tensor(known)}
    return Batch(("A", "B"), torch.arange(2), torch.zeros(2, 1, 1, 8, 8), None, targets)


def outputs() -> dict[str, torch.Tensor]:
    boxes = torch.zeros(2, 16, 6)
    boxes[0, 0] = torch.tensor([2.0, 1, 7, 4, 0.75, 1])
    boxes[1, 0] = torch.tensor([0.5, 0, 2, 8, 0.25, 1])
    return {"detection": boxes}


def rows(frame: Any) -> list[tuple[Any, ...]]:
    columns = ["patient_id", "set", "fold", "source", "kind", "contour", *CORNERS]
    return [tuple(row) for row in frame[columns].itertuples(index=False)]


def test_boxes_by_hand() -> None:
    boxes = PatientBoxes()
    boxes.add(batch((True, False)), outputs())
    frame = detections_table(boxes, {"A": "test", "B": "external"}, 3)
    assert rows(frame) == [
        ("A", "test", 3, "predicted", 1, True, 2, 1, 7, 4),
        ("A", "test", 3, "manual", 1, True, 2, 1, 7, 4),  # 5 columns from 2, 3 rows from 1
        ("A", "test", 3, "manual", 1, True, 0, 6, 1, 7),
        ("B", "external", 3, "predicted", 1, False, 0.5, 0, 2, 8),
    ]
    assert frame["score"].dropna().tolist() == [0.75, 0.25]
    assert rows(detections_table(boxes, {"B": "validation"}, 0)) == [
        ("B", "validation", 0, "predicted", 1, False, 0.5, 0, 2, 8)
    ]
    assert len(detections_table(boxes, {}, 0)) == 0


def test_every_region_is_there_to_be_found() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[0, 0, ::3, ::3] = 1  # 36 specks; training teaches 16 of them
    boxes = PatientBoxes()
    targets = {"mask": mask, "mask_known": torch.ones(1)}
    boxes.add(Batch(("A",), torch.arange(1), torch.zeros(1, 1, 1, 16, 16), None, targets), outputs())
    assert len(boxes.manual["A"] or ()) == 36


def test_boxes_are_not_averaged_with_those_of_the_mirror_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(image: torch.Tensor, clinical: None, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """A box around the column of largest value."""
        column = image[:, 0, 0].amax(1).argmax(1).float()
        box = torch.stack(
            [column, column * 0, column + 1, column * 0 + 8, column * 0 + 0.5, column * 0 + 1], 1
        )
        return {"detection": box[:, None], "mask": image[:, 0]}

    patients = batch((True, True))
    patients.image[:, 0, 0, :, 1] = 1
    monkeypatch.setattr(predict, "plain_batch", lambda cohort, rows: patients)
    device_config = DeviceConfig(torch.device("cpu"), False, False)
    plain, mean = (
        next(iter(predict.Predictor(network, device_config, LossSettings(), 2, flip).predict(None, [0, 1])))[
            1
        ]
        for flip in (False, True)
    )
    assert torch.equal(mean["detection"], plain["detection"])
    assert torch.equal(mean["mask"], patients.image[:, 0])


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty slices with a bright rectangle, and no outcomes, as in the study of chest CT."""
    root = tmp_path_factory.mktemp("slices")
    centre = "public"
    rng = np.random.default_rng(0)
    everyone = []
    for number in range(30):
        patient_id = f"s{number:02d}"
        mask = np.zeros((1, SIDE, SIDE), dtype=np.uint8)
        top, left = rng.integers(2, 30, 2)
        mask[0, top : top + 20, left : left + 26] = 1
        image = (rng.normal(0, 0.1, mask.shape) + mask)[None].astype(np.float32)
        about = CropAttributes(patient_id, ("ct",), ("1",), (1.0, 1.0, 1.0))
        stored_mask = None if number == 29 else mask
        write_crop(root / "crops" / f"{patient_id}.zarr", Crop(image, stored_mask, np.ones_like(mask), about))
        place = "external" if number > 21 else "development"
        everyone.append(Patient(patient_id, place, centre, "-", "", None, None, {}))
    stages = {p.patient_id: [root / "crops" / f"{p.patient_id}.zarr"] for p in everyone}
    gather_problems(stages, {}, root / "problems.csv")
    plan = PlanJob(
        tuple(everyone), root / "problems.csv", PlanSettings(folds=1, validation_fraction=0.2), seed=1
    )
    make_plan(plan, PlanPaths(root / "splits.json", root / "cohort.parquet"))
    return root


def test_from_slices_to_average_precision(slices: Path, tmp_path: Path) -> None:
    """A network learned for some seconds finds a bright rectangle in pictures it has not seen."""
    training = {
        "iterations": 100,
        "batch": 4,
        "device": "cpu",
        "precision": "fp32",
        "balance_events": False,
        "standardise": "none",
        "validate_every": 100,
        "schedule": {"kind": "constant", "learning_rate": 1e-3},
        "augment": {"enabled": False},
        "checkpoint_selection": "last",
    }
    losses = LossSettings(labels=("label_diagnosis",), classes=3, dice_form="generalised")
    network = ChestCt(width=0.125, lesions=1, tasks=("detection",), losses=losses)
    out, settings = tmp_path / "fold0", TrainingSettings.model_validate(training)
    about = (slices / "crops", slices / "cohort.parquet", slices / "splits.json", 0, (365.25,), 1, 1)
    train_fold(FoldJob("d", network, settings, *about, tmp_path / "work"), out)
    frame = read_detections(out / "detections.parquet")
    sets = read_splits(slices / "splits.json").sets(0)
    assert set(frame["set"]) == {"validation", "external"}  # no training patients
    for name, part in frame.groupby("set"):
        assert set(part["patient_id"]) <= set(sets[name])
    manual = frame[frame["source"] == "manual"]
    assert ((manual["x2"] - manual["x1"] == 26) & (manual["y2"] - manual["y1"] == 20)).all()
    assert set(frame.loc[~frame["contour"], "patient_id"]) <= {"s29"}
    assert frame[list(CORNERS)].to_numpy().max() <= SIDE
    path = tmp_path / "d.parquet"
    ensemble({"d": [out]}, path, path.with_suffix(".json"))
    sources = Sources(slices / "cohort.parquet", slices / "splits.json", {"d": [out]})
    evaluate({"d": path}, sources, EvaluationSettings(bootstraps=100), 0, tmp_path / "metrics")
    with (tmp_path / "metrics/metrics.csv").open() as stream:
        (precision,) = (r for r in csv.DictReader(stream) if r["metric"] == "average_precision_iou50")
    assert (precision["set"], precision["patients"]) == ("external", "7")
    assert float(precision["value"]) > 0.3, precision
