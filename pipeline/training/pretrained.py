"""Trained weights from a fold's checkpoint: the network they belong to, or the start of another one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError
from pipeline.settings.network import Network
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder
from pipeline.tables.manifest import FILE as STATUS_FILE
from pipeline.tables.status import read_whole
from pipeline.training.checkpoint import unpack

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in evaluation mode on the CPU, with what prediction needs.

    Attributes:
        net: The network with its trained weights.
        network: Its settings.
        training: The settings it was trained with.
        encoder: Encoder of its clinical columns, fitted on its training patients.
        about: The whole description in the checkpoint.
    """

    net: torch.nn.Module
    network: Network
    training: TrainingSettings
    encoder: ClinicalEncoder
    about: Mapping[str, Any]


def load_trained_network(fold: Path) -> TrainedNetwork:
    """The network of a fold whose training is completed.

    Args:
        fold: Folder of the fold, with `checkpoint.pt`.

    Raises:
        DamageError: A file of the folder is missing, cut or changed.
        CheckpointError: The weights do not fit the network they name.
    """
    read_whole(fold)
    content = unpack(fold / CHECKPOINT)
    return rebuild_network(json.loads(content["about"]), content["net"], str(fold / CHECKPOINT))


def rebuild_network(
    about: Mapping[str, Any], weights: Mapping[str, torch.Tensor], where: str
) -> TrainedNetwork:
    """The network made of a checkpoint's description and its weights.

    Args:
        about: Description of the network in `checkpoint.pt`.
        weights: Tensors by name: exactly those that the network has.
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
    return TrainedNetwork(net.eval(), network, training, encoder, about)


def weights_file(start: str | Sequence[str]) -> Path | None:
    """The file of initial weights of a fold's folder, or that file itself; None where nothing is given.

    Args:
        start: Input of the rule: a path, or an empty list.
    """
    if not isinstance(start, str):
        return None
    path = Path(start)
    return path / CHECKPOINT if path.is_dir() else path


def start_from_pretrained(net: torch.nn.Module, checkpoint: Path) -> list[str]:
    """Copy every weight that has the same name and shape in another model's checkpoint.

    Layers that the other model lacks, or has in another shape (a new head), keep their random
    initialisation.

    Args:
        net: A newly initialised network; changed in place.
        checkpoint: `checkpoint.pt` of a trained fold, whose folder is compared with its manifest, or a
            copy of such a file that lies alone.

    Returns:
        Names of the weights that the checkpoint lacks.

    Raises:
        DamageError: A file of the fold's folder is missing, cut or changed.
        CheckpointError: No layer fits.
    """
    if (checkpoint.parent / STATUS_FILE).is_file():
        read_whole(checkpoint.parent)
    pretrained = unpack(checkpoint)["net"]
    initial = net.state_dict()
    fitting = {
        name: pretrained[name]
        for name, value in initial.items()
        if name in pretrained and pretrained[name].shape == value.shape
    }
    if not any(value.is_floating_point() and value.ndim > 1 for value in fitting.values()):
        raise CheckpointError(
            "no layer of the network to start from fits",
            where=str(checkpoint),
            action="set training.pretrained_from to a model that shares parts with this one",
        )
    net.load_state_dict(fitting, strict=False)
    log.info("started from %s: %d of %d tensors", checkpoint, len(fitting), len(initial))
    return sorted(set(initial) - set(fitting))
