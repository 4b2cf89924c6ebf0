"""Loss scaling for float16, which has too few exponents for small gradients (Micikevicius et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Tensors

START = 2.0**16
GROWTH, BACKOFF = 2.0, 0.5
GROWTH_INTERVAL = 2000
"""Steps without overflow after which the scale is doubled; all four are torch.amp.GradScaler's defaults."""


class LossScale:
    """The factor of the loss, halved where gradients overflow and doubled where they long have not.

    Everything is decided on the device, so that a step is a fixed sequence of kernels: it waits for
    nothing and can be a CUDA graph.

    Args:
        device: The device of the loss and the gradients.

    Attributes:
        found_inf: 1 where the last gradients held a number that is not finite, else 0; float32 scalar.
            Such a step leaves weights and moments as they are.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        self._scale = torch.full((), START, dtype=torch.float32, device=device)
        self._without_overflow = torch.zeros((), dtype=torch.int32, device=device)
        self._skipped = torch.zeros((), dtype=torch.float32, device=device)
        self.found_inf = torch.zeros((), dtype=torch.float32, device=device)

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss whose gradients :meth:`unscale` divides again."""
        return loss * self._scale

    def unscale(self, gradients: list[torch.Tensor]) -> None:
        """Divide gradients by the scale in place, look for overflow, and choose the scale of the next step."""
        import torch

        self.found_inf.zero_()
        inverse = self._scale.reciprocal()
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self.found_inf, inverse)
        self._skipped += self.found_inf
        torch._amp_update_scale_(
            self._scale, self._without_overflow, self.found_inf, GROWTH, BACKOFF, GROWTH_INTERVAL
        )

    def skipped(self) -> int:
        """Number of steps that overflow has skipped, of the whole run; waits for the device."""
        return int(self._skipped.item())

    def state(self) -> Tensors:
        """The scale and its counters, for checkpoints."""
        return {"scale": self._scale, "without_overflow": self._without_overflow, "skipped": self._skipped}

    def restore(self, state: Tensors) -> None:
        """Go back to what :meth:`state` returned.

        Raises:
            CheckpointError: The state is of a run without loss scaling.
        """
        for name, tensor in self.state().items():
            if name not in state:
                raise CheckpointError("a checkpoint of a float16 run lacks its loss scale", expected=name)
            tensor.copy_(state[name])
