"""Patients of earlier batches in the risk sets."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.losses.cox import cox_loss
from pipeline.training.batches import Batch
from pipeline.training.risk_bank import RiskBank


def _fake_batch(rows: list[int], time: list[float], event: list[float]) -> Batch:
    targets = {
        "time": torch.tensor(time),
        "event": torch.tensor(event),
        "centre": torch.zeros(len(rows)).long(),
    }
    ids = tuple(map(str, rows))
    return Batch(ids, torch.tensor(rows), torch.zeros(len(rows), 1, 1, 1, 1), None, targets)


def test_remembered_patients_join_the_risk_sets() -> None:
    """By hand: event at t=1 against itself, the batch's t=2 and the remembered t=5; not t=0.5."""
    memory = RiskBank(3, torch.device("cpu"))
    memory.add(torch.tensor([7, 8, 1]), torch.tensor([0.3, -1.0, 9.0]))
    everyone = {"time": torch.zeros(9), "centre": torch.zeros(9).long()}
    everyone["time"][7], everyone["time"][8] = 5.0, 0.5
    batch = _fake_batch([1, 2], [1.0, 2.0], [1.0, 0.0])
    hazard = torch.tensor([0.2, 0.4], requires_grad=True)
    outputs, targets = memory.extend_risk_sets({"log_hazard": hazard}, batch, everyone)
    loss = cox_loss(outputs["log_hazard"], targets["time"], targets["event"])
    by_hand = math.log(math.exp(0.2) + math.exp(0.4) + math.exp(0.3)) - 0.2
    assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-6)
    loss.backward()
    assert hazard.grad is not None and hazard.grad.abs().min() > 0


def test_memory_forgets_the_oldest_and_keeps_one_of_each() -> None:
    memory = RiskBank(3, torch.device("cpu"))
    memory.add(torch.tensor([1, 2]), torch.tensor([0.1, 0.2]))
    memory.add(torch.tensor([3, 1, 3]), torch.tensor([0.3, 0.5, 0.9]))
    assert memory.rows.tolist() == [3, 1, 2] and memory.log_hazard.tolist() == pytest.approx([0.3, 0.5, 0.2])
    memory.add(torch.tensor([4]), torch.tensor([0.4]))
    assert memory.rows.tolist() == [4, 3, 1]
