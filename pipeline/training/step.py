"""The loss of a batch and its gradient: forward, loss in float32, backward, in parts where asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import TrainingError
from pipeline.training.checkpoint import random_states, restore_random_states
from pipeline.training.predict import DEEP_FEATURES, run_network

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors
    from pipeline.training.context import TrainContext
    from pipeline.training.loss_scale import LossScale
    from pipeline.training.risk_bank import RiskBank


def loss_and_gradients(
    context: TrainContext, batch: Batch, risk_bank: RiskBank, loss_scale: LossScale | None = None
) -> tuple[torch.Tensor, Tensors]:
    """Loss of a batch and its terms, detached and unscaled; gradients are left in the parameters.

    Args:
        context: The network and how it is trained.
        batch: The patients.
        risk_bank: Recent log-hazards.
        loss_scale: What the loss is multiplied with before the backward pass, and thus the gradients.

    Raises:
        TrainingError: `gradient_accumulation` leaves parts of one patient, and the network cannot
            normalise over one.
    """
    if context.training.gradient_accumulation > 1:
        return _in_parts(context, batch, risk_bank, loss_scale)
    outputs = forward(context, batch)
    loss, terms = _loss(context, outputs, batch, risk_bank)
    _backward(loss, loss_scale)
    if "log_hazard" in outputs:
        risk_bank.add(batch.rows, outputs["log_hazard"])
    return loss.detach(), terms


def _backward(loss: torch.Tensor, loss_scale: LossScale | None) -> None:
    (loss if loss_scale is None else loss_scale.scaled(loss)).backward()


def forward(context: TrainContext, batch: Batch) -> Tensors:
    """Outputs of the network in float32."""
    return run_network(context.call, context.device_config, batch)


def _loss(
    context: TrainContext, outputs: Tensors, batch: Batch, risk_bank: RiskBank
) -> tuple[torch.Tensor, Tensors]:
    from pipeline.losses.combined import combined_loss

    extended, targets = risk_bank.extend_risk_sets(outputs, batch, context.risk_set_columns())
    return combined_loss(extended, targets, context.losses, context.penalised_weights())


def _in_parts(
    context: TrainContext, batch: Batch, risk_bank: RiskBank, loss_scale: LossScale | None
) -> tuple[torch.Tensor, Tensors]:
    """The gradient of the loss over the whole batch, with the activations of one part at a time.

    Cox's loss couples all patients of a batch, so that the losses of parts do not add up to it. As
    in Gao et al. 2021 ("Scaling deep contrastive learning batch size under memory limited setup"):
    run all parts without keeping activations; take the gradient of the whole batch's loss with
    respect to the outputs; run each part again with the same random state and give it its share of
    that gradient. This is exact for every loss, at the price of one more forward pass. Batch
    normalisation normalises within a part, as it must where a part is all that is in memory.
    """
    import torch

    size = -(-len(batch.ids) // context.training.gradient_accumulation)
    spans = [(i, min(i + size, len(batch.ids))) for i in range(0, len(batch.ids), size)]
    before = random_states(context.device_config.device)
    outputs = _outputs_of_parts(context, batch, spans)
    leaves = {name: value.requires_grad_() for name, value in outputs.items() if name != DEEP_FEATURES}
    loss, terms = _loss(context, leaves, batch, risk_bank)
    _backward(loss, loss_scale)
    restore_random_states(before, context.device_config.device)
    for span in spans:
        outputs = forward(context, batch.part(*span))
        # Outputs that no weighted term uses have no gradient.
        shares = {name: leaf.grad[slice(*span)] for name, leaf in leaves.items() if leaf.grad is not None}
        torch.autograd.backward([outputs[name] for name in shares], list(shares.values()))
    if "log_hazard" in leaves:
        risk_bank.add(batch.rows, leaves["log_hazard"])
    return loss.detach(), terms


def _outputs_of_parts(context: TrainContext, batch: Batch, spans: list[tuple[int, int]]) -> Tensors:
    """Outputs of the whole batch, cut off from the network; buffers, such as running statistics, stay as they were."""
    import torch

    buffers = [buffer.clone() for buffer in context.net.buffers()]
    with torch.no_grad():
        parts = [_forward_part(context, batch.part(*span)) for span in spans]
        for buffer, value in zip(context.net.buffers(), buffers, strict=True):
            buffer.copy_(value)
        # Inside, since an output can be a view of a parameter (the losses' learned weights): joined with
        # gradients switched on, it would still hang on the parameter and keep no gradient of its own.
        return {name: torch.cat([part[name] for part in parts]).detach() for name in parts[0]}


def _forward_part(context: TrainContext, part: Batch) -> Tensors:
    """Outputs of a part.

    Raises:
        TrainingError: It is one patient, and a layer has nothing else to normalise over.
    """
    try:
        return forward(context, part)
    except ValueError as error:
        if len(part.ids) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            "batch normalisation cannot normalise over one patient, whose map here is one voxel",
            where=f"training.gradient_accumulation: {context.training.gradient_accumulation}, "
            f"training.batch: {context.training.batch}",
            expected="at least 2 patients in every part of a batch",
            got=f"a part with patient {part.ids[0]} alone",
            action="lower training.gradient_accumulation so that it divides the batch into parts of two or more",
        ) from None
