"""Adam, AdamW and SGD by PyTorch's fused kernels, one call for all parameters; the learning rate over time.

`torch.optim` runs the same kernels, but importing its classes imports the compiler, too, which
takes 2 s of every fold's process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError
from pipeline.settings.training import ScheduleSettings, TrainingSettings

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

    Attributes:
        kind: `adam`, `adamw` or `sgd`.
        parameters: The parameters.
        learning_rate: Learning rate of the next step.
        weight_decay: L2 in the gradient; of AdamW decoupled from the gradient.
    """

    def __init__(self, net: torch.nn.Module, training: TrainingSettings) -> None:
        import torch

        self.kind = training.optimizer
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.learning_rate = training.schedule.learning_rate
        default = ADAMW_DECAY if self.kind == "adamw" else 0.0
        self.weight_decay = default if training.weight_decay is None else training.weight_decay
        self._first = [torch.zeros_like(p) for p in self.parameters]
        self._second = [torch.zeros_like(p) for p in self.parameters] if self.kind != "sgd" else []
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        import torch

        updated = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        gradients = [g for g in (self.parameters[i].grad for i in updated) if g is not None]
        parameters: list[torch.Tensor] = [self.parameters[i] for i in updated]
        first = [self._first[i] for i in updated]
        steps = [self._steps[i] for i in updated]
        with torch.no_grad():
            if self.kind == "sgd":
                self._sgd(parameters, gradients, first)
            else:
                torch._foreach_add_(steps, 1.0)
                fused = torch._fused_adamw_ if self.kind == "adamw" else torch._fused_adam_
                fused(
                    parameters, gradients, first, [self._second[i] for i in updated], [], steps,
                    lr=self.learning_rate, beta1=BETA1, beta2=BETA2, eps=EPSILON, amsgrad=False, maximize=False,
                    weight_decay=self.weight_decay,
                )  # fmt: skip

    def _sgd(
        self, parameters: list[torch.Tensor], gradients: list[torch.Tensor], first: list[torch.Tensor]
    ) -> None:
        import torch

        # With a momentum that starts at 0 the first step is the plain gradient, as in torch.optim.
        torch._fused_sgd_(
            parameters, gradients, first, lr=self.learning_rate, momentum=SGD_MOMENTUM, dampening=0.0,
            weight_decay=self.weight_decay, nesterov=False, maximize=False, is_first_step=False,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """The moments and numbers of steps, for checkpoints."""
        return {"kind": self.kind, "first": self._first, "second": self._second, "steps": self._steps}

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
