"""The loss of a batch run in parts is the loss of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.settings.losses import TERMS, LossSettings
from pipeline.settings.networks.deepmts import MtHs
from pipeline.training.batches import Batch, training_batch
from pipeline.training.context import FoldJob, TrainContext
from pipeline.training.risk_bank import RiskBank
from pipeline.training.step import loss_and_gradients
from tests.training.synthetic_study import context_of

Job = Callable[..., FoldJob]


def _gradients(
    context: TrainContext, batch: Batch, memory: RiskBank
) -> tuple[float, dict[str, torch.Tensor]]:
    for parameter in context.net.parameters():
        parameter.grad = None
    loss, _ = loss_and_gradients(context, batch, memory)
    return float(loss), {n: p.grad.clone() for n, p in context.net.named_parameters() if p.grad is not None}


def test_accumulation_keeps_cox_exact(job: Job) -> None:
    """Batch norm in evaluation mode and no dropout: then a batch in parts must be the batch."""
    network = MtHs(width=0.25, dropout_head=0.0)
    whole = context_of(job(batch=8, precision="fp32", network=network))
    parts = replace(whole, training=whole.training.model_copy(update={"gradient_accumulation": 3}))
    whole.net.eval()
    with torch.no_grad():  # without batch statistics the log-hazards are in the hundreds
        whole.net.head.last.weight.mul_(0.01)  # type: ignore[union-attr]
    batch = training_batch(whole.cohort, whole.sampler.batch_at(0), whole.training.augment, 1)
    cpu = torch.device("cpu")
    loss_a, a = _gradients(whole, batch, RiskBank(0, cpu))
    loss_b, b = _gradients(parts, batch, RiskBank(0, cpu))
    assert loss_a == pytest.approx(loss_b, rel=1e-6) and set(a) == set(b)
    for name, value in a.items():
        assert (value - b[name]).norm() <= 1e-4 * value.norm() + 1e-6, name
    # What part losses alone would give: each part's Cox sees its own risk sets only.
    total = sum(
        float(loss_and_gradients(whole, batch.part(i, i + 3), RiskBank(0, cpu))[0]) * min(3, 8 - i)
        for i in (0, 3, 6)
    )
    assert abs(total / 8 - loss_a) > 1e-3


def test_accumulation_updates_running_statistics_once(job: Job) -> None:
    context = context_of(job(batch=8, gradient_accumulation=2))
    context.net.train()
    batch = training_batch(context.cohort, context.sampler.batch_at(0), context.training.augment, 1)
    loss_and_gradients(context, batch, RiskBank(0, torch.device("cpu")))
    counts = {int(v) for k, v in context.net.state_dict().items() if k.endswith("num_batches_tracked")}
    assert counts == {2}  # one for each part, not for each pass


def test_accumulation_teaches_the_losses_weights(job: Job) -> None:
    """Uncertainty weighting (Kendall et al. 2018): by hand ∂/∂s of w·exp(−s)·L + s/2 at s = 0 is 1/2 − w·L."""
    network = MtHs(width=0.125, losses=LossSettings(weighting="uncertainty", l2=0.0))
    context = context_of(job(batch=8, precision="fp32", network=network, gradient_accumulation=2))
    context.net.train()
    batch = training_batch(context.cohort, context.sampler.batch_at(0), context.training.augment, 1)
    _, terms = loss_and_gradients(context, batch, RiskBank(0, torch.device("cpu")))
    gradient = context.net.get_parameter("log_variances").grad
    assert gradient is not None
    by_hand = {"cox": 0.5 - float(terms["cox"]), "dice": 0.5 - (1 + float(terms["dice"]))}
    for name, value in by_hand.items():
        assert float(gradient[TERMS.index(name)]) == pytest.approx(value, rel=1e-5), name


def test_parts_of_one_patient_are_refused_where_nothing_else_is_left_to_normalise_over(job: Job) -> None:
    """At 16³ the fifth level of the encoder is one voxel."""
    context = context_of(job(batch=4, network=MtHs(width=0.125), gradient_accumulation=4))
    context.net.train()
    batch = training_batch(context.cohort, context.sampler.batch_at(0), context.training.augment, 1)
    with pytest.raises(
        TrainingError, match=r"cannot normalise over one patient.*lower training.gradient_acc"
    ):
        loss_and_gradients(context, batch, RiskBank(0, torch.device("cpu")))
