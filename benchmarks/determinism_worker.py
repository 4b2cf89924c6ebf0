"""What `benchmarks/determinism.py` runs in processes of its own."""

from __future__ import annotations

import hashlib
import itertools
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks import engine
from benchmarks.networks import made_up
from pipeline.nets.catalogue import ENTRIES, Entry, shown
from pipeline.nets.registry import build
from pipeline.settings.networks.deepmts import DeepMts
from pipeline.settings.training import TrainingSettings
from pipeline.training import trainer
from pipeline.training.batches import Batch
from pipeline.training.context import TrainContext
from pipeline.training.device import choose_device, reproducible
from pipeline.training.graph import StepGraph
from pipeline.training.optimizer import Optimizer
from pipeline.training.progress import history_csv
from pipeline.training.risk_bank import RiskBank
from pipeline.training.step import loss_and_gradients
from pipeline.training.trainer import TrainState, flush_losses, run_training, start_run, train_step

TRAINING: dict[str, Any] = {
    "iterations": 14,
    "batch": 4,
    "validate_every": 5,
    "checkpoint_every": 2,
    "deterministic": True,
    "schedule": {"kind": "cosine", "learning_rate": 1e-3},
    "augment": {"translation_voxels": 2.0, "elastic_voxels": 2.0},
}
PHANTOM, PAPER = (32, 40, 40), (112, 128, 128)
"""The crop of the embedded demo study, and of Meng et al."""
SMALL_CUBE, SMALL_SLICE = (64, 64, 64), (1, 96, 96)
SCALES = {0: 2.0**10, 7: np.inf, 8: 2.0**10}
"""Scale of the loss from an iteration on, in float16: no overflow but one."""
LARGEST_SHARE = 1.5
"""What deterministic mode may cost, as a multiple of the fast mode."""


def settings_of(device: str, changes: dict[str, Any]) -> TrainingSettings:
    """Training settings of the parts."""
    return TrainingSettings.model_validate({**TRAINING, "device": device, **changes})


@contextmanager
def run_of(
    training: TrainingSettings, network: DeepMts, shape: tuple[int, int, int], work: Path
) -> Iterator[TrainState]:
    """A run on made-up patients, from its checkpoint if there is one; the last four validate."""
    device_config = choose_device(training)
    with reproducible(device_config, 1, training.deterministic):
        cohort = engine.cohort_of(engine.synthetic(max(12, 2 * training.batch), shape), device_config)
        learn = range(len(cohort.ids) - 4)
        run = engine.our_run(cohort, device_config, network, training, work, rows=learn)
        yield start_run(run.context, {"validation": list(range(learn.stop, len(cohort.ids)))}, {}, work)


def digest(run: TrainState) -> str:
    """SHA-256 of weights, moments and history."""
    total = hashlib.sha256(history_csv(run.progress.history))
    for tensor in run.changing():
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def train(device: str, work: str, *changes: str) -> None:
    """A short training; prints every iteration, at last what it ended in."""
    given = dict(change.split("=") for change in changes)
    network, real = DeepMts(width=0.25, clinical=("clinical_x",)), trainer.train_step

    def step(run: TrainState, iteration: int) -> None:
        scale = run.optimizer.loss_scale
        if scale is not None and iteration in SCALES:
            scale.state()["scale"].fill_(SCALES[iteration])
        real(run, iteration)
        print("iteration", iteration)

    with run_of(settings_of(device, given), network, PHANTOM, Path(work)) as run:
        print("from", run.progress.iteration)
        trainer.train_step = step
        run_training(run)
        print("launches", run.graph.launches())
        print("skipped", 0 if run.optimizer.loss_scale is None else run.optimizer.loss_scale.skipped())
        print("digest", digest(run))


def refused(device: str, _: str) -> None:
    """A step that asks for a result, one that breaks the recording, and plain steps after them."""
    good = True
    for name, disturb in (("asks", lambda loss: loss.item()), ("breaks", lambda _: _break_recording())):
        ended = {}
        for graph in (StepGraph("" if device == "cuda" else "no accelerator"), StepGraph("switched off")):
            torch.manual_seed(0)
            net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)).to(
                device
            )
            optimizer = Optimizer(net, TrainingSettings())

            def step(batch: Batch, net: Any = net, optimizer: Any = optimizer, disturb: Any = disturb) -> Any:
                optimizer.zero_grad()
                loss = net(batch.image).square().mean()
                loss.backward()
                disturb(loss)
                optimizer.step()
                return {"loss": loss.detach()}

            batch = Batch((), torch.zeros(4, device=device), torch.randn(4, 8).to(device), None, {})
            for _ in range(3):
                if graph.replay(batch, step, lambda: [*net.parameters(), *optimizer.tensors()]) is None:  # noqa: B023
                    step(batch)
            ended[graph.refusal] = torch.cat([p.detach().flatten() for p in net.parameters()]).cpu()
        (reason, one), (_, two) = ended.items()
        equal = torch.equal(one, two)
        good &= equal and bool(reason)
        print(f"| {name}: {reason or 'recorded'}; as without: {equal}")
    print("passed" if good else "failed")


