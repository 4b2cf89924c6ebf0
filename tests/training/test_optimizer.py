"""Our optimizers against PyTorch's, and learning rates over iterations."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.settings.training import ScheduleSettings, TrainingSettings
from pipeline.training.optimizer import Optimizer, learning_rate


@pytest.mark.parametrize("decay", [None, 0.0, 0.1])
@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_optimizer_equals_torch(kind: str, decay: float | None) -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    optimizer = Optimizer(ours, TrainingSettings(optimizer=kind, weight_decay=decay))
    given = {} if decay is None else {"weight_decay": decay}
    rates = (0.01, 0.01, 0.003, 0.001)
    reference: torch.optim.Optimizer
    if kind == "sgd":
        reference = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9, **given)
    else:
        made = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        reference = made(theirs.parameters(), lr=0.01, **given)
    for number, rate in enumerate(rates):
        x = torch.randn(7, 5)
        optimizer.learning_rate = reference.param_groups[0]["lr"] = rate
        for net, stepping in ((ours, optimizer), (theirs, reference)):
            stepping.zero_grad()
            net(x).square().sum().backward()
            stepping.step()
        if number == 1:  # state survives the way through a checkpoint
            state = optimizer.state()
            optimizer = Optimizer(ours, TrainingSettings(optimizer=kind, weight_decay=decay))
            optimizer.restore(state)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_schedules() -> None:
    """DeepMTS: 1e-4, then 5e-5, 1e-5, 1e-6 from 2,500, 5,000, 10,000; half-way a cosine is half."""
    steps = ScheduleSettings()
    rates = [learning_rate(steps, i, 15000) for i in (0, 2499, 2500, 4999, 5000, 9999, 10000, 14999)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 1e-5, 1e-5, 1e-6, 1e-6]
    cosine = ScheduleSettings(kind="cosine", learning_rate=1e-3)
    assert learning_rate(cosine, 0, 100) == 1e-3
    assert learning_rate(cosine, 50, 100) == pytest.approx(5e-4)
    assert learning_rate(cosine, 99, 100) == pytest.approx(0.5e-3 * (1 + math.cos(0.99 * math.pi)))
