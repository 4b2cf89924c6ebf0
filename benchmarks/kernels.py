"""The kernels of `pipeline/training/gpu` one by one against cuDNN's and PyTorch's, on an accelerator.

Layers of DeepMTS at the paper's size (2×112×128×128, batch 8, width 1), in bf16 and channels-last
order: milliseconds by CUDA events, the time that the layer's bytes alone would take, and the largest
difference from cuDNN relative to the largest value. For each convolution several ways of folding
voxels into a segment are tried; the fastest is what `band_for` should choose.

    python -m benchmarks.kernels                    # all; 2 to 3 minutes, most of them compiling
    python -m benchmarks.kernels --only weights     # lines whose name contains a word
    python -m benchmarks.kernels --seconds 60       # begin no further line after a minute
    python -m benchmarks.kernels --compile 0/8      # beside 1/8 to 7/8: compile on eight cores first
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.gpu.bands import Band, mirrored

LAST = torch.channels_last_3d
BATCH, FULL, HALF = 8, (112, 128, 128), (56, 64, 64)
BYTES_PER_S = 3.0e12
"""Of an H100's memory, measured by copying; an H200's is 4.3e12."""


@dataclass(frozen=True)
class Line:
    """One measurement.

    Attributes:
        name: Layer, direction and variant.
        step: What is timed; gives a tensor.
        gigabytes: That must be read and written once.
        expected: The right result, None where there is nothing to compare.
    """

    name: str
    step: Callable[[], Tensor]
    gigabytes: float
    expected: Callable[[], Tensor] | None = None


def milliseconds(step: Callable[[], object], repeats: int = 5, together: int = 5) -> float:
    """Median time of a step on the card, of some steps in a row, after one row that is not counted."""
    times = []
    for _ in range(repeats + 1):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(together):
            step()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / together)
    return statistics.median(times[1:])


def image(channels: int, sides: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Random bf16 image on the card."""
    torch.manual_seed(seed)
    shape = (BATCH, channels, *sides)
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=LAST)


def convolutions() -> Iterator[Line]:
    """Every way of every few-channel convolution, beside cuDNN's."""
    layers = [
        (8, 8, 1, FULL), (24, 8, 1, FULL), (2, 8, 1, FULL), (16, 16, 1, HALF), (48, 16, 1, HALF),
        (24, 8, 0, FULL), (8, 4, 0, FULL), (32, 32, 1, (28, 32, 32)),
    ]  # fmt: skip
    for channels, filters, halo, sides in layers:
        yield from _outputs(channels, filters, halo, sides)
        if channels != 2:
            yield from _outputs(filters, channels, halo, sides, backward=True)
        yield from _weights(channels, filters, halo, sides)


