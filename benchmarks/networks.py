"""One training step of every network: time and peak memory.

Forward, loss, backward and Adam, in float32 unless told otherwise, after one step that is not
counted. Each network runs in a process of its own, so that its
peak memory is its own. At the paper's width; on a CPU with two images of a small size (64³, slices
of 128²) unless told otherwise, on an accelerator with two at the paper's size.

    python -m benchmarks.networks                       # the CPU, and an accelerator if there is one
    python -m benchmarks.networks --only deepmts        # rows whose kind contains a word
    python -m benchmarks.networks --full                # the paper's size on the CPU too
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Any

import torch

from pipeline.losses.combined import combined_loss
from pipeline.nets.catalogue import ENTRIES, Entry, shown
from pipeline.nets.registry import build

SMALL_CUBE, SMALL_SLICE = (64, 64, 64), (1, 128, 128)
MIB = 1 << 20


def made_up(entry: Entry, shape: tuple[int, int, int], batch: int) -> dict[str, torch.Tensor]:
    """Noise with a ball in it, and every target that any loss asks for."""
    torch.manual_seed(0)
    axes = [torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1) for side in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    mask = ((z**2 + y**2 + x**2) < 0.15).float().expand(batch, *shape).clone()
    labels = {name: torch.arange(batch).float() % 2 for name in entry.settings.losses.labels}
    return {
        "image": torch.randn(batch, entry.channels, *shape) + mask[:, None],
        "mask": mask,
        "time": torch.arange(batch).float() + 1,
        "event": torch.ones(batch),
        "clinical": torch.zeros(batch, entry.clinical),
        **labels,
    }


def measure(entry: Entry, device: str, full: bool, batch: int, rough: bool) -> dict[str, Any]:
    """Seconds of a step (wall and processor) and peak MiB of one network."""
    settings = entry.settings
    shape = entry.shape if full else (SMALL_SLICE if entry.shape[0] == 1 else SMALL_CUBE)
    net = build(settings, entry.channels, entry.clinical).to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    data = {name: value.to(device) for name, value in made_up(entry, shape, batch).items()}

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=rough):
            outputs = net(data["image"], data["clinical"], data["mask"])
        loss, _ = combined_loss(outputs, data, settings.losses)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    step()
    wall, processor = time.perf_counter(), time.process_time()
    step()
    found: dict[str, Any] = {"image": "×".join(str(n) for n in (entry.channels, *shape))}
    found["seconds"] = time.perf_counter() - wall
    found["processor_seconds"] = time.process_time() - processor
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _own_peak()
    return found | {"peak_mib": peak / MIB, "numbers": sum(p.numel() for p in net.parameters())}


def _own_peak() -> int:
    """Peak resident bytes of this process (Linux gives KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def apart(number: int, options: argparse.Namespace, device: str) -> dict[str, Any]:
    """A network in a process of its own; what went wrong in a word where it fails."""
    full, rough = options.full or device == "cuda", options.precision == "bf16"
    # A forked process has its imports for nothing; CUDA cannot be forked.
    context = multiprocessing.get_context("spawn" if device == "cuda" else "fork")
    with context.Pool(1) as pool:
        try:
            return pool.apply_async(measure, (ENTRIES[number], device, full, options.batch, rough)).get(
                options.limit
            )
        except (RuntimeError, multiprocessing.TimeoutError) as error:
            return {"failed": (str(error).splitlines() or [f"over {options.limit:.0f} s"])[0][:80]}


def line(entry: Entry, found: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [entry.paper, entry.row, shown(entry.settings)]
    if "failed" in found:
        cells += ["", "", found["failed"], "", ""]
    else:
        cells += [
            found["image"],
            f"{found['numbers']:,}",
            f"{found['seconds']:.2f}",
            f"{found['processor_seconds']:.2f}",
            f"{found['peak_mib']:,.0f}",
        ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure and print, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="kinds that contain this")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="the paper's size on the CPU too")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--limit", type=float, default=600, help="seconds a network may take")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="one device only")
    options = parser.parse_args()
    devices = [options.device] if options.device else ["cpu", *["cuda"] * torch.cuda.is_available()]
    for device in devices:
        print(
            f"\n{device}, batch {options.batch}, {options.precision}, {torch.get_num_threads()} thread(s)\n"
        )
        print("| paper | row | `kind` | image | parameters | seconds | processor seconds | peak MiB |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for number, entry in enumerate(ENTRIES):
            if options.only in entry.settings.kind:
                print(line(entry, apart(number, options, device)), flush=True)


if __name__ == "__main__":
    main()
