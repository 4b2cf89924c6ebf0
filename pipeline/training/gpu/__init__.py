"""What makes training on an accelerator fast: :func:`speed_up` replaces layers by kernels of the same function.

The kernels are written in Triton, which PyTorch brings along on Linux with CUDA and which needs a C
compiler. Where it cannot run, PyTorch's own operators do, and the log says why.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def speed_up(network: torch.nn.Module) -> bool:
    """Let layers of a network run as kernels in bf16 or float16; returns whether they can.

    Parameters, buffers and their names stay as they are, so that checkpoints do not depend on it.

    Args:
        network: On an accelerator. Changed in place: forward methods of some of its layers are replaced.
    """
    if not _can_run(next(network.parameters()).device):
        return False
    from pipeline.training.gpu import layers

    layers.replace(network)
    return True


@functools.lru_cache
def _can_run(device: torch.device) -> bool:
    """Whether Triton is there and can compile and run a kernel on this device."""
    import torch

    try:
        from pipeline.training.gpu.norm import normalise_rectify_add

        with torch.no_grad():
            image = torch.zeros(1, 8, 1, 1, 2, device=device, dtype=torch.float16)
            normalise_rectify_add(image, torch.nn.BatchNorm3d(8, device=device))
    except Exception as error:  # whatever Triton lacks: itself, a compiler, a new enough card or driver
        reason = (str(error).splitlines() or [""])[0][:200]
        log.warning(
            "the kernels of pipeline/training/gpu cannot run here (%s: %s)", type(error).__name__, reason
        )
        return False
    return True
