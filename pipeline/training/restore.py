"""A trained network from what its checkpoint says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError
from pipeline.settings.network import Network
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder
from pipeline.training.checkpoint import unpack

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Restored:
    """A network in evaluation mode on the CPU, with what predicting needs.

    Attributes:
        net: The network with its trained weights.
        network: Its settings.
        training: Settings it was trained with.
        encoder: Of its clinical columns, learned from its training patients.
        about: All that the checkpoint says.
    """

    net: torch.nn.Module
    network: Network
    training: TrainingSettings
    encoder: ClinicalEncoder
    about: Mapping[str, Any]


def restore(fold: Path) -> Restored:
    """The network of a finished fold.

    Args:
        fold: Folder of the fold, with `checkpoint.pt`.

    Raises:
        CheckpointError: It cannot be read, or does not fit the network it names.
    """
    content = unpack(fold / CHECKPOINT)
    return rebuild(json.loads(content["about"]), content["net"], str(fold / CHECKPOINT))


def rebuild(about: Mapping[str, Any], weights: Mapping[str, torch.Tensor], where: str) -> Restored:
    """The network that a checkpoint's description and its weights make.

    Args:
        about: What `checkpoint.pt` says of its network.
        weights: Tensor by name; all that the network has, and no more.
        where: The file, for messages.

    Raises:
        CheckpointError: The weights are not those of the network.
    """
    from pipeline.nets.registry import build, network_settings

    network = network_settings(about["network"])
    encoder = ClinicalEncoder.from_state(about["clinical"])
    net = build(network, len(about["channels"]), len(encoder.names()))
    try:
        net.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise CheckpointError(
            "weights do not fit the network they are said to belong to",
            where=where,
            got="; ".join(str(error).split("\n\t")[1:4]) or str(error),
            action="make them again with this version of the software",
        ) from None
    training = TrainingSettings.model_validate(about["training"])
    return Restored(net.eval(), network, training, encoder, about)
