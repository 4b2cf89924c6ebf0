"""What the benchmarks of training share: data, a plain loop, our engine, clocks and memory."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.losses.combined import combined_loss
from pipeline.nets import deepmts
from pipeline.nets.registry import build
from pipeline.settings.networks.deepmts import DeepMts, DeepMtsFamily
from pipeline.settings.training import TrainingSettings
from pipeline.training import gpu
from pipeline.training.batches import plain_batch
from pipeline.training.compile import maybe_compile
from pipeline.training.context import TrainContext
from pipeline.training.dataset import CohortTensors
from pipeline.training.device import DeviceConfig
from pipeline.training.graph import step_graph
from pipeline.training.optimizer import Optimizer
from pipeline.training.progress import Progress
from pipeline.training.risk_bank import RiskBank
from pipeline.training.sampler import make_sampler
from pipeline.training.trainer import TrainState

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Times:
    """Of one step, in milliseconds: median of the clock, least of the process's user and system time."""

    wall_ms: float
    cpu_ms: float


def timed(
    step: Callable[[], object],
    device: torch.device,
    steps: int,
    warm_up: int = 2,
    most_seconds: float = math.inf,
) -> Times:
    """Time a step; after `most_seconds`, warming up included, no further one is begun once one was timed.

    On an accelerator four steps are timed at once, since training does not wait for each either.
    """
    wall: list[float] = []
    work: list[float] = []
    together = 4 if device.type == "cuda" else 1
    end = time.perf_counter() + most_seconds
    for _ in range(warm_up):
        step()
    while len(wall) * together < steps and (not wall or time.perf_counter() < end):
        synchronise(device)
        begun, used = time.perf_counter(), time.process_time()
        for _ in range(together):
            step()
        synchronise(device)
        wall.append(1000 * (time.perf_counter() - begun) / together)
        work.append(1000 * (time.process_time() - used) / together)
    return Times(statistics.median(wall), min(work))


def synchronise(device: torch.device) -> None:
    """Wait until an accelerator has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def synthetic(patients: int, shape: tuple[int, int, int], seed: int = 0) -> Arrays:
    """Noise with a ball in it; whoever has the larger ball has the event sooner; half are events."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij"))
    radius = rng.uniform(0.12, 0.3, patients) * min(shape)
    masks = np.stack([np.square(grid).sum(0) < r**2 for r in radius])
    images = rng.normal(size=(patients, 2, *shape)).astype(np.float32)
    images[:, 0] += 2 * masks
    hazard = (radius - radius.mean()) / radius.std()
    return {
        "image": images,
        "mask": masks.astype(np.uint8),
        "time": (1000 * rng.exponential(np.exp(-1.5 * hazard))).astype(np.float32),
        "event": (np.arange(patients) % 2).astype(np.float32),
        "clinical": rng.normal(size=(patients, 1)).astype(np.float32),
    }


def cohort_of(data: Arrays, device_config: DeviceConfig) -> CohortTensors:
    """The arrays as `load_cohort` leaves them."""
    device, patients = device_config.device, len(data["time"])
    images = torch.from_numpy(data["image"])
    return CohortTensors(
        ids=tuple(f"p{i}" for i in range(patients)),
        images=(images.half() if device_config.bf16 and device.type == "cuda" else images).to(device),
        masks=torch.from_numpy(data["mask"]).to(device),
        has_mask=torch.ones(patients, dtype=torch.bool, device=device),
        air=torch.zeros(patients, 2, device=device),
        time=torch.from_numpy(data["time"]).to(device),
        event=torch.from_numpy(data["event"]).to(device),
        clinical=torch.from_numpy(data["clinical"]).to(device),
        targets={"centre": torch.zeros(patients, dtype=torch.int64, device=device)},
        channels=("pet", "ct"),
        spacing_mm=(1.0, 1.0, 1.0),
        margin=0,
        device=device,
    )


def our_run(
    cohort: CohortTensors,
    device_config: DeviceConfig,
    network: DeepMtsFamily,
    training: TrainingSettings,
    work: Path,
    *,
    rows: range | None = None,
    seed: int = 0,
) -> TrainState:
    """The engine that the rule `train_fold` runs."""
    torch.manual_seed(seed)
    rows = range(len(cohort.ids)) if rows is None else rows
    net = device_config.to_device(build(network, 2, 1), compiled=training.compile == "always")
    events = cohort.event.cpu().numpy()[list(rows)].astype(int).tolist()
    sampler = make_sampler(rows, events, training.batch, seed, balance=True)
    example, decisions = plain_batch(cohort, sampler.batch_at(0)), work / "compile.json"
    call = maybe_compile(net, training.compile, device_config, example, decisions)
    context = TrainContext(net, call, cohort, device_config, sampler, training, network.losses, seed)
    net.train()
    optimizer = Optimizer(net, training, scaled=device_config.fp16)
    risk_bank, graph = RiskBank(0, device_config.device), step_graph(context)
    return TrainState(context, {}, {}, work, optimizer, risk_bank, Progress(), graph)


