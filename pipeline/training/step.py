"""One optimizer step: forward, loss in float32, backward, in parts where asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.settings.losses import LossSettings
from pipeline.settings.training import TrainingSettings
from pipeline.training.checkpoint import random_states, restore_random_states

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors
    from pipeline.training.dataset import CohortTensors
    from pipeline.training.device import DeviceConfig
    from pipeline.training.risk_bank import RiskMemory
    from pipeline.training.sampler import Sampler

UNLOSSY = "deep_features"
"""The one output that no loss acts on."""


@dataclass(frozen=True)
class TrainContext:
    """What stays the same through a run (the tensors in `net` change).

    Attributes:
        net: The network.
        call: What runs it: `net` itself, or `net` compiled.
        cohort: All patients.
        machine: Device and precision.
        sampler: Draws batches.
        training: Settings.
        losses: Settings of the loss.
        seed: Of this model in this fold.
    """

    net: torch.nn.Module
    call: Callable[..., Tensors]
    cohort: CohortTensors
    machine: DeviceConfig
    sampler: Sampler
    training: TrainingSettings
    losses: LossSettings
    seed: int

    def penalised(self) -> list[torch.Tensor]:
        """Weight matrices of the L2 term; none where the network names none."""
        named = getattr(self.net, "penalised_weights", None)
        return list(named()) if named is not None else []

    def everyone(self) -> Tensors:
        """Times, where the study has outcomes, and centres of all patients, for the risk memory."""
        time = {} if self.cohort.time is None else {"time": self.cohort.time}
        return {**time, "centre": self.cohort.targets["centre"]}


def forward(bench: TrainContext, batch: Batch) -> Tensors:
    """Run the network; outputs in float32, whatever it computes in."""
    with bench.machine.autocast():
        outputs = bench.call(bench.machine.arrange(batch.image), batch.clinical, batch.targets["mask"])
    return {name: value.float() for name, value in outputs.items()}


def loss_and_gradients(bench: TrainContext, batch: Batch, memory: RiskMemory) -> tuple[torch.Tensor, Tensors]:
    """Loss of a batch and its terms, detached; gradients are left in the parameters."""
    if bench.training.gradient_accumulation > 1:
        return _in_parts(bench, batch, memory)
    outputs = forward(bench, batch)
    loss, parts = _loss(bench, outputs, batch, memory)
    loss.backward()
    if "log_hazard" in outputs:
        memory.add(batch.rows, outputs["log_hazard"])
    return loss.detach(), parts


def _loss(
    bench: TrainContext, outputs: Tensors, batch: Batch, memory: RiskMemory
) -> tuple[torch.Tensor, Tensors]:
    from pipeline.losses.combined import combined_loss

    joined, targets = memory.join(outputs, batch, bench.everyone())
    return combined_loss(joined, targets, bench.losses, bench.penalised())


def _in_parts(bench: TrainContext, batch: Batch, memory: RiskMemory) -> tuple[torch.Tensor, Tensors]:
    """The gradient of the loss over the whole batch, with activations of one part at a time.

    Cox couples all patients of a batch, so part losses do not add up to it. As in Gao et al.
    2021 ("Scaling deep contrastive learning batch size under memory limited setup"): run all
    parts without keeping activations; take the gradient of the whole batch's loss with
    respect to the outputs; run each part again with the same random state and hand it its
    share of that gradient. Exact for every loss, at the price of one more forward pass.
    Batch norm normalises within a part, as it must where a part is all that is in memory.
    """
    import torch

    size = -(-len(batch.ids) // bench.training.gradient_accumulation)
    spans = [(i, min(i + size, len(batch.ids))) for i in range(0, len(batch.ids), size)]
    before = random_states(bench.machine.device)
    kept = [buffer.clone() for buffer in bench.net.buffers()]
    with torch.no_grad():
        pieces = [forward(bench, batch.part(*span)) for span in spans]
        for buffer, value in zip(bench.net.buffers(), kept, strict=True):
            buffer.copy_(value)
    leaves = {
        name: torch.cat([piece[name] for piece in pieces]).requires_grad_()
        for name in pieces[0]
        if name != UNLOSSY
    }
    loss, parts = _loss(bench, leaves, batch, memory)
    loss.backward()
    restore_random_states(before, bench.machine.device)
    for span in spans:
        outputs = forward(bench, batch.part(*span))
        # Outputs that no weighted term uses have no gradient.
        shares = {name: leaf.grad[slice(*span)] for name, leaf in leaves.items() if leaf.grad is not None}
        torch.autograd.backward([outputs[name] for name in shares], list(shares.values()))
    if "log_hazard" in leaves:
        memory.add(batch.rows, leaves["log_hazard"])
    return loss.detach(), parts
