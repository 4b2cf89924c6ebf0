"""Whether `torch.compile` pays: decided once by a short trial, for all folds of a network."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tables.whole import write_bytes
from pipeline.training.checkpoint import random_states, restore_random_states

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors
    from pipeline.training.device import DeviceConfig

log = logging.getLogger(__name__)
WARM_UP, TIMED = 3, 6
WORTHWHILE = 0.95
"""The compiled network must take less than this share of the plain network's time."""
CLOSE = 0.05
"""Its first outputs must be within this share of the plain ones: several times bf16's rounding,
far below the effect of a wrong layer or another dropout mask."""
OPTIONS = {"fallback_random": True}
"""Dropout then draws the plain network's random numbers. The compiler's own are as good, but a compiled
run could then not be checked against a plain one."""
NetworkCall = Callable[..., dict[str, "torch.Tensor"]]
"""A network, plain or compiled, called as ``call(image, clinical, mask)``."""


def maybe_compile(
    net: torch.nn.Module, setting: str, device_config: DeviceConfig, batch: Batch, decisions: Path
) -> NetworkCall:
    """The network, or the network compiled.

    `auto` on an accelerator tries both on copies of the network, before the run and without
    changing its random state. Its decision and what it cost are written down for the kind of accelerator
    and version of PyTorch, and hold for every fold and every resumption; folds that start at the
    same time wait for one trial. On a CPU `auto` never compiles: there a run promises equal bytes,
    which must not depend on timing.

    Args:
        net: The network on its device.
        setting: `auto`, `never` or `always`.
        device_config: Device, precision and memory order.
        batch: A batch like those of training.
        decisions: JSON file of the decisions, shared by the folds of a network.
    """
    if setting == "never" or (setting == "auto" and device_config.device.type == "cpu"):
        return net
    if setting == "always":
        return compiled(net)
    about = device_config.describe()
    key = f"{about['name']}, {about['precision']}, torch {about['torch']}, {_what(net, batch)}"
    with _lock(decisions.with_suffix(".lock")):
        known = json.loads(decisions.read_text(encoding="utf-8")) if decisions.exists() else {}
        if key not in known:
            before = random_states(device_config.device)
            known[key] = trial(net, device_config, batch)
            restore_random_states(before, device_config.device)
            # A trial that failed, as where memory was short, decides for this run alone.
            if "error" not in known[key]:
                write_bytes(decisions, json.dumps(known, indent=1).encode())
    log.info("compile: %s", known[key])
    return compiled(net) if known[key]["compile"] else net


def _what(net: torch.nn.Module, batch: Batch) -> str:
    """What a decision was made for: the network's layers and weights' shapes, and those of the batch."""
    import torch

    shapes = [f"{name} {tuple(value.shape)}" for name, value in net.state_dict().items()]
    strict = torch.are_deterministic_algorithms_enabled()
    text = "\n".join([str(net), *shapes, str(tuple(batch.image.shape)), f"deterministic {strict}"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Wait for the other folds' trial; the operating system releases the lock of a process that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def compiled(net: torch.nn.Module) -> NetworkCall:
    """The network compiled, with the plain network's dropout masks."""
    import torch

    return torch.compile(net, options=OPTIONS)  # type: ignore[arg-type, no-any-return]


def trial(net: torch.nn.Module, device_config: DeviceConfig, batch: Batch) -> dict[str, Any]:
    """Times of a step plain and compiled, their difference, the decision, and the seconds all that took."""
    begun = time.perf_counter()
    plain_copy, compiled_copy = copy.deepcopy(net), copy.deepcopy(net)
    before = random_states(device_config.device)
    plain = time_steps(plain_copy, plain_copy, device_config, batch)
    restore_random_states(before, device_config.device)
    plain_ms = round(1000 * plain.seconds, 2)
    try:
        fast = time_steps(compiled(compiled_copy), compiled_copy, device_config, batch)
    except Exception as error:  # the compiler raises many kinds of errors; the plain network always works
        log.warning("compile: not possible here (%s)", type(error).__name__)
        failed = {"compile": False, "plain_ms": plain_ms, "error": type(error).__name__}
        return {**failed, "trial_seconds": round(time.perf_counter() - begun, 1)}
    apart = difference(plain.outputs, fast.outputs)
    return {
        "compile": fast.seconds < WORTHWHILE * plain.seconds and apart < CLOSE,
        "plain_ms": plain_ms,
        "compiled_ms": round(1000 * fast.seconds, 2),
        "difference": round(apart, 6),
        "trial_seconds": round(time.perf_counter() - begun, 1),
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
