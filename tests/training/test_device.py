"""Device, precision and what is fixed for the time of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training.context import FoldJob
from pipeline.training.device import choose_device, reproducible
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]


def test_the_frame_is_put_back(job: Job) -> None:
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with reproducible(choose_device(job().training), 1, False):
        assert torch.are_deterministic_algorithms_enabled()
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before


def test_a_device_that_is_not_there_is_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="this device is not there.*got: cuda:7"):
        train_fold(job(device="cuda:7"), tmp_path / "out")
    with pytest.raises(TrainingError, match="unknown device"):
        train_fold(job(device="abacus"), tmp_path / "out")
