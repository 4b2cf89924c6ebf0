"""A finished training is not done again: not for another horizon, not for outputs that were lost."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from pipeline.tables.predictions import read_predictions
from pipeline.training import trainer
from pipeline.training.context import FoldJob
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Iterations that were trained, of every run."""
    done: list[int] = []
    real = trainer.train_step

    def step(run: trainer.TrainState, iteration: int) -> None:
        done.append(iteration)
        real(run, iteration)

    monkeypatch.setattr(trainer, "train_step", step)
    return done


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("select", ["last", "best_validation"])
def test_lost_outputs_are_made_again_without_training(
    job: Job, tmp_path: Path, steps: list[int], select: str
) -> None:
    train_fold(job(checkpoint_selection=select), tmp_path / "out")
    first = everything(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    train_fold(job(checkpoint_selection=select), tmp_path / "out")
    assert len(steps) == 12
    assert everything(tmp_path / "out") == first


def test_a_training_that_ran_out_of_patience_is_not_gone_on_with(
    job: Job, tmp_path: Path, steps: list[int]
) -> None:
    settings: dict[str, Any] = {"iterations": 400, "patience": 1, "checkpoint_selection": "best_validation"}
    train_fold(job(**settings), tmp_path / "a")
    done = len(steps)
    assert done < 400
    train_fold(job(**settings), tmp_path / "b")
    assert len(steps) == done and everything(tmp_path / "a") == everything(tmp_path / "b")


def test_other_horizons_and_outputs_need_no_training(job: Job, tmp_path: Path, steps: list[int]) -> None:
    train_fold(job(outputs=()), tmp_path / "out")
    assert not (tmp_path / "out" / "masks.zarr").exists()
    later = job(outputs=("masks",), horizons_days=(500.0,))
    train_fold(later, tmp_path / "out")
    assert len(steps) == 12
    assert "survival_500d" in read_predictions(tmp_path / "out" / "predictions.parquet")
    anew = tmp_path / "anew"
    train_fold(job(outputs=("masks",), horizons_days=(500.0,), work=tmp_path / "other"), anew)
    again, fresh = everything(tmp_path / "out"), everything(anew)
    assert len(steps) == 24
    assert {k: v for k, v in again.items() if k != "timing.json"} == {
        k: v for k, v in fresh.items() if k != "timing.json"
    }


@pytest.mark.parametrize("change", [{"batch": 6}, {"seed": 2}, {"iterations": 13}])
def test_other_settings_are_trained_anew(
    job: Job, tmp_path: Path, steps: list[int], change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    train_fold(job(), tmp_path / "out")
    caplog.set_level(logging.INFO)
    train_fold(job(**change), tmp_path / "out")
    assert len(steps) == 12 + change.get("iterations", 12)
    assert "had other settings: trained anew" in caplog.text


def test_other_outcomes_of_training_patients_are_trained_anew(
    job: Job, study: Path, tmp_path: Path, steps: list[int]
) -> None:
    train_fold(job(), tmp_path / "out")
    table = pd.read_parquet(study / "cohort.parquet")
    table["time_days"] = table["time_days"] + 1
    table.to_parquet(tmp_path / "other.parquet")
    train_fold(job(outcomes=tmp_path / "other.parquet"), tmp_path / "out")
    assert len(steps) == 24


@pytest.mark.parametrize("damage", ["cut", "pickle"])
def test_a_broken_record_is_told_and_trained_anew(
    job: Job, tmp_path: Path, steps: list[int], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    train_fold(job(), tmp_path / "out")
    first = everything(tmp_path / "out")
    record = tmp_path / "work" / "completed.pt"
    if damage == "cut":
        record.write_bytes(record.read_bytes()[:-1000])
    else:
        torch.save({"format": 1, "evil": Path("x")}, record)  # needs more than weights_only allows
    train_fold(job(), tmp_path / "out")
    assert len(steps) == 24 and "is missing or damaged" in caplog.text
    again = everything(tmp_path / "out")
    assert all(again[name] == first[name] for name in first if name != "timing.json")


def test_predictions_that_failed_need_no_second_training(
    job: Job, tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.training import train_fold as fold

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(fold, "write_masks", full)
        with pytest.raises(OSError, match="No space"):
            train_fold(job(), tmp_path / "out")
    train_fold(job(tensorboard=True), tmp_path / "out")
    assert len(steps) == 12
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["completed.pt", "lock"]