def _folds(channels: int, filters: int, halo: int) -> list[Band]:
    folds = [(1, 1, 2), (1, 2, 2), (2, 2, 2), (1, 2, 4)] if halo else [(1, 1, 2), (1, 1, 4), (1, 1, 8)]
    found = []
    for fold in folds:
        columns = (fold[2] + 2 * halo) * channels
        block = min((64, 32, 16), key=lambda size: (-(-columns // size) * size, -size))
        band = Band(channels, filters, halo, fold, block)
        if band.outputs <= 256:
            found.append(band)
    return found


def _name(kind: str, band: Band) -> str:
    side = 2 * band.halo + 1
    fold = "×".join(map(str, band.fold))
    return f"{kind} {side}³ {band.channels}→{band.filters} fold {fold} block {band.block}"


def _gigabytes(channels: int, filters: int, sides: tuple[int, int, int]) -> float:
    return BATCH * sides[0] * sides[1] * sides[2] * (channels + filters) * 2 / 1e9


def _outputs(
    channels: int, filters: int, halo: int, sides: tuple[int, int, int], backward: bool = False
) -> Iterator[Line]:
    from pipeline.training.gpu.conv import Launch, output_of

    x, kind = image(channels, sides), "input gradient" if backward else "output"
    side, size = 2 * halo + 1, _gigabytes(channels, filters, sides)
    weight = torch.randn(filters, channels, side, side, side, device="cuda")
    narrow = weight.bfloat16().contiguous(memory_format=LAST)
    if backward:
        across = mirrored(narrow).contiguous(memory_format=LAST)
        seen = x.new_empty((BATCH, *sides, filters)).permute(0, 4, 1, 2, 3)

        def usual() -> Tensor:
            return _back(x, seen, across, halo, [True, False, False])[0]
    else:

        def usual() -> Tensor:
            return functional.conv3d(x, narrow, padding=halo)

    yield Line(f"{kind} {side}³ {channels}→{filters} cuDNN", usual, size)
    for band in _folds(channels, filters, halo):
        for way in (Launch(4, 1, 128), Launch(4, 3, 128), Launch(8, 2, 128)):
            name = f"{_name(kind, band)} warps {way.warps} stages {way.stages} at once {way.segments}"
            yield Line(name, lambda b=band, w=way: output_of(x, weight, b, w), size, usual)


def _weights(channels: int, filters: int, halo: int, sides: tuple[int, int, int]) -> Iterator[Line]:
    from pipeline.training.gpu.conv import Launch, weight_gradient

    x, g = image(channels, sides), image(filters, sides, 1)
    side, size = 2 * halo + 1, _gigabytes(channels, filters, sides)
    like = torch.empty(filters, channels, side, side, side, device="cuda", dtype=torch.bfloat16)
    like = like.contiguous(memory_format=LAST)

    def usual() -> Tensor:
        return _back(g, x, like, halo, [False, True, False])[1]

    yield Line(f"weights {side}³ {channels}→{filters} cuDNN", usual, size)
    for band in _folds(channels, filters, halo)[1:3]:
        tried = ((4, 1, 128, 0), (4, 2, 128, 0), (4, 3, 64, 0), (8, 1, 128, 8), (8, 2, 128, 0))
        ways = [(Launch(warps, stages, together), units) for warps, stages, together, units in tried]
        for way, units in ways:
            name = f"{_name('weights', band)} warps {way.warps} stages {way.stages} at once {way.segments}"
            yield Line(
                f"{name} units {units}",
                lambda b=band, w=way, u=units: weight_gradient(x, g, b, w, u),
                size,
                usual,
            )


def _back(g: Tensor, x: Tensor, weight: Tensor, halo: int, wanted: list[bool]) -> tuple[Tensor, ...]:
    ones = [1, 1, 1]
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        g, x, weight, None, ones, [halo] * 3, ones, False, [0] * 3, 1, wanted
    )
    return found


def others() -> Iterator[Line]:
    """Normalisation with ReLU and addition, pooling, upsampling; forward and backward together."""
    from pipeline.training.gpu.join import upsample_and_join
    from pipeline.training.gpu.norm import normalise_rectify_add
    from pipeline.training.gpu.pool import max_pool

    def both(call: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], Tensor]:
        @functools.cache
        def prepared() -> tuple[list[Tensor], Tensor]:
            leaves = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs]
            return leaves, torch.randn_like(call(*leaves))

        def step() -> Tensor:
            leaves, gradient = prepared()
            result = call(*leaves)
            torch.autograd.grad(result, leaves, gradient)
            return result.detach()

        return step

    for channels, sides in ((8, FULL), (16, HALF), (32, (28, 32, 32)), (4, FULL)):
        norm = torch.nn.BatchNorm3d(channels).cuda()
        x, added = image(channels, sides), image(channels, sides, 1)
        usual = both(lambda a, b, n=norm: torch.relu_(n(a)) + b, x, added)
        size = 8 * x.nbytes / 1e9
        yield Line(f"norm {channels} PyTorch", usual, size)
        ours = both(lambda a, b, n=norm: normalise_rectify_add(a, n, None, b), x, added)
        yield Line(f"norm {channels} ours", ours, size, usual)
    x, fine = image(16, HALF), image(8, FULL, 1)

    def plain_join(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([functional.interpolate(a, scale_factor=2.0, mode="nearest"), b], 1)

    size = 7 * fine.nbytes / 1e9
    yield Line("join 16+8 PyTorch", both(plain_join, x, fine), size)
    yield Line("join 16+8 ours", both(upsample_and_join, x, fine), size, both(plain_join, x, fine))
    size = 2.5 * fine.nbytes / 1e9
    plain_pool = both(lambda a: functional.max_pool3d(a, 2, ceil_mode=True), fine)
    yield Line("pool 8 PyTorch", plain_pool, size)
    yield Line("pool 8 ours", both(lambda a: max_pool(a, 2, 2, True), fine), size, plain_pool)


def show(line: Line) -> None:
    """Measure and print one line."""
    try:
        spent = milliseconds(line.step)
        error = ""
        if line.expected is not None:
            want, got = line.expected().float(), line.step().float()
            error = f"{float((got - want).abs().max() / want.abs().max()):9.1e}"
    except Exception as problem:  # one variant that a card refuses must not end the table
        print(f"{line.name:66} {type(problem).__name__}: {str(problem).splitlines()[0][:60]}", flush=True)
        return
    floor = 1e12 * line.gigabytes / BYTES_PER_S
    print(f"{line.name:66}{spent:8.3f}{floor:8.3f}{error}", flush=True)


def main() -> None:
    """Measure and print, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="lines whose name contains this")
    parser.add_argument("--seconds", type=float, default=300.0, help="no further line after this time")
    parser.add_argument("--compile", default="", help="only compile every n-th line from the i-th on: i/n")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    first, step = map(int, (options.compile or "0/1").split("/"))
    end = time.monotonic() + options.seconds
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"{'':66}{'ms':>8}{'bytes':>8}{'error':>9}", flush=True)
    number = 0
    for source in (others, convolutions):
        for line in source():
            if options.only in line.name and time.monotonic() < end:
                if options.compile and number % step == first:
                    with contextlib.suppress(Exception):  # the run that measures says what fails
                        line.step()
                elif not options.compile:
                    show(line)
                number += 1


if __name__ == "__main__":
    main()
