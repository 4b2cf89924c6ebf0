"""Whether `torch.compile` pays: decided once by a short trial, for the whole run."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import TrainingError
from pipeline.tables.whole import write_bytes
from pipeline.training.checkpoint import random_states, restore_random_states

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors
    from pipeline.training.device import DeviceConfig

log = logging.getLogger(__name__)
DECISION = "compile.json"
WARM_UP, TIMED = 3, 6
WORTHWHILE = 0.95
"""The compiled network must take less than this share of the plain network's time."""
CLOSE = 0.05
"""Its first outputs must be within this share of the plain ones: several times bf16's rounding,
far below the effect of a wrong layer or another dropout mask."""
OPTIONS = {"fallback_random": True}
"""Dropout then draws the plain network's random numbers. The compiler's own are as good, but a compiled
run could then not be checked against a plain one."""
GRAPH_OPTIONS = {**OPTIONS, "triton.cudagraphs": True}
NetworkCall = Callable[..., dict[str, "torch.Tensor"]]
"""A network, plain or compiled, called as ``call(image, clinical, mask)``."""


def maybe_compile(
    net: torch.nn.Module, setting: str, device_config: DeviceConfig, batch: Batch, work: Path
) -> NetworkCall:
    """The network, or the network compiled.

    `auto` on an accelerator tries both on copies of the network, before the run and without
    changing its random state, and writes the decision to `checkpoints/compile.json`, so that a resumed run
    does the same as before. On a CPU `auto` never compiles: there a run promises equal bytes, which
    must not depend on timing.

    Args:
        net: The network on its device.
        setting: `auto`, `never`, `always` or `graphs`.
        device_config: Device, precision and memory order.
        batch: A batch like those of training.
        work: Folder of the run.

    Raises:
        TrainingError: CUDA graphs without an accelerator.
    """
    if setting == "never" or (setting == "auto" and device_config.device.type == "cpu"):
        return net
    if setting == "always":
        return compiled(net)
    if setting == "graphs":
        return with_cuda_graphs(net, device_config)
    path = work / DECISION
    if not path.exists():
        before = random_states(device_config.device)
        decision = trial(net, device_config, batch)
        restore_random_states(before, device_config.device)
        write_bytes(path, json.dumps(decision).encode())
    decision = json.loads(path.read_text(encoding="utf-8"))
    log.info("compile: %s", decision)
    return compiled(net) if decision["compile"] else net


def compiled(net: torch.nn.Module) -> NetworkCall:
    """The network compiled, with the plain network's dropout masks."""
    import torch

    return torch.compile(net, options=OPTIONS)  # type: ignore[arg-type, no-any-return]


def with_cuda_graphs(net: torch.nn.Module, device_config: DeviceConfig) -> NetworkCall:
    """The network compiled, its kernels replayed as CUDA graphs.

    Raises:
        TrainingError: There is no accelerator.
    """
    import torch

    if device_config.device.type != "cuda":
        raise TrainingError(
            "CUDA graphs need an accelerator",
            where="training.compile: graphs",
            got=str(device_config.device),
            action="set training.compile: auto",
        )
    graphed = torch.compile(net, options=GRAPH_OPTIONS)  # type: ignore[arg-type]

    def call(*arguments: Any) -> dict[str, torch.Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        # The next replay overwrites a graph's outputs, so that they must be copied.
        return {name: value.clone() for name, value in graphed(*arguments).items()}

    return call


def trial(net: torch.nn.Module, device_config: DeviceConfig, batch: Batch) -> dict[str, Any]:
    """Content of `compile.json`: times of a step plain and compiled, their difference, and the decision."""
    plain_copy, compiled_copy = copy.deepcopy(net), copy.deepcopy(net)
    before = random_states(device_config.device)
    plain = time_steps(plain_copy, plain_copy, device_config, batch)
    restore_random_states(before, device_config.device)
    plain_ms = round(1000 * plain.seconds, 2)
    try:
        fast = time_steps(compiled(compiled_copy), compiled_copy, device_config, batch)
    except Exception as error:  # the compiler raises many kinds of errors; the plain network always works
        log.warning("compile: not possible here (%s)", type(error).__name__)
        return {"compile": False, "plain_ms": plain_ms, "error": type(error).__name__}
    apart = difference(plain.outputs, fast.outputs)
    return {
        "compile": fast.seconds < WORTHWHILE * plain.seconds and apart < CLOSE,
        "plain_ms": plain_ms,
        "compiled_ms": round(1000 * fast.seconds, 2),
        "difference": round(apart, 6),
    }


@dataclass(frozen=True)
class TimedSteps:
    """What some forward and backward passes took and gave.

    Attributes:
        seconds: Median seconds of a pass after warming up.
        outputs: Outputs and buffers by name after the first pass.
    """

    seconds: float
    outputs: Tensors


def time_steps(
    call: NetworkCall, net: torch.nn.Module, device_config: DeviceConfig, batch: Batch
) -> TimedSteps:
    """Run forward and backward passes and measure them.

    Args:
        call: What runs the network.
        net: The network, whose gradients are removed after each pass.
        device_config: Device, precision and memory order.
        batch: The patients.
    """
    import torch

    times: list[float] = []
    first: dict[str, torch.Tensor] = {}
    for number in range(WARM_UP + TIMED):
        begun = time.perf_counter()
        with device_config.autocast():
            outputs = call(device_config.to_memory_format(batch.image), batch.clinical, batch.targets["mask"])
        torch.stack([value.float().mean() for value in outputs.values()]).sum().backward()
        net.zero_grad(set_to_none=True)
        if device_config.device.type == "cuda":
            torch.cuda.synchronize(device_config.device)
        times.append(time.perf_counter() - begun)
        if not number:
            first = {name: value.detach().float().clone() for name, value in outputs.items()}
            first.update({name: value.float().clone() for name, value in net.named_buffers()})
    return TimedSteps(sorted(times[WARM_UP:])[TIMED // 2], first)


def difference(expected: Tensors, actual: Tensors) -> float:
    """Largest relative distance (Frobenius norm) of outputs and buffers by name; infinite if not finite."""
    import torch

    parts = [
        (actual[name] - value).norm() / value.norm().clamp(min=torch.finfo(torch.float32).tiny)
        for name, value in expected.items()
    ]
    largest = float(torch.stack(parts).max())
    return largest if largest < float("inf") else float("inf")
