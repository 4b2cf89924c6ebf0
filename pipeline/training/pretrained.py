"""Starting from another model's weights: training in stages."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import CheckpointError
from pipeline.training.checkpoint import unpack

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def start_from(net: torch.nn.Module, checkpoint: Path) -> list[str]:
    """Copy every weight that has the same name and shape in another model's checkpoint.

    Layers that the other model lacks, or has in another shape (a new head), keep their
    fresh initialisation.

    Args:
        net: Freshly initialised; changed in place.
        checkpoint: `checkpoint.pt` of a trained fold.

    Returns:
        Names of the weights that were not found there.

    Raises:
        CheckpointError: Nothing fits, or the file cannot be read.
    """
    theirs = unpack(checkpoint)["net"]
    ours = net.state_dict()
    taken = {k: theirs[k] for k, value in ours.items() if k in theirs and theirs[k].shape == value.shape}
    if not any(value.is_floating_point() and value.ndim > 1 for value in taken.values()):
        raise CheckpointError(
            "no layer of the network to start from fits",
            where=str(checkpoint),
            action="set training.pretrained_from to a model that shares parts with this one",
        )
    net.load_state_dict(taken, strict=False)
    left = sorted(set(ours) - set(taken))
    log.info("started from %s: %d of %d tensors", checkpoint, len(taken), len(ours))
    return left
