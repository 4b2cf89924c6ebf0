"""Adam, AdamW and SGD by PyTorch's fused kernels, one call for all parameters; the learning rate over time.

`torch.optim` runs the same kernels, but importing its classes imports the compiler, too, which
takes 2 s of every fold's process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError
from pipeline.settings.training import ScheduleSettings, TrainingSettings
from pipeline.training.loss_scale import LossScale

if TYPE_CHECKING:
    import torch

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Kingma and Ba 2015, section 2; torch.optim's defaults."""
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
    """The parameters that are trained, with their moments.

    On an accelerator the learning rate is a tensor there, so that a recorded step (`graph.py`) reads
    the rate of the iteration it is replayed for.

    Args:
        net: The network on its device.
        training: Kind of optimizer, learning rate, weight decay.
        scaled: Whether the loss is scaled, as float16 needs it.

    Attributes:
        kind: `adam`, `adamw` or `sgd`.
        parameters: The parameters.
        weight_decay: L2 in the gradient; of AdamW decoupled from the gradient.
        loss_scale: The factor of the loss; None where it is not scaled.
    """

    def __init__(self, net: torch.nn.Module, training: TrainingSettings, *, scaled: bool = False) -> None:
        import torch

        self.kind = training.optimizer
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        default = ADAMW_DECAY if self.kind == "adamw" else 0.0
        self.weight_decay = default if training.weight_decay is None else training.weight_decay
        self._first = [torch.zeros_like(p) for p in self.parameters]
        self._second = [torch.zeros_like(p) for p in self.parameters] if self.kind != "sgd" else []
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]
        device = self.parameters[0].device if self.parameters else torch.device("cpu")
        self.loss_scale = LossScale(device) if scaled else None
        self._learning_rate = training.schedule.learning_rate
        self._rate_on_device: torch.Tensor | None = None
        if device.type != "cpu":
            self._rate_on_device = torch.full((), self._learning_rate, dtype=torch.float32, device=device)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        if self._rate_on_device is not None and rate != self._learning_rate:
            self._rate_on_device.fill_(rate)
        self._learning_rate = rate

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; none where a scaled loss's gradients overflowed."""
        import torch

        updated = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        gradients = [g for g in (self.parameters[i].grad for i in updated) if g is not None]
        parameters: list[torch.Tensor] = [self.parameters[i] for i in updated]
        first = [self._first[i] for i in updated]
        steps = [self._steps[i] for i in updated]
        given: dict[str, Any] = {
            "lr": self._learning_rate if self._rate_on_device is None else self._rate_on_device,
            "weight_decay": self.weight_decay,
            "maximize": False,
        }
        with torch.no_grad():
            if self.loss_scale is not None:
                self.loss_scale.unscale(gradients)
                given["found_inf"] = self.loss_scale.found_inf
            if self.kind == "sgd":
                # With a momentum that starts at 0 the first step is the plain gradient, as in torch.optim.
                torch._fused_sgd_(
                    parameters, gradients, first, momentum=SGD_MOMENTUM, dampening=0.0, nesterov=False,
                    is_first_step=False, **given,
                )  # fmt: skip
                return
            torch._foreach_add_(steps, 1.0 if self.loss_scale is None else 1.0 - self.loss_scale.found_inf)
            fused = torch._fused_adamw_ if self.kind == "adamw" else torch._fused_adam_
            fused(
                parameters, gradients, first, [self._second[i] for i in updated], [], steps,
                beta1=BETA1, beta2=BETA2, eps=EPSILON, amsgrad=False, **given,
            )  # fmt: skip

    def tensors(self) -> list[torch.Tensor]:
        """Everything that a step changes beside parameters and gradients."""
        scale = [] if self.loss_scale is None else list(self.loss_scale.state().values())
        return [*self._first, *self._second, *self._steps, *scale]

    def state(self) -> dict[str, Any]:
        """The moments, numbers of steps and the loss's scale, for checkpoints."""
        state = {"kind": self.kind, "first": self._first, "second": self._second, "steps": self._steps}
        return state if self.loss_scale is None else {**state, "loss_scale": self.loss_scale.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to the moments that :meth:`state` returned.

        Raises:
            CheckpointError: The state is of another optimizer or another network.
        """
        for name, tensors in (("first", self._first), ("second", self._second), ("steps", self._steps)):
            saved = state[name]
            if state["kind"] != self.kind or [t.shape for t in saved] != [t.shape for t in tensors]:
                raise CheckpointError("a checkpoint's optimizer belongs to another network")
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)
        if self.loss_scale is not None:
            self.loss_scale.restore(state.get("loss_scale", {}))
