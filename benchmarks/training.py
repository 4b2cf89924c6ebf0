"""Our training step against a plain PyTorch loop with MONAI's augmentation, every step of the way.

Same network, same data, same batch. Plain: float32 (TF32 where there is an accelerator),
channels first, MONAI RandAffined and RandFlipd on the CPU in a DataLoader with as many workers
as cores and pinned memory, torch.optim.Adam, no compile. Where MONAI is not installed its two
transforms are written out in PyTorch, and the table says so. Ours: the engine that the rule
`train_fold` runs, with the settings' defaults.

    python benchmarks/training.py                      # 64³ on the CPU; 112×128×128 on an accelerator
    python benchmarks/training.py --side 32 --steps 4  # quicker

Every row is a time by the clock, user and system time of this process, and each as a ratio to
the plain step. Workers are other processes: to the plain step's own time that of drawing a batch
in this process is added. Prints a table and, with --out, writes it as JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import engine
from engine import Arrays, Times, timed

from pipeline.augment.affine import identity, resample
from pipeline.augment.elastic import ElasticField, draw_elastic
from pipeline.settings.networks.deepmts import DeepMts
from pipeline.settings.training import AugmentSettings, TrainingSettings
from pipeline.training.batches import plain_batch, training_batch
from pipeline.training.device import DeviceConfig, choose_device, reproducible
from pipeline.training.step import loss_and_gradients
from pipeline.training.trainer import TrainState, flush_losses, train_step

H200_BYTES_PER_S, H200_BF16_FLOPS = 4.3e12, 790e12
"""Measured memory bandwidth and bf16 matrix throughput of an H200, for the floor."""


def network(options: argparse.Namespace) -> DeepMts:
    """The paper's network."""
    return DeepMts(width=options.width, clinical=("clinical_x",))


def plain(data: Arrays, options: argparse.Namespace, device: torch.device) -> dict[str, Times]:
    """The plain loop: whole, its data alone, its network alone, and with channels last."""
    own = engine.plain_loader(data, options.batch, 0, False)
    fetched = engine.plain_loader(data, options.batch, engine.cores(), device.type == "cuda")
    fixed = next(own)

    def always() -> Iterator[Any]:
        while True:
            yield fixed

    found = {"plain: data alone, in this process": timed(lambda: next(own), device, options.steps)}
    with engine.channels_first():
        whole = timed(engine.plain_step(network(options), fetched, device), device, options.steps)
        found["plain: without data"] = timed(
            engine.plain_step(network(options), always(), device), device, options.steps
        )
    if device.type == "cpu":
        step = engine.plain_step(network(options), always(), device)
        found["plain: without data, channels last"] = timed(step, device, options.steps)
    drawing = found["plain: data alone, in this process"].cpu_ms
    return {"plain: step": Times(whole.wall_ms, whole.cpu_ms + drawing), **found}


def ours(run: TrainState, steps: int) -> dict[str, Times]:
    """Our step, and each of its parts alone."""
    context, device, numbers = run.context, run.context.device_config.device, iter(range(10**6))
    rows = context.sampler.batch_at(0)
    fixed = plain_batch(context.cohort, rows)
    stored = context.cohort.take(rows)
    matrices, air = identity(len(rows)), context.cohort.air[context.cohort.on_device(rows)]
    shape, generator = context.cohort.shape, torch.Generator()
    elastic = AugmentSettings(elastic_voxels=4.0)

    def augment(field: ElasticField | None = None) -> None:
        resample(stored.images, stored.masks, matrices, air=air, shape=shape, field=field)

    found = {"ours: step": timed(lambda: train_step(run, next(numbers)), device, steps)}
    flush_losses(run)
    parts = {
        "ours: data (draw, augment)": lambda: training_batch(
            context.cohort, rows, context.training.augment, next(numbers)
        ),
        "ours: augmentation alone": augment,
        "ours: augmentation, elastic too": lambda: augment(
            draw_elastic(len(rows), elastic, shape, generator)
        ),
        "ours: forward and backward alone": lambda: loss_and_gradients(context, fixed, run.risk_bank),
        "ours: optimizer alone": run.optimizer.step,
    }
    return {**found, **{name: timed(part, device, steps) for name, part in parts.items()}}


def compiled(cohort: Any, device_config: DeviceConfig, options: argparse.Namespace) -> dict[str, Times]:
    """Our step compiled, and with kernels launched one by one: on an accelerator, or where asked for."""
    if device_config.device.type == "cpu" and not options.compile:
        return {}
    found = {}
    for how in ("compile: always", "cuda_graph: never"):
        changed = dict([how.split(": ")])
        training = TrainingSettings.model_validate({"batch": options.batch, **changed})
        run = engine.our_run(cohort, device_config, network(options), training, options.work)
        numbers = iter(range(10**6))
        step = timed(lambda r=run, n=numbers: train_step(r, next(n)), device_config.device, options.steps, 4)
        found[f"ours: step, {how}"] = step
    return found


