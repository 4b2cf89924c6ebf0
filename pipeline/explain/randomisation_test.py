"""Whether a saliency map depends on what a network learned: the test with randomised weights.

Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018), section 3: a map that stays as
it is when the weights are replaced by random ones is an edge detector, not an explanation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.training.batches import Batch

Maps = dict[str, "torch.Tensor"]
Method = Callable[["torch.nn.Module", "Batch"], Maps]
"""Network, patients → signed maps (B, …) by name (of a level, or `occlusion`)."""
Order = Literal["cascade", "independent"]
Verdict = Literal["sensitive", "insensitive", "undetermined"]


@dataclass(frozen=True)
class NetworkPair:
    """A trained network and the same network as initialised, both in evaluation mode."""

    trained: torch.nn.Module
    untrained: torch.nn.Module


@dataclass(frozen=True)
class Step:
    """A step of the test.

    Attributes:
        order: `cascade`: this layer group and all above it are random; `independent`: it alone.
        number: From 1; the group nearest to the output comes first.
        layers: Names of the group's layers.
    """

    order: Order
    number: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class MapCorrelation:
    """Correlation of the maps of trained and randomised weights.

    Attributes:
        step: Which layers are random.
        name: Name of the map.
        rho: Mean over patients of Spearman's ρ over voxels.
        rho_absolute: Mean of |ρ|: a map with its sign changed shows the same structure.
        patients: Number of patients whose map varies under both weights.
    """

    step: Step
    name: str
    rho: float
    rho_absolute: float
    patients: int


def randomisation_test(
    method: Method,
    networks: NetworkPair,
    batch: Batch,
    steps: int,
    orders: Sequence[Order] = ("cascade", "independent"),
) -> list[MapCorrelation]:
    """Compare maps of the trained network with those of networks with more and more random layers.

    Args:
        method: The method that makes maps.
        networks: The trained network and the untrained one, whose weights replace the learned ones.
        batch: Patients.
        steps: Number of groups that the layers are divided into; in the last cascade step nothing
            learned is left.
        orders: Which of the two tests.
    """
    names = layers_from_output(networks.trained, batch)
    groups = [tuple(str(n) for n in part) for part in np.array_split(np.array(names), steps) if len(part)]
    trained_maps = method(networks.trained, batch)
    correlations: list[MapCorrelation] = []
    for order in orders:
        for number, group in enumerate(groups, start=1):
            layers = [n for part in groups[:number] for n in part] if order == "cascade" else list(group)
            maps = method(randomised(networks, layers), batch)
            step = Step(order, number, group)
            correlations += [
                _correlate(step, name, trained_maps[name], maps.get(name)) for name in trained_maps
            ]
    return correlations


def layers_from_output(net: torch.nn.Module, batch: Batch) -> list[str]:
    """Names of all layers that hold weights, the one nearest to the output first.

    The order is that of a forward pass. A layer whose weights its parent uses without calling it
    counts when the parent runs.
    """
    import torch

    executed: dict[str, None] = {}
    modules = dict(net.named_modules())

    def note(name: str) -> None:
        prefix = f"{name}." if name else ""
        for inside in modules:
            if (inside == name or inside.startswith(prefix)) and _has_own_weights(modules[inside]):
                executed.setdefault(inside)

    hooks = [m.register_forward_hook(lambda *_, name=n: note(name)) for n, m in modules.items()]
    try:
        with torch.inference_mode():
            net(batch.image, batch.clinical, batch.targets["mask"])
    finally:
        for hook in hooks:
            hook.remove()
    return list(executed)[::-1]


def _has_own_weights(module: torch.nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def randomised(networks: NetworkPair, layers: Sequence[str]) -> torch.nn.Module:
    """A copy of the trained network with some layers of the untrained one, batch statistics included."""
    import torch

    mixed = copy.deepcopy(networks.trained)
    trained = dict(mixed.named_modules())
    untrained = dict(networks.untrained.named_modules())
    with torch.no_grad():
        for name in layers:
            source, target = untrained[name], trained[name]
            values = dict(source.named_parameters(recurse=False)) | dict(source.named_buffers(recurse=False))
            for key, tensor in (
                *target.named_parameters(recurse=False),
                *target.named_buffers(recurse=False),
            ):
                tensor.copy_(values[key])
    return mixed


def _correlate(step: Step, name: str, trained: torch.Tensor, random: torch.Tensor | None) -> MapCorrelation:
    values = np.full(len(trained), np.nan)
    if random is not None:
        for row, (a, b) in enumerate(zip(trained, random, strict=True)):
            values[row] = rank_correlation(a.detach().cpu().numpy(), b.detach().cpu().numpy())
    known = values[np.isfinite(values)]
    mean, absolute = (float(v.mean()) if len(v) else float("nan") for v in (known, np.abs(known)))
    return MapCorrelation(step, name, mean, absolute, len(known))


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Spearman's ρ of two maps over their voxels, equal values sharing their mean rank; NaN for a constant."""
    from scipy.stats import rankdata

    a, b = (rankdata(values.ravel()).astype(np.float64) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")


def sanity_table(correlations: Sequence[MapCorrelation]) -> pd.DataFrame:
    """Rows order, step, map, rho, rho_absolute, patients, layers: means over patients."""
    import pandas as pd

    rows = pd.DataFrame(
        [
            {
                "order": c.step.order,
                "step": c.step.number,
                "layers": " ".join(c.step.layers),
                "map": c.name,
                "rho": c.rho,
                "rho_absolute": c.rho_absolute,
                "patients": c.patients,
            }
            for c in correlations
        ]
    )
    groups = rows.groupby(["order", "step", "map"], sort=False)
    table = groups[["rho", "rho_absolute"]].mean()
    table["patients"] = groups["patients"].sum()
    table["layers"] = groups["layers"].first()
    return table.reset_index()


def verdicts(table: pd.DataFrame, limit: float) -> dict[str, Verdict]:
    """Map → verdict, by the last cascade step of each map: a network without anything learned.

    Args:
        table: Table of :func:`sanity_table`.
        limit: |ρ| above which a map is insensitive to what the network learned.
    """
    cascade = table[table["order"] == "cascade"]
    last = cascade[cascade["step"] == cascade.groupby("map")["step"].transform("max")]
    return {str(row.map): _verdict(row.rho_absolute, limit) for row in last.itertuples(index=False)}


def _verdict(rho_absolute: float, limit: float) -> Verdict:
    if not np.isfinite(rho_absolute):
        return "undetermined"
    return "insensitive" if rho_absolute > limit else "sensitive"
