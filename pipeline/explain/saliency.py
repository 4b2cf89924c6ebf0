"""Where a network looks: Grad-CAM at every scale, and occlusion.

Maps are signed: positive where the image raises the target. Both work for any network that is
called as ``net(image, clinical, mask)``, in 2D and in 3D.
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

Target = Callable[["Tensors"], "torch.Tensor"]
"""Outputs → (B,) what is explained."""
SMALLEST_MAP = 8
"""A feature map of fewer voxels shows no place."""


@dataclass(frozen=True)
class MapLevel:
    """One place in a network where Grad-CAM looks.

    Attributes:
        name: Of the module whose output it is; a module that runs more than once is numbered.
        map: (B, *sides) signed class activation map at the scale's own size.
        reached: Whether the target depends on it at all; the map is 0 where not.
    """

    name: str
    map: torch.Tensor
    reached: bool


def target_of(name: str, outputs: set[str], losses: LossSettings) -> tuple[str, Target]:
    """The target and its name, `auto` resolved.

    Args:
        name: `auto`, `risk`, `label` or `mask`.
        outputs: Outputs of the network.
        losses: Intervals of a discrete-time network, names of labels.

    Raises:
        TrainingError: The network has no such output.
    """
    available = {
        "risk": bool(outputs & {"log_hazard", "interval_logits"}),
        "label": "labels" in outputs,
        "mask": "mask" in outputs,
    }
    chosen = next((k for k, there in available.items() if there), "") if name == "auto" else name
    if not available.get(chosen, False):
        raise TrainingError(
            "the network has no such output to explain",
            where="explain.target",
            expected=", ".join(k for k, there in available.items() if there) or "a network with outputs",
            got=name,
        )
    targets: dict[str, Target] = {
        "risk": lambda found: _risk(found, losses),
        "label": lambda found: _label(found["labels"], single_class=len(losses.labels) == 1),
        "mask": lambda found: found["mask"].flatten(1).mean(1),
    }
    return chosen, targets[chosen]


def _risk(outputs: dict[str, torch.Tensor], losses: LossSettings) -> torch.Tensor:
    risk = risk_of(outputs, losses)
    assert risk is not None  # only offered where the network has it
    return risk


def _label(logits: torch.Tensor, *, single_class: bool) -> torch.Tensor:
    """The first label's logit; of one label with several classes that of the predicted class."""
    if single_class and logits.shape[1] > 1:
        return logits.max(1).values
    return logits[:, 0]


def grad_cam(net: torch.nn.Module, batch: Batch, target: Target) -> list[MapLevel]:
    """Class activation maps of every scale of a network.

    M = Σₖ αₖ·Aₖ with αₖ the mean over voxels of ∂target/∂Aₖ (Selvaraju et al. 2017, equations
    1 and 2, before the ReLU, which :func:`rectified` adds). A scale is the last feature map of
    each stretch of the forward pass that keeps one size within one part of the network, so
    encoder and decoder levels are all there.

    Args:
        net: In evaluation mode.
        batch: Patients; their maps do not depend on one another.
        target: What is explained.
    """
    import torch

    image = batch.image.detach().requires_grad_()
    with _recorded(net, len(batch.ids)) as stretches, torch.enable_grad():
        value = target(net(image, batch.clinical, batch.targets["mask"])).sum()
    kept = [(name, maps) for name, maps in stretches if maps.requires_grad and _size(maps) >= SMALLEST_MAP]
    gradients = torch.autograd.grad(value, [maps for _, maps in kept], allow_unused=True)
    scales = []
    for (name, maps), gradient in zip(kept, gradients, strict=True):
        reached = gradient is not None
        weights = torch.zeros_like(maps) if gradient is None else gradient.detach()
        alpha = weights.flatten(2).mean(2).reshape(*maps.shape[:2], *[1] * (maps.dim() - 2))
        scales.append(MapLevel(name, (alpha * maps.detach()).sum(1), reached))
    return scales


def _size(maps: torch.Tensor) -> int:
    return maps[0, 0].numel()


