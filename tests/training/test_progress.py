"""The history as TensorBoard scalars."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.training.context import FoldJob
from pipeline.training.progress import TensorBoardLogger
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]


def scalars(folder: Path) -> dict[tuple[str, str, int], float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        (*tag.split("/"), event.step): event.value  # type: ignore[misc]
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    }


def test_tensorboard_shows_the_history(job: Job, tmp_path: Path) -> None:
    train_fold(job(tensorboard=True, iterations=8), tmp_path / "out")
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    expected = {
        (column, row["set"], int(row["iteration"])): float(np.float32(row[column]))
        for _, row in history.iterrows()
        for column in history.columns.drop(["iteration", "set"])
        if np.isfinite(row[column])
    }
    assert len(expected) > 15 and scalars(tmp_path / "out" / "tensorboard") == expected
    train_fold(job(iterations=8), tmp_path / "without")
    assert not (tmp_path / "without" / "tensorboard").exists()
    for name in ("checkpoint.pt", "history.csv"):  # writing it changes no number
        a, b = ((tmp_path / n / name).read_bytes() for n in ("out", "without"))
        assert name == "checkpoint.pt" or a == b


def test_a_resumed_board_withdraws_what_was_beyond_the_checkpoint(tmp_path: Path) -> None:

    def row(iteration: int, loss: float) -> dict[str, object]:
        return {"iteration": iteration, "set": "train", "loss": loss, "dice": float("nan")}

    killed = TensorBoardLogger(tmp_path)
    killed.add([row(4, 1.0), row(8, 2.0)])
    killed.close()
    resumed = TensorBoardLogger(tmp_path, start=6)
    resumed.add([row(8, 3.0)])
    resumed.close()
    assert scalars(tmp_path) == {("loss", "train", 4): 1.0, ("loss", "train", 8): 3.0}
