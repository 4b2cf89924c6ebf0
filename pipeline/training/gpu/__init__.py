"""What makes training on an accelerator fast: :func:`speed_up` replaces layers by kernels of the same function.

The kernels are written in Triton, which PyTorch brings along on Linux with CUDA. Where Triton is
not there, PyTorch's own operators run.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def speed_up(network: torch.nn.Module) -> bool:
    """Let layers of a network run as kernels in bf16 or float16; returns whether they can.

    Parameters, buffers and their names stay as they are, so that checkpoints do not depend on it.

    Args:
        network: Changed in place: forward methods of some of its layers are replaced.
    """
    if importlib.util.find_spec("triton") is None:
        return False
    from pipeline.training.gpu import layers

    layers.replace(network)
    return True
