"""Our training step against a plain PyTorch loop with MONAI's augmentation, piece by piece.

Same network, same data, same batch. Plain: float32 (TF32 where there is an accelerator),
channels first, MONAI RandAffined and RandFlipd on the CPU in a DataLoader with as many workers
as cores and pinned memory, torch.optim.Adam. Where MONAI is not installed its two transforms are
written out in PyTorch, and the table says so. Ours: the engine that the rule `train_fold` runs.

    python -m benchmarks.training                             # every piece, at most 8 minutes
    python -m benchmarks.training --piece eager --limit 60    # one piece
    python -m benchmarks.training --device cpu --side 32      # quicker

Each piece runs in a process of its own with a time limit, so that an error or a piece that takes
too long leaves the others. A row is a time by the clock, user and system time of the process, the
peak of the accelerator's memory, and the ratio to our step. Needs PyTorch, NumPy, pandas and
pydantic. Prints one table and, with --out, writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training_pieces import ON_A_CPU, PIECES, Size, measure

H200_BYTES_PER_S, H200_BF16_FLOPS = 4.3e12, 790e12
"""Measured memory bandwidth and bf16 matrix throughput of an H200, for the floor."""
ALL_SECONDS = 480.0
FOLDS, ITERATIONS = 5, 15_000
"""Of the paper's study."""


def floor(size: Size) -> dict[str, float]:
    """Milliseconds that bytes and FLOP alone would take on an H200.

    FLOP: 81 GFLOP forward for 2×112×128×128 at width 1 (counted), backward twice that.
    Bytes: 9 ms for a batch of eight there at 4.3 TB/s, every activation written once and read
    twice in bf16.
    """
    voxels = float(np.prod(size.shape) / (112 * 128 * 128))
    arithmetic = 3 * 81e9 * voxels * size.batch * size.width**2
    traffic = 9e-3 * H200_BYTES_PER_S * voxels * size.batch / 8 * size.width
    return {
        "FLOP of a step / 1e9": round(arithmetic / 1e9, 1),
        "bytes of a step / 1e9": round(traffic / 1e9, 2),
        "H200 ms by FLOP": round(1000 * arithmetic / H200_BF16_FLOPS, 2),
        "H200 ms by bytes": round(1000 * traffic / H200_BYTES_PER_S, 2),
    }


def apart(name: str, options: argparse.Namespace, limit: float) -> dict[str, Any]:
    """Rows of a piece that runs in a process of its own, or why there are none."""
    out = options.work / f"{name}.json"
    out.unlink(missing_ok=True)
    arguments = [
        f"--{key}={getattr(options, key)}"
        for key in ("device", "side", "batch", "width", "steps", "patients")
    ]
    command = [sys.executable, "-m", "benchmarks.training", "--inside", f"--piece={name}", f"--out={out}"]
    begun = time.perf_counter()
    try:
        command += [*arguments, f"--limit={limit}", f"--work={options.work}"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=limit, check=False)
        failure = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]
    except subprocess.TimeoutExpired:
        failure = f"more than {limit:.0f} s"
    seconds = round(time.perf_counter() - begun, 1)
    rows = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    return {"piece": name, "seconds": seconds, "failure": failure, "rows": rows}


def show(results: list[dict[str, Any]]) -> None:
    """Print the table."""
    rows = [row for result in results for row in result["rows"]]
    base = next((row["wall_ms"] for row in rows if row["name"] == "ours"), None)
    print(f"\n{'':62}{'ms':>9}{'CPU ms':>9}{'of ours':>9}{'GiB':>7}")
    for row in rows:
        ratio = f"{row['wall_ms'] / base:.2f}" if base and not row["name"].startswith("demo") else ""
        print(f"{row['name'][:61]:62}{row['wall_ms']:9.2f}{row['cpu_ms']:9.1f}{ratio:>9}", end="")
        print(f"{row['peak_gib']:7.2f}  {row['note']}" if row["peak_gib"] else f"{'':7}  {row['note']}")
    for result in results:
        if result["failure"]:
            print(f"{result['piece']}: {result['failure']}")
    if base:
        hours = FOLDS * ITERATIONS * base / 3.6e6
        print(
            f"{FOLDS} folds of {ITERATIONS:,} iterations, one after the other, from this step: {hours:.2f} h"
        )


def size_of(options: argparse.Namespace) -> Size:
    """The size that the command line asks for."""
    shape = (112, 128, 128) if options.device == "cuda" and not options.side else (options.side or 64,) * 3
    return Size(
        shape, options.batch, options.width, options.device, options.patients, options.steps,
        options.limit / 3, options.work,
    )  # fmt: skip


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--piece", choices=PIECES, action="append", help="only this one; may be repeated")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a piece may take")
    parser.add_argument("--device", choices=("cpu", "cuda"), default=found)
    parser.add_argument("--side", type=int, default=0, help="voxels of a cube instead of the usual size")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".benchmark"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    options.work.mkdir(exist_ok=True)
    if options.inside:
        options.out.write_text(json.dumps(measure(options.piece[0], size_of(options))), encoding="utf-8")
        return
    size, end = size_of(options), time.monotonic() + ALL_SECONDS
    machine = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    shape = "×".join(map(str, size.shape))
    print(
        f"{machine}, torch {torch.__version__}; {shape}, batch {size.batch}, width {size.width}", flush=True
    )
    results = []
    for name in options.piece or (PIECES if options.device == "cuda" else ON_A_CPU):
        left = end - time.monotonic()
        if left < 5:
            print(f"{name}: left out, {ALL_SECONDS:.0f} s are over")
            continue
        results.append(apart(name, options, min(options.limit, left)))
        print(f"{name}: {results[-1]['seconds']} s {results[-1]['failure']}", flush=True)
    show(results)
    for key, value in floor(size).items():
        print(f"{'floor: ' + key:62}{value:9}")
    if options.out:
        content = {"machine": machine, "torch": torch.__version__, "results": results, "floor": floor(size)}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
