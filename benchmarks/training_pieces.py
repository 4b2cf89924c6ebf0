"""The pieces of `benchmarks.training`: each measures one way of training in a process of its own.

A piece takes the size and returns rows of a table. The data are made up; the network is DeepMTS, at
the paper's size on an accelerator (two channels of 112×128×128, batch 8, width 1), on a CPU with a
cube of 64; `small_` pieces are of the demo study's size (32×40×40, batch 4, width 0.5).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import engine
from benchmarks.engine import Arrays, timed
from pipeline.augment.affine import identity, resample
from pipeline.augment.elastic import draw_elastic
from pipeline.settings.networks.deepmts import DeepMts
from pipeline.settings.training import AugmentSettings, TrainingSettings
from pipeline.training.batches import plain_batch, training_batch
from pipeline.training.device import DeviceConfig, choose_device, reproducible
from pipeline.training.prefetch import Prefetcher
from pipeline.training.step import loss_and_gradients
from pipeline.training.trainer import TrainState, flush_losses, train_step

GIB = float(1 << 30)
KERNELS_SHOWN = 25


@dataclass(frozen=True)
class Size:
    """What is trained.

    Attributes:
        shape: Sides of a crop (z, y, x).
        batch: Patients of a batch.
        width: Of the network.
        device: `cpu` or `cuda`.
        patients: Patients of the cohort.
        steps: Steps that are timed, after four that are not.
        seconds: Time after which no further step is begun.
        work: Folder for what a run writes.
    """

    shape: tuple[int, int, int]
    batch: int
    width: float
    device: str
    patients: int
    steps: int
    seconds: float
    work: Path

    def small(self) -> Size:
        """The demo study's size."""
        return Size((32, 40, 40), 4, 0.5, self.device, self.patients, 4 * self.steps, self.seconds, self.work)

    def data(self) -> Arrays:
        """Made-up patients."""
        return engine.synthetic(self.patients, self.shape)

    def network(self) -> DeepMts:
        """The paper's network."""
        return DeepMts(width=self.width, clinical=("clinical_x",))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        wall_ms: Median of a step by the clock.
        cpu_ms: Least user and system time of the process for a step.
        peak_gib: Largest memory of tensors on the accelerator; 0 on a CPU.
        note: What else there is to say.
    """

    name: str
    wall_ms: float
    cpu_ms: float
    peak_gib: float = 0.0
    note: str = ""


Rows = list[Row]


def peak_gib(device: torch.device) -> float:
    """Largest memory that tensors had on the accelerator since the process began."""
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else 0.0


def plain(size: Size) -> Rows:
    """A plain PyTorch loop with MONAI's augmentation in a DataLoader."""
    data, device = size.data(), torch.device(size.device)
    own = engine.plain_loader(data, size.batch, 0, False)
    drawing = timed(lambda: next(own), device, size.steps, 1, most_seconds=size.seconds / 4)
    fetched = engine.plain_loader(data, size.batch, engine.cores(), device.type == "cuda")
    with engine.channels_first():
        step = engine.plain_step(size.network(), fetched, device)
        whole = timed(step, device, size.steps, 2, most_seconds=size.seconds)
    note = "augmentation: " + ("MONAI" if engine.monai_change() else "written out (no MONAI here)")
    # The loader's workers are other processes: drawing a batch in this one stands for their time.
    return [
        Row("plain loop", whole.wall_ms, whole.cpu_ms + drawing.cpu_ms, peak_gib(device), note),
        Row("plain loop: its data alone, in this process", drawing.wall_ms, drawing.cpu_ms),
    ]


def plain_network(size: Size) -> Rows:
    """The plain loop's network on one batch that stays the same, channels first."""
    with engine.channels_first():
        return [_plain_network(size, "plain loop without data")]


def plain_channels_last(size: Size) -> Rows:
    """The same in channels-last order (on a CPU, where ours sets the order itself)."""
    return [_plain_network(size, "plain loop without data, channels last")]


