"""Whether `torch.compile` pays: decided once by a short trial, kept for the whole run."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.training.checkpoint import random_states, restore_random_states, write_atomically

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch
    from pipeline.training.machine import Machine

log = logging.getLogger(__name__)
DECISION = "compile.json"
WARM_UP, TIMED = 3, 6
WORTHWHILE = 0.95
"""Compiled must take less than this share of the plain time."""
Caller = Callable[..., dict[str, "torch.Tensor"]]


def caller_of(net: torch.nn.Module, setting: str, machine: Machine, batch: Batch, work: Path) -> Caller:
    """The network, or the network compiled.

    `auto` on an accelerator tries both on copies of the network, before the run and without
    touching its random state, and leaves the decision in `work/compile.json`: a resumed run
    does what it did before. On a CPU `auto` never compiles, since there a run promises equal
    bytes and timing must not decide them.

    Args:
        net: On its device.
        setting: `auto`, `never` or `always`.
        machine: Device and precision.
        batch: What a step looks like.
        work: Folder of the run.
    """
    import torch

    if setting == "never" or (setting == "auto" and machine.device.type == "cpu"):
        return net
    if setting == "always":
        return torch.compile(net)  # type: ignore[no-any-return]
    path = work / DECISION
    if not path.exists():
        before = random_states(machine.device)
        decision = trial(net, machine, batch)
        restore_random_states(before, machine.device)
        write_atomically(path, json.dumps(decision).encode())
    decision = json.loads(path.read_text(encoding="utf-8"))
    log.info("compile: %s", decision)
    return torch.compile(net) if decision["compile"] else net  # type: ignore[no-any-return]


def trial(net: torch.nn.Module, machine: Machine, batch: Batch) -> dict[str, Any]:
    """Times of a step plain and compiled, and which one to take."""
    import torch

    plain = seconds_per_step(copy.deepcopy(net), machine, batch)
    other = copy.deepcopy(net)
    try:
        fast = seconds_per_step(torch.compile(other), machine, batch, other)
    except Exception as error:  # the compiler raises its own many kinds; plain always works
        log.warning("compile: not possible here (%s)", type(error).__name__)
        return {"compile": False, "plain_ms": round(1000 * plain, 2), "error": type(error).__name__}
    return {
        "compile": fast < WORTHWHILE * plain,
        "plain_ms": round(1000 * plain, 2),
        "compiled_ms": round(1000 * fast, 2),
    }


def seconds_per_step(
    call: Caller, machine: Machine, batch: Batch, net: torch.nn.Module | None = None
) -> float:
    """Median time of forward and backward, after warming up."""
    import torch

    owner = call if net is None else net
    assert isinstance(owner, torch.nn.Module)
    times = []
    for _ in range(WARM_UP + TIMED):
        begun = time.perf_counter()
        with machine.autocast():
            outputs = call(machine.arrange(batch.image), batch.clinical, batch.targets["mask"])
        torch.stack([value.float().mean() for value in outputs.values()]).sum().backward()
        owner.zero_grad(set_to_none=True)
        if machine.device.type == "cuda":
            torch.cuda.synchronize(machine.device)
        times.append(time.perf_counter() - begun)
    return sorted(times[WARM_UP:])[TIMED // 2]