def monai_change() -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """MONAI's random transforms of a dictionary of arrays; None where MONAI is not installed."""
    try:
        from monai.transforms import Compose, EnsureTyped, RandAffined, RandFlipd
    except ImportError:
        return None
    keys = ("image", "mask")
    change: Callable[[dict[str, Any]], dict[str, Any]] = Compose(
        [
            EnsureTyped(keys),
            RandFlipd(keys, prob=0.5, spatial_axis=2),
            RandAffined(
                keys, prob=1.0, rotate_range=(np.radians(5),) * 3, translate_range=(10,) * 3,
                mode=("bilinear", "nearest"), padding_mode="zeros",
            ),
        ]
    )  # fmt: skip
    return change


def own_change(row: dict[str, Any]) -> dict[str, Any]:
    """The same for one patient in plain PyTorch, as MONAI does it inside (flip, grid, two samplings)."""
    from torch.nn.functional import affine_grid, grid_sample

    image, mask = torch.as_tensor(row["image"]), torch.as_tensor(row["mask"])
    if np.random.random() < 0.5:
        image, mask = image.flip(-1), mask.flip(-1)
    angle, theta = np.radians(5) * np.random.uniform(-1, 1, 3), torch.zeros(1, 3, 4)
    skew = torch.tensor([[0, -angle[2], angle[1]], [angle[2], 0, -angle[0]], [-angle[1], angle[0], 0]])
    theta[0, :, :3] = torch.matrix_exp(skew)
    theta[0, :, 3] = torch.from_numpy(20 * np.random.uniform(-1, 1, 3) / np.array(image.shape[:0:-1]))
    grid = affine_grid(theta, [1, 1, *image.shape[1:]], align_corners=False)
    moved = grid_sample(image[None], grid, align_corners=False)[0]
    turned = grid_sample(mask[None], grid, mode="nearest", align_corners=False)[0]
    return {**row, "image": moved, "mask": turned}


def plain_loader(data: Arrays, batch: int, workers: int, pin: bool) -> Iterator[Any]:
    """The usual way: a dictionary of arrays, random transforms in worker processes."""
    from torch.utils.data import DataLoader

    change = monai_change() or own_change
    rows = [
        {
            "image": data["image"][i],
            "mask": data["mask"][i][None].astype(np.float32),
            **{k: torch.as_tensor(data[k][i]) for k in ("time", "event", "clinical")},
        }
        for i in range(len(data["time"]))
    ]

    class Rows(torch.utils.data.Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return change(rows[index])

    loader = DataLoader(
        Rows(), batch_size=batch, shuffle=True, num_workers=workers, pin_memory=pin, drop_last=True,
        persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        yield from loader


@contextlib.contextmanager
def channels_first() -> Iterator[None]:
    """The network as a plain loop would have it: on a CPU ours puts channels last by itself."""
    real = deepmts.channels_last_on_cpu
    deepmts.channels_last_on_cpu = lambda image: image
    try:
        yield
    finally:
        deepmts.channels_last_on_cpu = real


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """PyTorch's operators only, on an accelerator, too."""
    real = gpu.speed_up
    gpu.speed_up = lambda network: False
    try:
        yield
    finally:
        gpu.speed_up = real


def plain_step(network: DeepMts, batches: Iterator[Any], device: torch.device) -> Callable[[], None]:
    """A step of the plain loop: torch.optim.Adam, float32, no compile, a look at each loss."""
    torch.manual_seed(0)
    net = build(network, 2, 1).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def step() -> None:
        drawn = {k: torch.as_tensor(v).to(device, non_blocking=True) for k, v in next(batches).items()}
        optimizer.zero_grad()
        outputs = net(drawn["image"], drawn["clinical"], None)
        targets = {"time": drawn["time"], "event": drawn["event"], "mask": drawn["mask"][:, 0]}
        loss, _ = combined_loss(outputs, targets, network.losses, net.penalised_weights())
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def saved_bytes(net: torch.nn.Module, step: Callable[[], object]) -> int:
    """Bytes of all storages that autograd keeps for the backward pass, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(size for size, _ in kept.values())


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """Most bytes that tensors had during a step, above what they had before it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with torch.profiler.profile(profile_memory=True) as watched:
        step()
    results: Any = watched.profiler
    now = most = 0
    for event in results.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))