def memory(run: TrainState) -> dict[str, float]:
    """Peak of a step beside weights, optimizer, cohort and activations, in MB."""
    context = run.context
    batch = training_batch(context.cohort, context.sampler.batch_at(1), context.training.augment, 1)
    parts = {
        "weights": sum(p.nbytes for p in context.net.state_dict().values()),
        "optimizer": sum(t.nbytes for v in run.optimizer.state().values() if isinstance(v, list) for t in v),
        "cohort": context.cohort.images.nbytes + context.cohort.masks.nbytes,
        "activations": engine.saved_bytes(
            context.net, functools.partial(loss_and_gradients, context, batch, run.risk_bank)
        ),
    }
    run.optimizer.zero_grad()
    grown = engine.peak_bytes(lambda: train_step(run, 2), context.device_config.device)
    base = sum(size for name, size in parts.items() if name != "activations")
    told = {f"{name} MB": round(size / 1e6, 1) for name, size in parts.items()}
    told["peak MB"] = round((base + grown) / 1e6, 1)
    told["peak / sum of the four"] = round((base + grown) / sum(parts.values()), 3)
    return told


def floor(shape: tuple[int, int, int], batch: int, width: float) -> dict[str, float]:
    """Milliseconds that bytes and FLOP alone would take on an H200.

    FLOP: 81 GFLOP forward for 2×112×128×128 at width 1 (counted), backward twice that.
    Bytes: 9 ms for a batch of eight there at 4.3 TB/s, every activation written once and read
    twice in bf16.
    """
    voxels = float(np.prod(shape) / (112 * 128 * 128))
    arithmetic = 3 * 81e9 * voxels * batch * width**2
    traffic = 9e-3 * 4.3e12 * voxels * batch / 8 * width
    return {
        "FLOP of a step / 1e9": round(arithmetic / 1e9, 1),
        "bytes of a step / 1e9": round(traffic / 1e9, 2),
        "H200 ms by FLOP": round(1000 * arithmetic / H200_BF16_FLOPS, 2),
        "H200 ms by bytes": round(1000 * traffic / H200_BYTES_PER_S, 2),
    }


def measure(options: argparse.Namespace, device: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Everything on one device."""
    data = engine.synthetic(options.patients, shape)
    device_config = choose_device(TrainingSettings(device=device))
    torch.set_num_threads(engine.cores())
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    # First: what our run changes for the process (kept memory) must not help the plain loop.
    times = plain(data, options, device_config.device)
    with reproducible(device_config, engine.cores(), False):
        cohort = engine.cohort_of(data, device_config)
        training = TrainingSettings.model_validate({"batch": options.batch})
        run = engine.our_run(cohort, device_config, network(options), training, options.work)
        times.update(ours(run, options.steps))
        times.update(compiled(cohort, device_config, options))
        needed = memory(run)
    return {
        "shape": list(shape),
        "batch": options.batch,
        "width": options.width,
        "augmentation of the plain loop": "MONAI" if engine.monai_change() else "written out (no MONAI here)",
        "machine": device_config.describe(),
        "times": {name: asdict(value) for name, value in times.items()},
        "memory": needed,
        "floor": floor(shape, options.batch, options.width),
    }


def show(name: str, result: dict[str, Any]) -> None:
    """Print one device's table."""
    machine, times = result["machine"], result["times"]
    shape = "×".join(map(str, result["shape"]))
    print(f"\n{name} ({machine['name']}, {machine['precision']}, {machine['threads']} threads)")
    print(f"{shape}, batch {result['batch']}, width {result['width']}; plain augmentation: ", end="")
    print(result["augmentation of the plain loop"])
    print(f"{'':40}{'ms':>10}{'CPU ms':>10}{'plain/it':>10}{'by CPU':>10}{'of step':>10}")
    base, step = times["plain: step"], times["ours: step"]
    for row, value in times.items():
        ratios = [base[k] / max(value[k], 1e-6) for k in ("wall_ms", "cpu_ms")]
        share = value["wall_ms"] / step["wall_ms"]
        print(f"{row:40}{value['wall_ms']:10.1f}{value['cpu_ms']:10.1f}", end="")
        print(f"{ratios[0]:10.2f}{ratios[1]:10.2f}{share:10.1%}")
    for part in ("memory", "floor"):
        for key, value in result[part].items():
            print(f"{part + ': ' + key:40}{value:10}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=64, help="voxels of the CPU's cube")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--compile", action="store_true", help="compile on the CPU too (minutes)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".benchmark"))
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    results = {"cpu": measure(options, "cpu", (options.side,) * 3)}
    if torch.cuda.is_available():
        results["cuda"] = measure(options, "cuda", (112, 128, 128))
    for device, result in results.items():
        show(device, result)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