@contextmanager
def _recorded(net: torch.nn.Module, patients: int) -> Iterator[list[tuple[str, torch.Tensor]]]:
    """(name, feature map) of each stretch of a forward pass made within the context."""
    import torch

    found: list[tuple[str, torch.Tensor]] = []
    keys: list[Any] = []
    calls: dict[str, int] = {}

    def note(name: str, output: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        if not isinstance(output, torch.Tensor) or output.dim() not in (4, 5):
            return
        if output.shape[0] != patients:
            return
        key = (tuple(output.shape[2:]), name.split(".")[0])
        called = name if calls[name] == 1 else f"{name}#{calls[name]}"
        if keys and keys[-1] == key:
            # A single channel at the end of a stretch is its output, no feature map.
            if output.shape[1] > 1 or found[-1][1].shape[1] == 1:
                found[-1] = (called, output)
        else:
            keys.append(key)
            found.append((called, output))

    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name, module in net.named_modules()
        if name
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def on_image(scale_map: torch.Tensor, shape: tuple[int, int, int], seen: torch.Tensor) -> torch.Tensor:
    """A scale's maps (B, *sides) at the image's size (B, Z, Y, X), linearly interpolated.

    A 2D map of a network that looks at one slice of a 3D image goes to that slice.

    Args:
        scale_map: Of :func:`grad_cam`.
        shape: (z, y, x) of the image.
        seen: (B,) the slice each patient's network looks at (:func:`seen_slices`).
    """
    import torch
    from torch.nn import functional

    maps = scale_map[:, None]
    if scale_map.dim() == 4:
        return functional.interpolate(maps, size=shape, mode="trilinear", align_corners=False)[:, 0]
    flat = functional.interpolate(maps, size=shape[1:], mode="bilinear", align_corners=False)[:, 0]
    whole = torch.zeros(len(flat), *shape, dtype=flat.dtype, device=flat.device)
    whole[torch.arange(len(flat)), seen] = flat
    return whole


def seen_slices(net: torch.nn.Module, batch: Batch, target: Target) -> torch.Tensor:
    """(B,) the slice with most of the target's gradient: of a 2D network the one it looks at."""
    import torch

    image = batch.image.detach().requires_grad_()
    with torch.enable_grad():
        value = target(net(image, batch.clinical, batch.targets["mask"])).sum()
    (gradient,) = torch.autograd.grad(value, [image])
    return gradient.abs().sum((1, 3, 4)).argmax(1)


def rectified(signed: torch.Tensor) -> torch.Tensor:
    """What Grad-CAM shows: the parts that raise the target (Selvaraju et al., equation 2)."""
    return signed.clamp(min=0)


def occlusion(net: torch.nn.Module, batch: Batch, target: Target, side: int, stride: int) -> torch.Tensor:
    """By how much the target falls when a cube is covered (Zeiler and Fergus 2014, section 4.2).

    A cube is covered with the patient's own mean of each channel. Each voxel gets the mean of
    target(image) − target(covered) over the cubes that hold it.

    Args:
        net: In evaluation mode.
        batch: Patients.
        target: What is explained.
        side: Of the cube in voxels; cut to the image where that is smaller.
        stride: Distance of neighbouring cubes; the last one ends with the image.

    Returns:
        (B, Z, Y, X) signed; positive where the image raises the target.
    """
    import torch

    sides = [min(side, n) for n in batch.image.shape[2:]]
    places = [_places(n, length, stride) for n, length in zip(batch.image.shape[2:], sides, strict=True)]
    mean = batch.image.flatten(2).mean(2)[:, :, None, None, None]
    total = torch.zeros_like(batch.image[:, 0])
    count = torch.zeros_like(total)
    with torch.inference_mode():
        plain = target(net(batch.image, batch.clinical, batch.targets["mask"]))
        for corner in itertools.product(*places):
            z, y, x = (slice(start, start + n) for start, n in zip(corner, sides, strict=True))
            covered = batch.image.clone()
            covered[:, :, z, y, x] = mean
            fallen = plain - target(net(covered, batch.clinical, batch.targets["mask"]))
            total[:, z, y, x] += fallen[:, None, None, None]
            count[:, z, y, x] += 1
    return total / count


def _places(length: int, side: int, stride: int) -> list[int]:
    """Starts of cubes along an axis; every voxel is in one of them."""
    stride = min(stride, side)
    return sorted({*range(0, length - side + 1, stride), length - side})
