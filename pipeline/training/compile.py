"""Whether `torch.compile` pays: decided once by a short trial, kept for the whole run."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import TrainingError
from pipeline.training.checkpoint import random_states, restore_random_states, write_atomically

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch
    from pipeline.training.device import DeviceConfig

log = logging.getLogger(__name__)
DECISION = "compile.json"
WARM_UP, TIMED = 3, 6
WORTHWHILE = 0.95
"""Compiled must take less than this share of the plain time."""
CLOSE = 0.05
"""And its first outputs be within this share of the plain ones: several times bf16's rounding,
far below what a wrong layer or another dropout mask makes."""
# Dropout then draws what the plain network would draw. The compiler's own numbers are as good, but
# a compiled run went another way than a plain one, and neither could be checked by the other.
OPTIONS = {"fallback_random": True}
GRAPHS = {**OPTIONS, "triton.cudagraphs": True}
Caller = Callable[..., dict[str, "torch.Tensor"]]


def maybe_compile(
    net: torch.nn.Module, setting: str, machine: DeviceConfig, batch: Batch, work: Path
) -> Caller:
    """The network, or the network compiled.

    `auto` on an accelerator tries both on copies of the network, before the run and without
    touching its random state, and leaves the decision in `work/compile.json`: a resumed run
    does what it did before. On a CPU `auto` never compiles, since there a run promises equal
    bytes and timing must not decide them.

    Args:
        net: On its device.
        setting: `auto`, `never`, `always` or `graphs`.
        machine: Device and precision.
        batch: What a step looks like.
        work: Folder of the run.

    Raises:
        TrainingError: CUDA graphs without an accelerator.
    """
    if setting == "never" or (setting == "auto" and machine.device.type == "cpu"):
        return net
    if setting == "always":
        return compiled(net)
    if setting == "graphs":
        return with_cuda_graphs(net, machine)
    path = work / DECISION
    if not path.exists():
        before = random_states(machine.device)
        decision = trial(net, machine, batch)
        restore_random_states(before, machine.device)
        write_atomically(path, json.dumps(decision).encode())
    decision = json.loads(path.read_text(encoding="utf-8"))
    log.info("compile: %s", decision)
    return compiled(net) if decision["compile"] else net


def compiled(net: torch.nn.Module) -> Caller:
    """The network compiled, with the plain network's dropout masks."""
    import torch

    return torch.compile(net, options=OPTIONS)  # type: ignore[arg-type, no-any-return]


def with_cuda_graphs(net: torch.nn.Module, machine: DeviceConfig) -> Caller:
    """The network compiled, its kernels replayed as CUDA graphs.

    Raises:
        TrainingError: There is no accelerator.
    """
    import torch

    if machine.device.type != "cuda":
        raise TrainingError(
            "CUDA graphs need an accelerator",
            where="training.compile: graphs",
            got=str(machine.device),
            action="set training.compile: auto",
        )
    inner = torch.compile(net, options=GRAPHS)  # type: ignore[arg-type]

    def call(*arguments: Any) -> dict[str, torch.Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        # The next replay overwrites a graph's outputs; what is kept of them must be a copy.
        return {name: value.clone() for name, value in inner(*arguments).items()}

    return call


def trial(net: torch.nn.Module, machine: DeviceConfig, batch: Batch) -> dict[str, Any]:
    """Times of a step plain and compiled, how far they differ, and which one to take."""
    one, other = copy.deepcopy(net), copy.deepcopy(net)
    before = random_states(machine.device)
    plain, expected = measured(one, one, machine, batch)
    restore_random_states(before, machine.device)
    try:
        fast, found = measured(compiled(other), other, machine, batch)
    except Exception as error:  # the compiler raises its own many kinds; plain always works
        log.warning("compile: not possible here (%s)", type(error).__name__)
        return {"compile": False, "plain_ms": round(1000 * plain, 2), "error": type(error).__name__}
    apart = difference(expected, found)
    return {
        "compile": fast < WORTHWHILE * plain and apart < CLOSE,
        "plain_ms": round(1000 * plain, 2),
        "compiled_ms": round(1000 * fast, 2),
        "difference": round(apart, 6),
    }


def measured(
    call: Caller, net: torch.nn.Module, machine: DeviceConfig, batch: Batch
) -> tuple[float, dict[str, torch.Tensor]]:
    """Median seconds of forward and backward after warming up, and the first outputs."""
    import torch

    times: list[float] = []
    first: dict[str, torch.Tensor] = {}
    for number in range(WARM_UP + TIMED):
        begun = time.perf_counter()
        with machine.autocast():
            outputs = call(machine.arrange(batch.image), batch.clinical, batch.targets["mask"])
        torch.stack([value.float().mean() for value in outputs.values()]).sum().backward()
        net.zero_grad(set_to_none=True)
        if machine.device.type == "cuda":
            torch.cuda.synchronize(machine.device)
        times.append(time.perf_counter() - begun)
        if not number:
            first = {name: value.detach().float().clone() for name, value in outputs.items()}
            first.update({name: value.float().clone() for name, value in net.named_buffers()})
    return sorted(times[WARM_UP:])[TIMED // 2], first


def difference(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> float:
    """Largest relative distance (Frobenius) of outputs and buffers by name; infinite if not finite."""
    import torch

    parts = [
        (found[name] - value).norm() / value.norm().clamp(min=torch.finfo(torch.float32).tiny)
        for name, value in expected.items()
    ]
    largest = float(torch.stack(parts).max())
    return largest if largest < float("inf") else float("inf")
