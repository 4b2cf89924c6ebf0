"""Adam, AdamW and SGD of PyTorch, fused and ready to be recorded; the learning rate over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError
from pipeline.settings.training import ScheduleSettings, TrainingSettings
from pipeline.training.loss_scale import LossScale

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Tensors

ADAMW_DECAY = 0.01
"""Decoupled weight decay of AdamW (Loshchilov and Hutter 2019); torch.optim's default."""
SGD_MOMENTUM = 0.9


def learning_rate(schedule: ScheduleSettings, iteration: int, iterations: int) -> float:
    """Learning rate at an iteration: a pure function, so that resuming needs no state.

    `steps`: that of the last step that has begun (DeepMTS: 5e-5, 1e-5, 1e-6 from iterations
    2,500, 5,000, 10,000). `cosine`: lr·(1 + cos(π·i/n))/2, from the first value towards 0
    (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        schedule: Kind and values of the schedule.
        iteration: Number of the iteration: 0, 1, … iterations − 1.
        iterations: Number of iterations of the whole training.
    """
    if schedule.kind == "cosine":
        return schedule.learning_rate * (1 + math.cos(math.pi * iteration / iterations)) / 2
    rate = schedule.learning_rate
    if schedule.kind == "steps":
        for start, value in sorted(schedule.steps):
            if iteration >= start:
                rate = value
    return rate


class Optimizer:
    """The parameters that are trained, with their moments, which exist before the first step.

    On an accelerator the learning rate is a tensor there, so that a recorded step (`graph.py`) reads
    the rate of the iteration it is replayed for.

    Args:
        net: The network on its device.
        training: Kind of optimizer, learning rate, weight decay.
        scaled: Whether the loss is scaled, as float16 needs it.

    Attributes:
        kind: `adam`, `adamw` or `sgd`.
        parameters: The parameters.
        loss_scale: The factor of the loss; None where it is not scaled.
    """

    def __init__(self, net: torch.nn.Module, training: TrainingSettings, *, scaled: bool = False) -> None:
        import torch

        self.kind = training.optimizer
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        device = self.parameters[0].device
        self.loss_scale = LossScale(device) if scaled else None
        self._learning_rate = training.schedule.learning_rate
        self._rate_on_device: torch.Tensor | None = None
        if device.type != "cpu":
            self._rate_on_device = torch.full((), self._learning_rate, dtype=torch.float32, device=device)
        self._update = self._made(training)
        self._update.state.update((parameter, self._start(parameter)) for parameter in self.parameters)

    def _made(self, training: TrainingSettings) -> torch.optim.Optimizer:
        import torch

        default = ADAMW_DECAY if self.kind == "adamw" else 0.0
        given: dict[str, Any] = {
            "lr": self._learning_rate if self._rate_on_device is None else self._rate_on_device,
            "weight_decay": default if training.weight_decay is None else training.weight_decay,
            "fused": True,
        }
        if self.kind == "sgd":
            return torch.optim.SGD(self.parameters, momentum=SGD_MOMENTUM, **given)
        made = torch.optim.AdamW if self.kind == "adamw" else torch.optim.Adam
        return made(self.parameters, capturable=self._rate_on_device is not None, **given)

    def _start(self, parameter: torch.Tensor) -> Tensors:
        """Moments before the first step, as PyTorch names them; a momentum of 0 makes SGD's first step plain."""
        import torch

        if self.kind == "sgd":
            return {"momentum_buffer": torch.zeros_like(parameter)}
        return {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        if self._rate_on_device is None:
            self._update.param_groups[0]["lr"] = rate
        elif rate != self._learning_rate:
            self._rate_on_device.fill_(rate)
        self._learning_rate = rate

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; none where a scaled loss's gradients overflowed."""
        if self.loss_scale is not None:
            self.loss_scale.unscale([p.grad for p in self.parameters if p.grad is not None])
            # Where PyTorch's fused optimizers look for it (torch.amp.GradScaler puts it there as well).
            self._update.found_inf = self.loss_scale.found_inf  # type: ignore[attr-defined]
        self._update.step()

    def tensors(self) -> list[torch.Tensor]:
        """Everything that a step changes beside parameters and gradients."""
        moments = [tensor for tensors in self._moments().values() for tensor in tensors]
        return [*moments, *([] if self.loss_scale is None else self.loss_scale.state().values())]

    def _moments(self) -> dict[str, list[torch.Tensor]]:
        """Moments by name, each in the order of the parameters."""
        states = [self._update.state[parameter] for parameter in self.parameters]
        return {name: [state[name] for state in states] for name in states[0]}

    def state(self) -> dict[str, Any]:
        """The moments and the loss's scale, for checkpoints."""
        scale = {} if self.loss_scale is None else {"loss_scale": self.loss_scale.state()}
        return {"kind": self.kind, **self._moments(), **scale}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to the moments that :meth:`state` returned.

        Raises:
            CheckpointError: The state is of another optimizer or another network.
        """
        for name, tensors in self._moments().items():
            saved = state.get(name, [])
            if state["kind"] != self.kind or [t.shape for t in saved] != [t.shape for t in tensors]:
                raise CheckpointError("a checkpoint's optimizer belongs to another network")
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)
        if self.loss_scale is not None:
            self.loss_scale.restore(state.get("loss_scale", {}))
