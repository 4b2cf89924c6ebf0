"""Our training step against a plain PyTorch loop with MONAI's augmentation.

Same network, same data, same batch. Plain: float32 (TF32 where there is an accelerator),
channels first, MONAI RandAffined and RandFlipd on the CPU in a DataLoader with as many workers
as cores and pinned memory, torch.optim.Adam, no compile. Ours: the engine that the rule
`train_fold` runs, with the settings' defaults.

    python benchmarks/training.py                      # 64³ on the CPU, and an accelerator if there is one
    python benchmarks/training.py --side 32 --steps 4  # quicker

Prints a table and, with --out, writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.losses.combined import combined_loss
from pipeline.nets.registry import build
from pipeline.settings.networks import DeepMts
from pipeline.settings.training import TrainingSettings
from pipeline.training.batches import plain_batch, training_batch
from pipeline.training.compile import caller_of
from pipeline.training.dataset import Cohort
from pipeline.training.machine import Machine, choose_machine, exact
from pipeline.training.memory import RiskMemory
from pipeline.training.optimizer import Optimizer
from pipeline.training.progress import Progress
from pipeline.training.run import Run, _advance, look
from pipeline.training.sampler import make_sampler
from pipeline.training.step import Bench, loss_and_gradients

H200_BYTES_PER_S, H200_BF16_FLOPS = 4.3e12, 790e12
"""Measured memory bandwidth and bf16 matrix throughput of an H200, for the floor."""


def synthetic(patients: int, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Smooth noise with a ball in it; outcomes of which half are events."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij"))
    masks = np.stack([np.square(grid).sum(0) < rng.uniform(4, 10) ** 2 for _ in range(patients)])
    images = rng.normal(size=(patients, 2, *shape)).astype(np.float32)
    images[:, 0] += 4 * masks
    return {
        "image": images,
        "mask": masks.astype(np.uint8),
        "time": rng.uniform(10, 3000, patients).astype(np.float32),
        "event": (np.arange(patients) % 2).astype(np.float32),
        "clinical": rng.normal(size=(patients, 1)).astype(np.float32),
    }


def timed(step: Callable[[], object], device: torch.device, steps: int, warm_up: int = 2) -> float:
    """Median seconds of a step."""
    times = []
    for _ in range(warm_up + steps):
        begun = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[warm_up:])


def plain_loader(data: dict[str, np.ndarray], batch: int, workers: int, pin: bool) -> Iterator[Any]:
    """MONAI's usual way: a dictionary of arrays, random transforms in worker processes."""
    from monai.data import DataLoader, Dataset
    from monai.transforms import Compose, EnsureTyped, RandAffined, RandFlipd

    keys = ("image", "mask")
    change = Compose(
        [
            EnsureTyped(keys),
            RandFlipd(keys, prob=0.5, spatial_axis=2),
            RandAffined(
                keys, prob=1.0, rotate_range=(np.radians(5),) * 3, translate_range=(10,) * 3,
                mode=("bilinear", "nearest"), padding_mode="zeros",
            ),
        ]
    )  # fmt: skip
    rows = [
        {
            "image": data["image"][i],
            "mask": data["mask"][i][None].astype(np.float32),
            **{k: torch.as_tensor(data[k][i]) for k in ("time", "event", "clinical")},
        }
        for i in range(len(data["time"]))
    ]
    loader = DataLoader(
        Dataset(rows, change), batch_size=batch, shuffle=True, num_workers=workers, pin_memory=pin,
        drop_last=True, persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        yield from loader


def plain_loop(
    data: dict[str, np.ndarray], width: float, batch: int, device: torch.device
) -> tuple[Callable[[], None], Callable[[], Any]]:
    """A step of the plain loop, and the drawing of its batches alone."""
    torch.manual_seed(0)
    settings = DeepMts(width=width, clinical=("clinical_x",))
    net = build(settings, 2, 1).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    batches = plain_loader(data, batch, os.cpu_count() or 1, device.type == "cuda")

    def step() -> None:
        drawn = {k: torch.as_tensor(v).to(device, non_blocking=True) for k, v in next(batches).items()}
        optimizer.zero_grad()
        outputs = net(drawn["image"], drawn["clinical"], None)
        targets = {"time": drawn["time"], "event": drawn["event"], "mask": drawn["mask"][:, 0]}
        loss, _ = combined_loss(outputs, targets, settings.losses, net.penalised_weights())
        loss.backward()
        optimizer.step()
        loss.item()

    return step, lambda: next(batches)


def our_run(data: dict[str, np.ndarray], width: float, batch: int, machine: Machine, work: Path) -> Run:
    """The engine on the same data."""
    torch.manual_seed(0)
    settings = DeepMts(width=width, clinical=("clinical_x",))
    training = TrainingSettings(batch=batch)
    device = machine.device
    patients = len(data["time"])
    images = torch.from_numpy(data["image"])
    cohort = Cohort(
        ids=tuple(f"p{i}" for i in range(patients)),
        images=(images.half() if machine.half and device.type == "cuda" else images).to(device),
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
    net = machine.place(build(settings, 2, 1))
    sampler = make_sampler(range(patients), data["event"].astype(int).tolist(), batch, 0, balance=True)
    call = caller_of(net, training.compile, machine, plain_batch(cohort, sampler.batch_at(0)), work)
    bench = Bench(net, call, cohort, machine, sampler, training, settings.losses, 0)
    net.train()
    return Run(bench, {}, {}, work, Optimizer(net, training), RiskMemory(0, device), Progress())


def measure(
    options: argparse.Namespace, device: str, shape: tuple[int, int, int], work: Path
) -> dict[str, Any]:
    """Every step of the way, in milliseconds, on one device."""
    data = synthetic(options.patients, shape)
    machine = choose_machine(TrainingSettings(device=device))
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    step, draw = plain_loop(data, options.width, options.batch, machine.device)
    found: dict[str, Any] = {"shape": list(shape), "batch": options.batch, "width": options.width}
    found["plain_step"] = timed(step, machine.device, options.steps)
    found["plain_data"] = timed(draw, machine.device, options.steps)
    with exact(machine, threads, False):
        run = our_run(data, options.width, options.batch, machine, work)
        bench, numbers = run.bench, iter(range(10**6))
        rows = bench.sampler.batch_at(0)
        fixed = plain_batch(bench.cohort, rows)
        if machine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        found["our_step"] = timed(lambda: _advance(run, next(numbers)), machine.device, options.steps)
        look(run)
        found["our_data"] = timed(
            lambda: training_batch(bench.cohort, rows, bench.training.augment, next(numbers)),
            machine.device,
            options.steps,
        )
        memory = RiskMemory(0, machine.device)
        found["our_forward_backward"] = timed(
            lambda: loss_and_gradients(bench, fixed, memory), machine.device, options.steps
        )
    result = {k: round(1000 * v, 2) if isinstance(v, float) and k != "width" else v for k, v in found.items()}
    result["times_faster"] = round(found["plain_step"] / found["our_step"], 2)
    result["data_share"] = round(found["our_data"] / found["our_step"], 3)
    result["machine"] = machine.describe()
    if machine.device.type == "cuda":
        result["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        result["cohort_gb"] = round(bench.cohort.images.nbytes / 1e9, 2)
        result["floor_ms"] = floor(shape, options.batch, options.width)
    return result


def floor(shape: tuple[int, int, int], batch: int, width: float) -> float:
    """Milliseconds that bytes and FLOP alone would take on an H200.

    FLOP: 81 GFLOP forward for 2×112×128×128 at width 1 (counted), backward twice that.
    Bytes: 9 ms for a batch of eight there at 4.3 TB/s, every activation written once and read
    twice in bf16.
    """
    voxels = np.prod(shape) / (112 * 128 * 128)
    arithmetic = 3 * 81e9 * voxels * batch * width**2 / H200_BF16_FLOPS
    traffic = 9e-3 * 4.3e12 * voxels * batch / 8 * width / H200_BYTES_PER_S
    return round(1000 * float(max(arithmetic, traffic)), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=64, help="voxels of the CPU's cube")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".benchmark"))
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    results = {"cpu": measure(options, "cpu", (options.side,) * 3, options.work)}
    if torch.cuda.is_available():
        results["cuda"] = measure(options, "cuda", (112, 128, 128), options.work)
    for device, result in results.items():
        print(f"\n{device}: {result['machine']['name']}, {result['machine']['precision']}")
        for key, value in result.items():
            if key != "machine":
                print(f"  {key:22} {value}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
