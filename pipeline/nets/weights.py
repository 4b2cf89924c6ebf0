"""Log-variances that a network learns for the weights of its losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.settings.losses import TERMS


def learn_loss_weights(net: nn.Module) -> None:
    """Give a network one log-variance per loss term (Kendall et al. 2018, section 3).

    They are parameters of the network, so the optimizer and the checkpoint hold them; every
    forward pass returns them as ``log_variances`` (B, T), one equal row per patient, so that
    parts of a batch can be joined like any other output.
    """
    net.register_parameter("log_variances", nn.Parameter(torch.zeros(len(TERMS))))

    def add_output(module: nn.Module, inputs: Any, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        first = next(iter(outputs.values()))
        values = module.get_parameter("log_variances")
        return {**outputs, "log_variances": values.expand(first.shape[0], -1)}

    net.register_forward_hook(add_output)
