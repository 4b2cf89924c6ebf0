"""What makes training on a CPU fast: :func:`speed_up` for a network, and kept memory for the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def speed_up(network: torch.nn.Module, *, bf16: bool, channels_last: bool, compiled: bool) -> None:
    """Replace what is slow or wrong on a CPU by computations that give the same function.

    Parameters, buffers and their names stay as they are, so that checkpoints do not depend on it.

    Args:
        network: Changed in place: forward methods of some of its layers are replaced.
        bf16: The network runs under bf16 autocast: convolutions that oneDNN gets wrong run in
            float32, weight gradients of few channels are taken from pairs of voxels, and dropout
            takes four decisions from one random number.
        channels_last: Images lie in channels-last order: batch normalisation runs on rows of voxels.
        compiled: The network is going to be compiled. It then keeps PyTorch's own dropout and batch
            normalisation, which the compiler fuses.
    """
    from pipeline.training.cpu import conv3d_bf16, dropout, norm

    if bf16:
        conv3d_bf16.choose_by_input_size(network)
    if bf16 and not compiled:
        dropout.draw_four_at_a_time(network)
    if channels_last and not compiled:
        norm.normalise_rows(network)
