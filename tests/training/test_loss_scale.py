"""float16: the scaled loss against torch.amp.GradScaler, overflow, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import CheckpointError
from pipeline.settings.networks.deepmts import MtHs
from pipeline.settings.training import TrainingSettings
from pipeline.training.context import FoldJob
from pipeline.training.device import choose_device
from pipeline.training.loss_scale import LossScale
from pipeline.training.optimizer import Optimizer
from pipeline.training.trainer import flush_losses, start_run, train_step
from tests.training.synthetic_study import context_of

Job = Callable[..., FoldJob]


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_equals_pytorchs_scaler_overflow_included(kind: str) -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizer = Optimizer(ours, TrainingSettings(optimizer=kind), scaled=True)
    optimizer.learning_rate = 0.01
    reference: torch.optim.Optimizer
    if kind == "sgd":
        reference = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9)
    else:
        reference = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind](theirs.parameters(), lr=0.01)
    scaler, scale = torch.amp.GradScaler("cpu", init_scale=2.0**16), optimizer.loss_scale
    assert scale is not None
    for number in range(6):
        x = torch.randn(7, 5)
        if number == 2:
            x[0, 0] = torch.inf
        optimizer.zero_grad()
        reference.zero_grad()
        scale.scaled(ours(x).square().sum()).backward()
        optimizer.step()
        scaler.scale(theirs(x).square().sum()).backward()
        scaler.step(reference)
        scaler.update()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)
    assert scale.skipped() == 1 and scale.state()["scale"].item() == scaler.get_scale() == 2.0**15


def test_a_checkpoint_holds_the_scale() -> None:
    scale, other = LossScale(torch.device("cpu")), LossScale(torch.device("cpu"))
    scale.unscale([torch.tensor([torch.nan])])
    other.restore(scale.state())
    assert other.skipped() == 1 and other.state()["scale"].item() == 2.0**15
    with pytest.raises(CheckpointError, match="loss scale"):
        other.restore({})


def test_a_step_that_overflows_is_skipped_and_counted(job: Job, tmp_path: Path) -> None:
    """A float16 step on a processor; the loss that is reported is not scaled."""
    context = context_of(job(network=MtHs(width=0.125), precision="fp16"))
    assert context.device_config.precision == "fp16"
    run = start_run(context, {}, {}, tmp_path)
    scale = run.optimizer.loss_scale
    assert scale is not None
    scale.state()["scale"].fill_(2.0**10)  # at the first scale the first step would overflow
    context.net.train()
    train_step(run, 0)
    before = [p.detach().clone() for p in run.optimizer.parameters]
    scale.state()["scale"].fill_(torch.inf)
    train_step(run, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, run.optimizer.parameters, strict=True))
    scale.state()["scale"].fill_(2.0**10)
    train_step(run, 2)
    assert not all(torch.equal(a, b) for a, b in zip(before, run.optimizer.parameters, strict=True))
    flush_losses(run)
    assert scale.skipped() == 1 and all(abs(values["loss"]) < 100 for values in run.progress.recent)


def test_float16_is_never_chosen_unasked() -> None:
    assert not choose_device(TrainingSettings(device="cpu")).fp16
    exact = replace(choose_device(TrainingSettings(device="cpu", precision="fp16")), fp16=False)
    assert exact.precision == "fp32"