def _plain_network(size: Size, name: str) -> Row:
    device = torch.device(size.device)
    fixed = next(engine.plain_loader(size.data(), size.batch, 0, False))

    def always() -> Iterator[Any]:
        while True:
            yield fixed

    step = engine.plain_step(size.network(), always(), device)
    times = timed(step, device, size.steps, most_seconds=size.seconds)
    return Row(name, times.wall_ms, times.cpu_ms, peak_gib(device))


@contextlib.contextmanager
def our_run(size: Size, **changes: Any) -> Iterator[TrainState]:
    """The engine that the rule `train_fold` runs, with settings of its own."""
    training = TrainingSettings.model_validate({"batch": size.batch, "device": size.device, **changes})
    device_config = choose_device(training)
    torch.set_num_threads(engine.cores())
    with reproducible(device_config, engine.cores(), training.deterministic):
        cohort = engine.cohort_of(size.data(), device_config)
        yield engine.our_run(cohort, device_config, size.network(), training, size.work)


def ours(name: str, small: bool = False, **changes: Any) -> Callable[[Size], Rows]:
    """A piece that times our step with some settings."""

    def piece(size: Size) -> Rows:
        size = size.small() if small else size
        with our_run(size, **changes) as run:
            return [_step(run, size, name)]

    piece.__doc__ = f"Our step: {name}."
    return piece


def _step(run: TrainState, size: Size, name: str) -> Row:
    device, numbers = run.context.device_config.device, iter(range(10**6))
    times = timed(lambda: train_step(run, next(numbers)), device, size.steps, 4, most_seconds=size.seconds)
    flush_losses(run)
    return Row(name, times.wall_ms, times.cpu_ms, peak_gib(device), run.graph.launches())


def operators(size: Size) -> Rows:
    """Our step with PyTorch's operators in place of the project's kernels."""
    with engine.without_kernels(), our_run(size) as run:
        return [_step(run, size, "ours, PyTorch's operators only")]


def cudnn(size: Size) -> Rows:
    """Our step with the project's kernels, but cuDNN's convolutions."""
    from pipeline.training.gpu import layers

    own, layers.FEW_FILTERS = layers.FEW_FILTERS, 0
    try:
        with our_run(size) as run:
            return [_step(run, size, "ours, cuDNN's convolutions only")]
    finally:
        layers.FEW_FILTERS = own


def prefetched(size: Size) -> Rows:
    """Our step with the cohort in host memory, fetched one batch ahead."""
    with our_run(size) as run:
        cohort, device = run.context.cohort, run.context.device_config.device
        images, masks = cohort.images.cpu(), cohort.masks.cpu()
        if device.type == "cuda":
            images, masks = images.pin_memory(), masks.pin_memory()
        # The dataclass is frozen: this is a benchmark's way to move a cohort that lies on the device.
        for field, value in (
            ("images", images),
            ("masks", masks),
            ("prefetcher", Prefetcher(images, masks, device)),
        ):
            object.__setattr__(cohort, field, value)
        return [_step(run, size, "ours, cohort in host memory")]


def parts(size: Size) -> Rows:
    """The parts of our step, each alone."""
    with our_run(size, cuda_graph="never") as run:
        context, device = run.context, run.context.device_config.device
        rows, numbers = context.sampler.batch_at(0), iter(range(10**6))
        fixed, stored = plain_batch(context.cohort, rows), context.cohort.take(rows)
        elastic, generator = AugmentSettings(elastic_voxels=4.0), torch.Generator()
        air, shape = context.cohort.air[context.cohort.on_device(rows)], context.cohort.shape
        changes: dict[str, Callable[[], object]] = {
            "data: draw and augment": lambda: training_batch(
                context.cohort, rows, context.training.augment, next(numbers)
            ),
            "augmentation alone": lambda: resample(
                stored.images, stored.masks, identity(len(rows)), air=air, shape=shape
            ),
            "augmentation, elastic too": lambda: resample(
                stored.images,
                stored.masks,
                identity(len(rows)),
                air=air,
                shape=shape,
                field=draw_elastic(len(rows), elastic, shape, generator),
            ),
            "forward and backward alone": lambda: loss_and_gradients(context, fixed, run.risk_bank),
            "optimizer alone": run.optimizer.step,
        }
        found = {
            name: timed(part, device, size.steps, most_seconds=size.seconds / 4)
            for name, part in changes.items()
        }
    return [Row(f"ours: {name}", times.wall_ms, times.cpu_ms) for name, times in found.items()]


