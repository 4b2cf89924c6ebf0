"""Which parts of an image an output depends on: Grad-CAM at every level of a network, and occlusion.

Maps are signed: positive where the image raises the target. Both methods work for any network that
is called as ``net(image, clinical, mask)``, in 2D and in 3D.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import TrainingError
from pipeline.settings.losses import LossSettings
from pipeline.training.predict import risk_of

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors

SMALLEST_MAP = 8
"""Fewest voxels of a feature map that can show a place."""


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes:
        name: `risk`, `label`, the label's own name, `mask`, or `mask_` and the name of a class.
        value: Outputs of the network → (B,) what is explained.
    """

    name: str
    value: Callable[[Tensors], torch.Tensor]


@dataclass(frozen=True)
class FeatureMaps:
    """Output of a module in a forward pass.

    Attributes:
        name: Name of the module; a module that runs more than once is numbered.
        maps: (B, K, *sides).
    """

    name: str
    maps: torch.Tensor


@dataclass(frozen=True)
class MapLevel:
    """Grad-CAM at one level of a network.

    Attributes:
        name: Name of the module whose output the level is; a module that runs more than once is
            numbered.
        map: (B, *sides) signed class activation map at the level's own size.
        reached: Whether the target depends on this level at all; where not, the map is 0.
    """

    name: str
    map: torch.Tensor
    reached: bool


def choose_target(name: str, outputs: set[str], losses: LossSettings) -> Target:
    """The target of this name; of `auto` the first that the network has.

    Args:
        name: `auto`, `risk`, `label`, `mask`, a label's name, that of a class with its number behind it, or
            `mask_` and the name of a class of the mask.
        outputs: Names of the network's outputs.
        losses: Loss settings, with the intervals of a discrete-time network and the names of labels and classes.

    Raises:
        TrainingError: The network has no such output.
    """
    available = {
        "risk": bool(outputs & {"log_hazard", "interval_logits"}),
        "label": "labels" in outputs,
        "mask": "mask" in outputs,
    }
    columns = label_logits(losses) if available["label"] else {}
    classes = [f"mask_{name}" for name in losses.mask_classes] if "class_masks" in outputs else []
    chosen = next((k for k, there in available.items() if there), "") if name == "auto" else name
    if chosen in columns:
        column = columns[chosen]
        return Target(chosen, lambda tensors: tensors["labels"][:, column])
    if chosen in classes:
        channel = classes.index(chosen)
        return Target(chosen, lambda tensors: tensors["class_masks"][:, channel].flatten(1).mean(1))
    if not available.get(chosen, False):
        offered = [*(k for k, there in available.items() if there), *columns, *classes]
        raise TrainingError(
            "the network has no such output to explain",
            where="explain.target",
            expected=", ".join(offered) or "a network with outputs",
            got=name,
        )
    values: dict[str, Callable[[Tensors], torch.Tensor]] = {
        "risk": lambda tensors: _risk(tensors, losses),
        "label": lambda tensors: _label(tensors["labels"], one_label=len(losses.labels) == 1),
        "mask": lambda tensors: tensors["mask"].flatten(1).mean(1),
    }
    return Target(chosen, values[chosen])


def label_logits(losses: LossSettings) -> dict[str, int]:
    """Names of a network's label logits, as its predictions call them, and their columns."""
    if losses.classes == 2:
        return {name: column for column, name in enumerate(losses.labels)}
    return {f"{name}_{number}": number for name in losses.labels for number in range(losses.classes)}


def _risk(outputs: Tensors, losses: LossSettings) -> torch.Tensor:
    risk = risk_of(outputs, losses)
    assert risk is not None  # only offered where the network has a risk
    return risk


def _label(logits: torch.Tensor, *, one_label: bool) -> torch.Tensor:
    """The first label's logit; of a single label with several classes that of the predicted class."""
    if one_label and logits.shape[1] > 1:
        return logits.max(1).values
    return logits[:, 0]


def grad_cam(net: torch.nn.Module, batch: Batch, target: Target) -> list[MapLevel]:
    """Class activation maps at every level of a network.

    M = Σₖ αₖ·Aₖ with αₖ the mean over voxels of ∂target/∂Aₖ (Selvaraju et al. 2017, equations
    1 and 2, before the ReLU, which :func:`rectified` adds). A level is the last feature map of
    each part of the forward pass that keeps one size within one part of the network, so that all
    encoder and decoder levels are included.

    Args:
        net: The network in evaluation mode.
        batch: Patients; their maps do not depend on one another.
        target: What is explained.
    """
    import torch

    image = batch.image.detach().requires_grad_()
    with _recorded(net, len(batch.ids)) as recorded, torch.enable_grad():
        value = target.value(net(image, batch.clinical, batch.targets["mask"])).sum()
    levels = [r for r in recorded if r.maps.requires_grad and r.maps[0, 0].numel() >= SMALLEST_MAP]
    gradients = torch.autograd.grad(value, [level.maps for level in levels], allow_unused=True)
    return [_activation_map(level, gradient) for level, gradient in zip(levels, gradients, strict=True)]


