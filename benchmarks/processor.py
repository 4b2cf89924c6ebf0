"""What each computation of `pipeline/training/cpu/` gains alone, and our optimizer against `torch.optim`.

    OMP_NUM_THREADS=1 python benchmarks/processor.py --side 64 --batch 8 --pairs 3

Forward and backward of DeepMTS in channels-last order, as it is ("plain": bf16 where the processor
multiplies in it, else float32) and with one replacement at a time. Steps are taken in alternating
pairs, plain and replaced, and the ratio of each pair's processor time is taken, so that other work
on the machine disturbs both alike; the table holds medians of the ratios. A replacement below 0.95
earns its place.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import engine

from pipeline.losses.combined import combined_loss
from pipeline.nets.registry import build
from pipeline.settings.networks.deepmts import DeepMts
from pipeline.training.cpu import conv3d_bf16, dropout, norm
from pipeline.training.cpu.malloc import keep_freed_memory
from pipeline.training.device import DeviceConfig, has_bf16

Step = Callable[[], None]
Context = Callable[[], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def never_paired() -> Iterator[None]:
    """Weight gradients as oneDNN computes them; thin convolutions stay in float32, or they are wrong."""
    real = conv3d_bf16.gains_from_pairs
    conv3d_bf16.gains_from_pairs = lambda module, image: False
    try:
        yield
    finally:
        conv3d_bf16.gains_from_pairs = real


def nothing(net: torch.nn.Module) -> None:
    """Leave the network as it is."""


def everything(net: torch.nn.Module) -> None:
    """All replacements at once."""
    dropout.draw_four_at_a_time(net)
    norm.normalise_rows(net)


VARIANTS: dict[str, tuple[Callable[[torch.nn.Module], None], list[Context]]] = {
    "weight gradients from pairs of voxels": (nothing, []),
    "dropout, four decisions a number": (dropout.draw_four_at_a_time, [never_paired]),
    "batch normalisation on rows": (norm.normalise_rows, [never_paired]),
    "freed memory stays": (nothing, [never_paired, keep_freed_memory]),
    "all of them": (everything, [keep_freed_memory]),
}


def make_step(
    options: argparse.Namespace, data: engine.Arrays, change: Callable[[torch.nn.Module], None]
) -> Step:
    """Forward and backward of a batch."""
    torch.manual_seed(0)
    device, settings = torch.device("cpu"), DeepMts(width=options.width, clinical=("clinical_x",))
    bf16 = has_bf16(device)
    config = DeviceConfig(device, bf16, channels_last=True)
    net = build(settings, 2, 1)
    if bf16:
        conv3d_bf16.choose_by_input_size(net)
    change(net)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            module.to(memory_format=torch.channels_last_3d)
    drawn = {name: torch.from_numpy(values) for name, values in data.items()}
    image = config.to_memory_format(drawn["image"])
    targets = {name: drawn[name] for name in ("time", "event")} | {"mask": drawn["mask"].float()}

    def step() -> None:
        net.zero_grad()
        with config.autocast():
            outputs = net(image, drawn["clinical"], targets["mask"])
        outputs = {name: value.float() for name, value in outputs.items()}
        combined_loss(outputs, targets, settings.losses, net.penalised_weights())[0].backward()

    return step


def processor_seconds(step: Step, contexts: list[Context]) -> float:
    """User and system time of a step."""
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context())
        begun = time.process_time()
        step()
        return time.process_time() - begun


def compare(options: argparse.Namespace) -> None:
    """Print each replacement's time as a ratio to the plain step."""
    data = engine.synthetic(options.batch, (options.side,) * 3)
    plain = make_step(options, data, nothing)
    processor_seconds(plain, [never_paired])
    for name, (change, contexts) in VARIANTS.items():
        step = make_step(options, data, change)
        processor_seconds(step, contexts)
        pairs = []
        for number in range(options.pairs):
            if number % 2:
                after, before = processor_seconds(step, contexts), processor_seconds(plain, [never_paired])
            else:
                before, after = processor_seconds(plain, [never_paired]), processor_seconds(step, contexts)
            pairs.append((before, after))
        ratio = statistics.median(after / before for before, after in pairs)
        seconds = statistics.median(before for before, _ in pairs)
        print(f"{name:42} {ratio:6.3f} of the plain {seconds:.2f} s", flush=True)


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    print(platform.processor() or platform.machine(), torch.__version__, f"{torch.get_num_threads()} threads")
    compare(options)


if __name__ == "__main__":
    main()
