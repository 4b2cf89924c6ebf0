"""Whether a saliency map depends on what a network learned: randomised weights.

Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018), section 3: a map that stays as
it is when the weights are replaced by random ones is an edge detector, not an explanation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch

Maps = dict[str, "torch.Tensor"]
Method = Callable[["torch.nn.Module", "Batch"], Maps]
"""Network, patients → signed maps (B, …) by name (a scale's, or `occlusion`)."""
Order = Literal["cascade", "independent"]


@dataclass(frozen=True)
class MapCorrelation:
    """How like the maps of trained and randomised weights are.

    Attributes:
        order: `cascade`: this layer group and all above it are random; `independent`: it alone.
        step: From 1, the group nearest the output first.
        layers: Names of the group's layers.
        name: Of the map.
        rho: Mean over patients of Spearman's ρ over voxels.
        rho_absolute: Mean of |ρ|: a map turned upside down shows the same structure.
        patients: How many have a map with different values under both weights.
    """

    order: Order
    step: int
    layers: tuple[str, ...]
    name: str
    rho: float
    rho_absolute: float
    patients: int


def layers_downwards(net: torch.nn.Module, batch: Batch) -> list[str]:
    """Names of all layers that hold weights, the one nearest the output first.

    The order is that of a forward pass. A layer whose weights its parent uses without calling
    it counts when the parent runs.
    """
    import torch

    found: dict[str, None] = {}
    modules = dict(net.named_modules())

    def ran(name: str) -> None:
        for below in modules:
            if (below == name or below.startswith(f"{name}." if name else "")) and _own(modules[below]):
                found.setdefault(below)

    hooks = [m.register_forward_hook(lambda *_, name=n: ran(name)) for n, m in modules.items()]
    try:
        with torch.inference_mode():
            net(batch.image, batch.clinical, batch.targets["mask"])
    finally:
        for hook in hooks:
            hook.remove()
    return list(found)[::-1]


def _own(module: torch.nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def randomised(net: torch.nn.Module, fresh: torch.nn.Module, layers: Sequence[str]) -> torch.nn.Module:
    """A copy of a network with some layers as freshly initialised, batch statistics included."""
    import torch

    mixed = copy.deepcopy(net)
    theirs = dict(fresh.named_modules())
    ours = dict(mixed.named_modules())
    with torch.no_grad():
        for name in layers:
            source = theirs[name]
            for own, other in (
                (ours[name].named_parameters(recurse=False), source.named_parameters(recurse=False)),
                (ours[name].named_buffers(recurse=False), source.named_buffers(recurse=False)),
            ):
                values = dict(other)
                for key, tensor in own:
                    tensor.copy_(values[key])
    return mixed


def check(
    method: Method,
    nets: tuple[torch.nn.Module, torch.nn.Module],
    batch: Batch,
    steps: int,
    orders: Sequence[Order] = ("cascade", "independent"),
) -> list[MapCorrelation]:
    """Maps of the trained network against those of networks with ever more random layers.

    Args:
        method: What is checked.
        nets: Trained and freshly initialised, in evaluation mode.
        batch: Patients.
        steps: Groups that the layers are divided into; the last cascade step is a network
            without anything learned.
        orders: Which of the two tests.
    """
    trained, fresh = nets
    names = layers_downwards(trained, batch)
    groups = [tuple(str(n) for n in part) for part in np.array_split(np.array(names), steps) if len(part)]
    plain = method(trained, batch)
    found: list[MapCorrelation] = []
    for order in orders:
        for step, group in enumerate(groups, start=1):
            layers = [n for part in groups[:step] for n in part] if order == "cascade" else list(group)
            maps = method(randomised(trained, fresh, layers), batch)
            found += [_likeness((order, step, group), name, plain[name], maps.get(name)) for name in plain]
    return found


def _likeness(
    where: tuple[Order, int, tuple[str, ...]], name: str, first: torch.Tensor, second: torch.Tensor | None
) -> MapCorrelation:
    order, step, group = where
    values = np.full(len(first), np.nan)
    if second is not None:
        for row, (a, b) in enumerate(zip(first, second, strict=True)):
            values[row] = rank_correlation(a.detach().cpu().numpy(), b.detach().cpu().numpy())
    known = values[np.isfinite(values)]
    mean, absolute = (float(v.mean()) if len(v) else float("nan") for v in (known, np.abs(known)))
    return MapCorrelation(order, step, group, name, mean, absolute, len(known))


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Spearman's ρ of two maps over their voxels, equals sharing their mean rank; NaN for a constant."""
    from scipy.stats import rankdata

    a, b = (rankdata(values.ravel()).astype(np.float64) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def verdicts(found: Sequence[MapCorrelation], limit: float) -> Mapping[str, str]:
    """Map → `sensitive`, `insensitive` or `undetermined`, by the network without anything learned.

    Args:
        found: Of :func:`check`.
        limit: |ρ| above which a map is insensitive to what the network learned.
    """
    cascade = [row for row in found if row.order == "cascade"]
    last = max((row.step for row in cascade), default=0)
    told = {}
    for row in cascade:
        if row.step == last:
            known = np.isfinite(row.rho_absolute)
            told[row.name] = (
                "undetermined" if not known else "insensitive" if row.rho_absolute > limit else "sensitive"
            )
    return told