def _break_recording() -> None:
    """What a warm-up allows and a recording does not, in a way that the watch for waits does not see."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def networks(device: str, _: str) -> None:
    """One step of every network of the papers' tables, three times: plain, plain again, recorded."""
    good, device_config = True, choose_device(settings_of(device, {}))
    with reproducible(device_config, 1, True):
        # Those whose kernels have to be compiled come last.
        listed = sorted((e for e in ENTRIES if e.paper != "—"), key=lambda e: e.paper == "DeepMTS")
        for entry in listed:
            begun = time.perf_counter()
            try:
                one, two, replayed = (_one_step(entry, device, kind) for kind in ("", "", "graph"))
                equal = one[0] == two[0]
                recorded = replayed[1] or ("the same" if replayed[0] == one[0] else "NOT THE SAME")
                good &= equal and recorded != "NOT THE SAME"
                text = f"twice {'equal' if equal else 'NOT EQUAL'} | recorded: {recorded}"
            except Exception as error:  # one network must not hide the others
                good, text = False, f"failed: {type(error).__name__}: {str(error).splitlines()[0][:120]}"
                traceback.print_exc()
            seconds = time.perf_counter() - begun
            print(f"| {entry.paper} | {entry.row} | {shown(entry.settings)} | {text} | {seconds:.1f} s")
    print("passed" if good else "failed")


def _one_step(entry: Entry, device: str, kind: str) -> tuple[str, str]:
    """Digest of a network after a step from the same start, and why it could not be recorded."""
    torch.manual_seed(3)
    training, settings = settings_of(device, {}), entry.settings
    device_config = choose_device(training)
    net = device_config.to_device(build(settings, entry.channels, entry.clinical)).train()
    shape = SMALL_SLICE if entry.shape[0] == 1 else SMALL_CUBE
    data = {name: value.to(device) for name, value in made_up(entry, shape, 2).items()}
    clinical = data.pop("clinical") if entry.clinical else None
    rows = torch.arange(2, device=device)
    batch = Batch(
        ("a", "b"), rows, data["image"], clinical, {**data, "mask_known": rows >= 0, "centre": rows}
    )
    nobody: Any = SimpleNamespace(time=None, targets={"centre": rows})
    sampler: Any = None
    context = TrainContext(net, net, nobody, device_config, sampler, training, settings.losses, 0)
    optimizer, bank = Optimizer(net, training), RiskBank(0, device_config.device)

    def step(given: Batch) -> dict[str, torch.Tensor]:
        optimizer.zero_grad()
        loss, terms = loss_and_gradients(context, given, bank)
        optimizer.step()
        return {"loss": loss, **terms}

    graph = StepGraph("" if kind == "graph" and device == "cuda" else "launched one by one")
    state = [*net.parameters(), *net.buffers(), *optimizer.tensors()]
    torch.manual_seed(4)
    values = graph.replay(batch, step, lambda: state)
    values = step(batch) if values is None else values
    total = hashlib.sha256(repr([float(v) for v in values.values()]).encode())
    for tensor in state:
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest(), graph.refusal if kind == "graph" else ""


def speed(device: str, _: str) -> None:
    """Milliseconds of a step, fast and deterministic, replayed and launched one by one."""
    cases = {
        "demo's network": (DeepMts(width=0.5, clinical=("clinical_x",)), PHANTOM, 4, 60),
        "DeepMTS, paper's size": (DeepMts(clinical=("clinical_x",)), PAPER, 8, 12),
    }
    for name, (network, shape, batch, steps) in cases.items():
        found: dict[tuple[bool, str], float] = {}
        for strict, graph in itertools.product((False, True), ("auto", "never")):
            changes = {
                "deterministic": strict,
                "cuda_graph": graph,
                "batch": batch,
                "iterations": 15000,
                "augment": {},
            }
            with run_of(settings_of(device, changes), network, shape, Path(".")) as run:
                found[strict, graph] = _milliseconds(run, steps, device)
                peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
                print(
                    f"| {name} | {'deterministic' if strict else 'fast'} | {run.graph.launches()} "
                    f"| {found[strict, graph]:.2f} ms a step | peak {peak:.1f} GiB"
                )
            if device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
        ratio = found[True, "auto"] / found[False, "auto"]
        hours = 5 * 15000 * found[False, "auto"] / 3.6e6
        print(
            f"| {name} | deterministic / fast {ratio:.2f} (at most {LARGEST_SHARE}) | five folds {hours:.2f} h"
        )
    print("passed")


def _milliseconds(run: TrainState, steps: int, device: str) -> float:
    wait: Callable[[], Any] = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    run.context.net.train()
    for number in range(4):
        train_step(run, number)
    flush_losses(run)
    wait()
    begun = time.perf_counter()
    for number in range(4, 4 + steps):
        train_step(run, number)
    flush_losses(run)
    wait()
    return 1000 * (time.perf_counter() - begun) / steps


def kernels(device: str, _: str) -> None:
    """The kernels that take most of a step, fast and deterministic."""
    shape = PAPER if device == "cuda" else PHANTOM
    watched = (
        torch.profiler.ProfilerActivity.CUDA if device == "cuda" else torch.profiler.ProfilerActivity.CPU
    )
    for strict in (False, True):
        changes = {"deterministic": strict, "cuda_graph": "never", "batch": 8, "augment": {}}
        with run_of(settings_of(device, changes), DeepMts(clinical=("clinical_x",)), shape, Path(".")) as run:
            _milliseconds(run, 1, device)
            with torch.profiler.profile(activities=[watched]) as profile:
                train_step(run, 9)
                flush_losses(run)
            rows: list[Any] = list(profile.key_averages())
            of = (
                (lambda row: row.self_device_time_total)
                if device == "cuda"
                else (lambda row: row.self_cpu_time_total)
            )
            rows.sort(key=of, reverse=True)
            total = sum(map(of, rows))
            mode, calls = "deterministic" if strict else "fast", sum(row.count for row in rows)
            print(f"| {mode}: {total / 1000:.1f} ms, {calls} calls")
            for row in rows[:16]:
                print(f"|   {of(row) / 1000:8.2f} ms {row.count:5d} × {row.key[:110]}")
    print("passed")


if __name__ == "__main__":
    {"train": train, "refused": refused, "networks": networks, "speed": speed, "kernels": kernels}[
        sys.argv[1]
    ](*sys.argv[2:])
