"""Adam, AdamW and SGD by PyTorch's fused kernels, one call for all parameters.

`torch.optim` runs the same kernels, but importing what its classes are wrapped in (the
compiler) takes 2 s of every fold's process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError
from pipeline.settings.training import TrainingSettings

if TYPE_CHECKING:
    import torch

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Kingma and Ba 2015, section 2; torch.optim's defaults."""
ADAMW_DECAY = 0.01
"""Decoupled weight decay of AdamW (Loshchilov and Hutter 2019); torch.optim's default."""
SGD_MOMENTUM = 0.9


class Optimizer:
    """Parameters with their moments.

    Attributes:
        kind: `adam`, `adamw` or `sgd`.
        parameters: What is trained.
        rate: Learning rate of the next step.
        decay: Weight decay: L2 in the gradient, of AdamW apart from it.
    """

    def __init__(self, net: torch.nn.Module, training: TrainingSettings) -> None:
        import torch

        self.kind = training.optimizer
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.rate = training.schedule.learning_rate
        usual = ADAMW_DECAY if self.kind == "adamw" else 0.0
        self.decay = usual if training.weight_decay is None else training.weight_decay
        self._first = [torch.zeros_like(p) for p in self.parameters]
        self._second = [torch.zeros_like(p) for p in self.parameters] if self.kind != "sgd" else []
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        import torch

        moved = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        gradients = [g for g in (self.parameters[i].grad for i in moved) if g is not None]
        parameters: list[torch.Tensor] = [self.parameters[i] for i in moved]
        first = [self._first[i] for i in moved]
        steps = [self._steps[i] for i in moved]
        with torch.no_grad():
            if self.kind == "sgd":
                self._sgd(parameters, gradients, first)
            else:
                torch._foreach_add_(steps, 1.0)
                fused = torch._fused_adamw_ if self.kind == "adamw" else torch._fused_adam_
                fused(
                    parameters, gradients, first, [self._second[i] for i in moved], [], steps,
                    lr=self.rate, beta1=BETA1, beta2=BETA2, eps=EPSILON, amsgrad=False, maximize=False,
                    weight_decay=self.decay,
                )  # fmt: skip

    def _sgd(
        self, parameters: list[torch.Tensor], gradients: list[torch.Tensor], first: list[torch.Tensor]
    ) -> None:
        import torch

        # A momentum that starts at 0 makes the first step the plain gradient, as torch.optim's does.
        torch._fused_sgd_(
            parameters, gradients, first, lr=self.rate, momentum=SGD_MOMENTUM, dampening=0.0,
            weight_decay=self.decay, nesterov=False, maximize=False, is_first_step=False,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"kind": self.kind, "first": self._first, "second": self._second, "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Undo what happened since :meth:`state`.

        Raises:
            CheckpointError: The state is of another optimizer or another network.
        """
        for name, mine in (("first", self._first), ("second", self._second), ("steps", self._steps)):
            saved = state[name]
            if state["kind"] != self.kind or [t.shape for t in saved] != [t.shape for t in mine]:
                raise CheckpointError("a checkpoint's optimizer belongs to another network")
            for value, old in zip(mine, saved, strict=True):
                value.copy_(old)
