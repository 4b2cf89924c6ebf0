"""The loop: what the terminal shows, and that nothing grows over many iterations."""

from __future__ import annotations

import gc
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import console
from pipeline.settings.networks.deepmts import MtHs
from pipeline.training import trainer
from pipeline.training.context import FoldJob, fingerprint_of, load_fold, make_context
from pipeline.training.device import choose_device, reproducible
from pipeline.training.train_fold import train_fold
from pipeline.training.validation import monitored_sets

Job = Callable[..., FoldJob]


class Terminal(io.StringIO):
    """Looks like one."""

    def isatty(self) -> bool:
        return True


def test_the_bar_shows_loss_dice_c_index_and_time_left(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(console, "_terminal", terminal)
    train_fold(job(iterations=4, validate_every=2), tmp_path / "out")
    shown = terminal.getvalue()
    assert "training:" in shown and "/4 [" in shown and "<" in shown  # done/all [elapsed<left
    row = pd.read_csv(tmp_path / "out" / "history.csv").iloc[1]
    assert f"validation {row['loss']:.3f} Dice {row['dice']:.2f} C {row['c_index']:.2f}" in shown


def test_a_fine_history_changes_nothing_but_itself(job: Job, tmp_path: Path) -> None:
    """Rows at iteration 1 and every second one, of training and validation; weights and choice stay the same."""
    coarse, fine = tmp_path / "coarse", tmp_path / "fine"
    settings = {"iterations": 6, "validate_every": 3, "patience": 2}
    train_fold(job(**settings), coarse)
    train_fold(job(work=tmp_path / "other", history_every=2, **settings), fine)
    history = pd.read_csv(fine / "history.csv")
    for name in ("train", "validation"):
        assert list(history.loc[history["set"] == name, "iteration"]) == [1, 2, 3, 4, 6]
    assert history[["loss_cox", "loss_dice"]].notna().all(axis=None)
    shared = history[history["iteration"].isin((3, 6)) & (history["set"] == "validation")]
    before = pd.read_csv(coarse / "history.csv").query("set == 'validation'")
    pd.testing.assert_frame_equal(shared.reset_index(drop=True), before.reset_index(drop=True))
    # Means over the iterations since the row before: 1, 2, 3 are single ones, as their mean is the coarse row.
    losses = history.query("set == 'train'").set_index("iteration")["loss"]
    expected = pd.read_csv(coarse / "history.csv").query("set == 'train'")["loss"].iloc[0]
    assert losses.loc[[1, 2, 3]].mean() == pytest.approx(expected)
    same = [pd.read_parquet(out / "predictions.parquet") for out in (coarse, fine)]
    pd.testing.assert_frame_equal(*same)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.nightly
def test_nothing_grows_over_two_thousand_iterations(job: Job, tmp_path: Path) -> None:
    """Resident memory by a straight line over iterations, and tensors that the collector sees."""
    network = MtHs(width=0.125)
    settings = {"iterations": 2000, "risk_bank_size": 10, "validate_every": 100, "checkpoint_every": 500}
    work = job(network=network, batch=2, **settings)
    device_config = choose_device(work.training)
    measured: list[tuple[int, float, int]] = []
    real = trainer.validate

    def validate(run: trainer.TrainState, *, chooses: bool) -> str:
        summary = real(run, chooses=chooses)
        gc.collect()
        tensors = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
        measured.append((run.progress.iteration, resident_mb(), tensors))
        return summary

    with reproducible(device_config, 1, False), pytest.MonkeyPatch.context() as patched:
        data = load_fold(work, device_config)
        context = make_context(work, data, device_config)
        monitored = monitored_sets(work.training.checkpoint_selection, data.rows)
        run = trainer.start_run(context, monitored, fingerprint_of(work, data, context), work.work)
        patched.setattr(trainer, "validate", validate)
        trainer.run_training(run)
    iterations, resident, tensors = (np.array(column) for column in zip(*measured, strict=True))
    settled = iterations > 500
    slope = np.polyfit(iterations[settled], resident[settled], 1)[0]
    assert slope * 1500 <= 0.02 * resident[-1]
    assert tensors[-1] <= tensors[settled][0] + 10
    assert len(run.progress.history) == 40 and not run.pending
