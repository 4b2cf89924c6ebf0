"""Whether training in bf16 ends where float32 does: Dice and C-index on unseen patients, by seed.

A small phantom made in memory: a ball in noise, whose size decides when the event comes. The
network is MT-HS, DeepMTS without its cascaded half, at half width. Each seed draws weights,
batches, augmentation and dropout; both precisions use the same seeds and the same patients.
Crops much smaller than 32³ would only measure how badly batch norm's running statistics fit a
bottleneck of a few voxels: at 16³ the evaluated network calls everything tumour.

    python benchmarks/precision.py                       # five seeds, about 10 CPU minutes
    python benchmarks/precision.py --iterations 360 --seeds 10        # the table in docs/stages/train.md
    python benchmarks/precision.py --device cuda --side 64 --width 1 --iterations 2000
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import engine

from pipeline.settings.networks.deepmts import MtHs
from pipeline.settings.training import TrainingSettings
from pipeline.training.device import choose_device, reproducible
from pipeline.training.trainer import flush_losses, train_step
from pipeline.training.validation import score_patients

METRICS = ("dice", "c_index")


def settings(options: argparse.Namespace, precision: str) -> TrainingSettings:
    """Short schedule: a cosine from 1e-3."""
    return TrainingSettings.model_validate(
        {
            "precision": precision,
            "device": options.device,
            "iterations": options.iterations,
            "schedule": {"kind": "cosine", "learning_rate": 1e-3},
            "augment": {"translation_voxels": 2},
        }
    )


def end_of_run(options: argparse.Namespace, precision: str, seed: int) -> dict[str, float]:
    """Dice and C-index of unseen patients after one training."""
    training = settings(options, precision)
    device_config = choose_device(training)
    train, unseen = range(options.patients), range(options.patients, 3 * options.patients)
    with reproducible(device_config, engine.cores(), False):
        data = engine.synthetic(3 * options.patients, (options.side,) * 3)
        cohort = engine.cohort_of(data, device_config)
        network = MtHs(width=options.width, clinical=("clinical_x",))
        run = engine.our_run(cohort, device_config, network, training, options.work, rows=train, seed=seed)
        for iteration in range(options.iterations):
            train_step(run, iteration)
        flush_losses(run)
        scores = score_patients(run.context, unseen)
    return {name: float(getattr(scores, name)) for name in METRICS}


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Markdown: mean, SD and range of each precision, and how many bf16 runs lie in float32's range."""
    lines = ["| | float32 | bf16 | bf16 runs within float32's range |", "|---|---|---|---|"]
    for metric in METRICS:
        wide, half = (np.array([run[metric] for run in found[name]]) for name in ("fp32", "bf16"))
        inside = int(((half >= wide.min()) & (half <= wide.max())).sum())
        cells = [
            f"{v.mean():.4f} ± {v.std(ddof=1):.4f} ({v.min():.4f} to {v.max():.4f})" for v in (wide, half)
        ]
        within = "mean within" if wide.min() <= half.mean() <= wide.max() else "mean NOT within"
        lines.append(f"| {metric} | {cells[0]} | {cells[1]} | {inside} of {len(half)}, {within} |")
    return lines


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--iterations", type=int, default=180)
    parser.add_argument("--patients", type=int, default=32, help="trained on; twice as many are unseen")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".benchmark"))
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    found: dict[str, list[dict[str, float]]] = {"fp32": [], "bf16": []}
    for seed in range(options.seeds):
        for precision, runs in found.items():
            runs.append(end_of_run(options, precision, seed))
            print(precision, "seed", seed, runs[-1], flush=True)
    lines = table(found)
    print("\n".join(["", f"torch {torch.__version__}", *lines]))
    if options.out:
        result: dict[str, Any] = {"runs": found, "options": {k: str(v) for k, v in vars(options).items()}}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