def _activation_map(level: FeatureMaps, gradient: torch.Tensor | None) -> MapLevel:
    import torch

    maps = level.maps.detach()
    weights = torch.zeros_like(maps) if gradient is None else gradient.detach()
    alpha = weights.flatten(2).mean(2).reshape(*maps.shape[:2], *[1] * (maps.dim() - 2))
    # One of several logits has a gradient of zeros where another one alone depends on the level.
    reached = gradient is not None and bool(gradient.any())
    return MapLevel(level.name, (alpha * maps).sum(1), reached)


@contextmanager
def _recorded(net: torch.nn.Module, patients: int) -> Iterator[list[FeatureMaps]]:
    """The last feature maps of each part of one size of a forward pass made within the context."""
    import torch

    recorded: list[FeatureMaps] = []
    keys: list[Any] = []
    calls: dict[str, int] = {}

    def note(name: str, output: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        if not isinstance(output, torch.Tensor) or output.dim() not in (4, 5):
            return
        if output.shape[0] != patients:
            return
        key = (tuple(output.shape[2:]), name.split(".")[0])
        maps = FeatureMaps(name if calls[name] == 1 else f"{name}#{calls[name]}", output)
        if keys and keys[-1] == key:
            # A single channel at the end of a part is its output, not a feature map.
            if output.shape[1] > 1 or recorded[-1].maps.shape[1] == 1:
                recorded[-1] = maps
        else:
            keys.append(key)
            recorded.append(maps)

    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name, module in net.named_modules()
        if name
    ]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def to_image_size(level_map: torch.Tensor, shape: tuple[int, int, int], slices: torch.Tensor) -> torch.Tensor:
    """A level's maps (B, *sides) at the image's size (B, Z, Y, X), linearly interpolated.

    A 2D map of a network that uses one slice of a 3D image is placed in that slice.

    Args:
        level_map: Map of :func:`grad_cam`.
        shape: (z, y, x) of the image.
        slices: (B,) the slice that the network uses of each patient (:func:`used_slices`).
    """
    import torch
    from torch.nn import functional

    maps = level_map[:, None]
    if level_map.dim() == 4:
        return functional.interpolate(maps, size=shape, mode="trilinear", align_corners=False)[:, 0]
    flat = functional.interpolate(maps, size=shape[1:], mode="bilinear", align_corners=False)[:, 0]
    whole = torch.zeros(len(flat), *shape, dtype=flat.dtype, device=flat.device)
    whole[torch.arange(len(flat)), slices] = flat
    return whole


def used_slices(net: torch.nn.Module, batch: Batch, target: Target) -> torch.Tensor:
    """(B,) the slice with the largest gradient of the target: for a 2D network the one that it uses."""
    import torch

    image = batch.image.detach().requires_grad_()
    with torch.enable_grad():
        value = target.value(net(image, batch.clinical, batch.targets["mask"])).sum()
    (gradient,) = torch.autograd.grad(value, [image])
    return gradient.abs().sum((1, 3, 4)).argmax(1)


def rectified(signed: torch.Tensor) -> torch.Tensor:
    """The part of Grad-CAM that raises the target (Selvaraju et al., equation 2)."""
    return signed.clamp(min=0)


def occlusion(net: torch.nn.Module, batch: Batch, target: Target, side: int, stride: int) -> torch.Tensor:
    """By how much the target falls when a cube is covered (Zeiler and Fergus 2014, section 4.2).

    A cube is covered with the patient's own mean of each channel. Each voxel gets the mean of
    target(image) − target(covered) over the cubes that contain it.

    Args:
        net: The network in evaluation mode.
        batch: Patients.
        target: What is explained.
        side: Side of the cube in voxels; cut to the image where that is smaller.
        stride: Distance of neighbouring cubes in voxels; the last cube ends with the image.

    Returns:
        (B, Z, Y, X) signed; positive where the image raises the target.
    """
    import torch

    sides = [min(side, n) for n in batch.image.shape[2:]]
    starts = [_cube_starts(n, length, stride) for n, length in zip(batch.image.shape[2:], sides, strict=True)]
    mean = batch.image.flatten(2).mean(2)[:, :, None, None, None]
    total = torch.zeros_like(batch.image[:, 0])
    count = torch.zeros_like(total)
    with torch.inference_mode():
        plain = target.value(net(batch.image, batch.clinical, batch.targets["mask"]))
        for corner in itertools.product(*starts):
            z, y, x = (slice(start, start + n) for start, n in zip(corner, sides, strict=True))
            covered = batch.image.clone()
            covered[:, :, z, y, x] = mean
            fallen = plain - target.value(net(covered, batch.clinical, batch.targets["mask"]))
            total[:, z, y, x] += fallen[:, None, None, None]
            count[:, z, y, x] += 1
    return total / count


def _cube_starts(length: int, side: int, stride: int) -> list[int]:
    """Starts of cubes along an axis, such that every voxel is in at least one."""
    stride = min(stride, side)
    return sorted({*range(0, length - side + 1, stride), length - side})
