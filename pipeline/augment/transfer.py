"""Small tensors on their way to an accelerator, without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the processor on a device; itself where it is there already.

    From pageable memory a copy waits until the accelerator has done everything that was asked of
    it before, and meanwhile nobody prepares the next step. From pinned memory it is one more item of
    the queue; PyTorch keeps that memory until it has been read.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
