"""A small synthetic study: crops on disk, a plan, and jobs that train on it in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.planning.exclusions import gather_problems
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan
from pipeline.settings.networks.deepmts import MtHs
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop
from pipeline.tables.cohort import Patient
from pipeline.training import train_fold as rule
from pipeline.training import trainer
from pipeline.training.context import FoldJob, TrainContext, load_fold, make_context
from pipeline.training.device import choose_device

SHAPE = (16, 16, 16)
TRAINING: dict[str, Any] = {
    "iterations": 12,
    "batch": 4,
    "validate_every": 4,
    "checkpoint_every": 3,
    "device": "cpu",
    "schedule": {"kind": "constant", "learning_rate": 1e-3},
    "augment": {"translation_voxels": 2.0},
    "outputs": ("masks", "deep_features"),
}


def patients(development: int = 18, external: int = 4, seed: int = 0) -> list[Patient]:
    """Patients with outcomes; a third is censored."""
    rng = np.random.default_rng(seed)
    return [
        Patient(
            patient_id=f"p{i:02d}",
            set="development" if i < development else "external",
            centre=f"centre{i % 3}",
            image_path="-",
            roi="",
            time_days=float(rng.integers(100, 2000)),
            event=int(i % 3 != 0),
            extra={"clinical_age": str(40 + i), "clinical_stage": "II" if i % 2 else "III"},
        )
        for i in range(development + external)
    ]


def crop(patient_id: str, seed: int, shape: tuple[int, int, int] = SHAPE) -> Crop:
    """A bright ball in noise; a slab that was not imaged."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij"))
    mask = (np.square(grid).sum(0) < rng.uniform(2, 5) ** 2).astype(np.uint8)
    pet = rng.normal(1, 0.2, shape) + mask * rng.uniform(4, 8)
    ct = rng.normal(40, 20, shape)
    inside = np.ones(shape, dtype=np.uint8)
    inside[:2] = 0
    image = np.stack([pet, ct]).astype(np.float32)
    image[:, :2] = np.array([0.0, -1024.0], dtype=np.float32)[:, None, None, None]
    return Crop(
        image, mask, inside, CropAttributes(patient_id, ("pet", "ct"), ("g/mL", "HU"), (4.0, 4.0, 4.0))
    )


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops, plan and outcomes of 18 development and 4 external patients."""
    root = tmp_path_factory.mktemp("study")
    everyone = patients()
    for number, patient in enumerate(everyone):
        write_crop(root / "crops" / f"{patient.patient_id}.zarr", crop(patient.patient_id, number))
    stages = {p.patient_id: [root / "crops" / f"{p.patient_id}.zarr"] for p in everyone}
    gather_problems(stages, {}, root / "problems.csv")
    job = PlanJob(tuple(everyone), root / "problems.csv", PlanSettings(folds=3), seed=5)
    make_plan(job, PlanPaths(root / "splits.json", root / "cohort.parquet"))
    return root


@pytest.fixture
def job(study: Path, tmp_path: Path) -> Callable[..., FoldJob]:
    """Jobs on the study: `job(iterations=3)`, network and other fields by name."""

    def make(**changes: Any) -> FoldJob:
        fields = {k: changes.pop(k) for k in list(changes) if k in FoldJob.__dataclass_fields__}
        network = fields.pop("network", MtHs(width=0.25, clinical=("clinical_age", "clinical_stage")))
        settings = TrainingSettings.model_validate({**TRAINING, **changes})
        defaults: dict[str, Any] = {
            "model": "mt_hs",
            "network": network,
            "training": settings,
            "crops": study / "crops",
            "outcomes": study / "cohort.parquet",
            "splits": study / "splits.json",
            "fold": 0,
            "horizons_days": (365.25, 730.5),
            "seed": 1,
            "threads": 1,
            "work": tmp_path / "work",
        }
        return FoldJob(**{**defaults, **fields})

    return make


def context_of(job: FoldJob) -> TrainContext:
    """The context in which a job trains."""
    device_config = choose_device(job.training)
    return make_context(job, load_fold(job, device_config), device_config)


def stopped_before(job: FoldJob, iteration: int, out: Path) -> None:
    """Train a job whose process ends before an iteration."""
    real = trainer.train_step

    def step(run: trainer.TrainState, number: int) -> None:
        if number == iteration:
            raise KeyboardInterrupt
        real(run, number)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer, "train_step", step)
        with pytest.raises(KeyboardInterrupt):
            rule.train_fold(job, out)