def memory(size: Size) -> Rows:
    """Peak of a step beside what it consists of: weights, optimizer, cohort and kept activations."""
    with our_run(size, cuda_graph="never") as run:
        context = run.context
        batch = training_batch(context.cohort, context.sampler.batch_at(1), context.training.augment, 1)
        step = functools.partial(loss_and_gradients, context, batch, run.risk_bank)
        needed = {
            "weights": sum(p.nbytes for p in context.net.state_dict().values()),
            "optimizer": sum(
                t.nbytes for v in run.optimizer.state().values() if isinstance(v, list) for t in v
            ),
            "cohort": context.cohort.images.nbytes + context.cohort.masks.nbytes,
            "activations": engine.saved_bytes(context.net, step),
        }
        run.optimizer.zero_grad()
        grown = engine.peak_bytes(lambda: train_step(run, 2), context.device_config.device)
    base = sum(size for name, size in needed.items() if name != "activations")
    told = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in needed.items())
    ratio = (base + grown) / sum(needed.values())
    note = f"peak {(base + grown) / 1e6:.1f} MB; {told}: peak / sum of the four {ratio:.3f}"
    return [Row("memory", 0.0, 0.0, 0.0, note)]


def profile(size: Size) -> Rows:
    """Which kernels the time of our step goes to; the table is printed as it comes from PyTorch."""
    with our_run(size, cuda_graph="never") as run:
        for number in range(4):
            train_step(run, number)
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if run.context.device_config.device.type == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=kinds) as watched:
            for number in range(4, 6):
                train_step(run, number)
            if run.context.device_config.device.type == "cuda":
                torch.cuda.synchronize()
        return _kernels(watched, run.context.device_config)


def _kernels(watched: torch.profiler.profile, device_config: DeviceConfig) -> Rows:
    on_card = device_config.device.type == "cuda"
    kernels = [event for event in watched.key_averages() if not on_card or "CUDA" in str(event.device_type)]

    def spent(event: Any) -> float:
        return float(event.self_device_time_total if on_card else event.self_cpu_time_total) / 2000

    kernels.sort(key=spent, reverse=True)
    rows = [
        Row(f"kernel: {event.key[:90]}", spent(event), 0.0, 0.0, f"{event.count // 2} a step")
        for event in kernels[:KERNELS_SHOWN]
    ]
    count = sum(event.count for event in kernels) // 2
    return [Row("all kernels", sum(map(spent, kernels)), 0.0, 0.0, f"{count} a step"), *rows]


PIECES: dict[str, Callable[[Size], Rows]] = {
    "graph": ours("ours"),
    "eager": ours("ours, kernels launched one by one", cuda_graph="never"),
    "operators": operators,
    "cudnn": cudnn,
    "deterministic": ours("ours, deterministic", deterministic=True),
    "small_graph": ours("demo's size", small=True),
    "small_eager": ours("demo's size, launched one by one", small=True, cuda_graph="never"),
    "small_deterministic": ours("demo's size, deterministic", small=True, deterministic=True),
    "parts": parts,
    "memory": memory,
    "prefetched": prefetched,
    "float32": ours("ours, float32", precision="fp32"),
    "fp16": ours("ours, float16 with a scaled loss", precision="fp16"),
    "plain_network": plain_network,
    "plain": plain,
    "profile": profile,
    "plain_channels_last": plain_channels_last,
}
ON_A_CPU = ("graph", "parts", "memory", "prefetched", "plain_network", "plain_channels_last", "plain")
"""Pieces that a CPU is asked for; the others differ only on an accelerator."""


def measure(name: str, size: Size) -> list[dict[str, Any]]:
    """Rows of a piece, as JSON takes them."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return [asdict(row) for row in PIECES[name](size)]
