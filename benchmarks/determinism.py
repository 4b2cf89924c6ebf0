"""Whether training on an accelerator repeats bit for bit, and what that costs: for anybody with a card.

    python -m benchmarks.determinism                    # every part, a table, exit code 1 where one fails
    python -m benchmarks.determinism --part killed      # one of them
    python -m benchmarks.determinism --device cpu       # what a processor can show of it

Needs PyTorch, NumPy, pandas and pydantic. Every part runs in processes of its own and has a limit:

- repeated: the same training twice in deterministic mode, in two processes: same weights, moments, history;
- killed: the same, killed twice with SIGKILL and started again: the same bytes;
- graph: the same with kernels launched one by one instead of a CUDA graph: the same bytes;
- float16: the same in float16 with a scaled loss, replayed and launched one by one, one step skipped;
- refused: steps that cannot be recorded: the reason is said, and nothing but the speed changes;
- networks: one step of every network of the papers' tables, twice, and recorded: the same bytes;
- speed: milliseconds of a step of the demo's network and of DeepMTS at the paper's size, in deterministic
  mode and without, replayed and launched one by one;
- kernels: where a step of DeepMTS at the paper's size spends its time in either mode.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KILLS = (5, 4)
"""Iterations after which a process is killed; checkpoints are two apart, so that each gets further."""


@dataclass(frozen=True)
class Outcome:
    """What a part has shown: one line, and whether it is as it should be."""

    passed: bool
    text: str


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        run: Does it, given the device.
        limit: Seconds.
    """

    run: Callable[[str, float], Outcome]
    limit: float


def worker(*words: str) -> subprocess.Popen[str]:
    """A process that does one thing (`determinism_worker.py`)."""
    command = [sys.executable, "-u", "-m", "benchmarks.determinism_worker", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def lines_of(process: subprocess.Popen[str], deadline: float) -> list[str]:
    """What a process prints until it ends; it is killed at the deadline.

    Raises:
        RuntimeError: It failed or took too long; with its last lines.
    """
    try:
        printed, _ = process.communicate(timeout=max(deadline - time.monotonic(), 1))
    except subprocess.TimeoutExpired:
        process.kill()
        printed, _ = process.communicate()
        raise RuntimeError("took too long\n" + "\n".join(_telling(printed.splitlines()))) from None
    lines = printed.splitlines()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}\n" + "\n".join(_telling(lines)))
    return lines


def _telling(lines: list[str]) -> list[str]:
    """The rows of a table that is not whole, and the last lines."""
    rows = [line for line in lines[:-12] if line.startswith("| ")]
    return [*rows, *lines[-12:]]


def value_of(lines: list[str], name: str) -> str:
    """What stands behind a name in a worker's lines; empty where it does not stand there."""
    found = [line.split(" ", 1)[1] for line in lines if line.startswith(f"{name} ")]
    return found[-1] if found else ""


def pair(first: list[str], second: list[str], device: str, limit: float) -> tuple[list[str], list[str]]:
    """Lines of two trainings that run at the same time."""
    deadline = time.monotonic() + limit
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        one, two = (worker("train", device, w, *given) for w, given in ((a, first), (b, second)))
        return lines_of(one, deadline), lines_of(two, deadline)


def compared(one: list[str], two: list[str]) -> Outcome:
    """Whether two trainings ended in the same bytes."""
    a, b = value_of(one, "digest"), value_of(two, "digest")
    told = [f"{a[:12]} and {b[:12]}", *(f"steps: {value_of(lines, 'launches')}" for lines in (one, two))]
    return Outcome(bool(a) and a == b, "; ".join(dict.fromkeys(told)))


def repeated(device: str, limit: float) -> Outcome:
    """The same training twice."""
    return compared(*pair([], [], device, limit))


def graph(device: str, limit: float) -> Outcome:
    """The same training, replayed and launched one by one."""
    one, two = pair([], ["cuda_graph=never"], device, limit)
    outcome = compared(one, two)
    replayed = value_of(one, "launches") == "one CUDA graph" or device == "cpu"
    return Outcome(outcome.passed and replayed, outcome.text)


def float16(device: str, limit: float) -> Outcome:
    """In float16, one overflow among the steps."""
    one, two = pair(["precision=fp16"], ["precision=fp16", "cuda_graph=never"], device, limit)
    outcome, skipped = compared(one, two), value_of(one, "skipped")
    return Outcome(
        outcome.passed and skipped == "1", f"{outcome.text}; {skipped} step skipped, as it should be"
    )


def killed(device: str, limit: float) -> Outcome:
    """The same training, killed twice."""
    deadline = time.monotonic() + limit
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as parts:
        uninterrupted = worker("train", device, whole)
        for iterations in KILLS:
            process = worker("train", device, parts)
            assert process.stdout is not None
            seen = 0
            while seen < iterations:
                line = process.stdout.readline()
                if not line or time.monotonic() > deadline:
                    process.kill()
                    raise RuntimeError("ended before it could be killed: " + line)
                seen += line.startswith("iteration ")
            process.send_signal(signal.SIGKILL)
            process.communicate()
        resumed = lines_of(worker("train", device, parts), deadline)
        outcome = compared(lines_of(uninterrupted, deadline), resumed)
    begun = value_of(resumed, "from")
    return Outcome(
        outcome.passed and begun != "0", f"{outcome.text}; the last process began at iteration {begun}"
    )


def told(name: str) -> Callable[[str, float], Outcome]:
    """A part that a worker does alone: its lines, and `failed` where something is wrong."""

    def run(device: str, limit: float) -> Outcome:
        lines = lines_of(worker(name, device, "-"), time.monotonic() + limit)
        shown = [line for line in lines if line.startswith("| ")]
        return Outcome("passed" in lines, "\n".join(["", *shown] if shown else lines[-6:]))

    return run


PARTS = {
    "repeated": Part(repeated, 60),
    "killed": Part(killed, 90),
    "graph": Part(graph, 60),
    "float16": Part(float16, 60),
    "refused": Part(told("refused"), 40),
    "speed": Part(told("speed"), 120),
    "networks": Part(told("networks"), 150),
    "kernels": Part(told("kernels"), 60),
}


def main() -> int:
    """Run the parts and print what they show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--part", choices=tuple(PARTS), action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--limit", type=float, help="seconds for each part, instead of its own limit")
    options = parser.parse_args()
    good = True
    for name in options.part or PARTS:
        part, begun = PARTS[name], time.monotonic()
        try:
            outcome = part.run(options.device, options.limit or part.limit)
        except RuntimeError as error:
            outcome = Outcome(False, str(error))
        good &= outcome.passed
        seconds = time.monotonic() - begun
        print(
            f"{'passed' if outcome.passed else 'FAILED'}  {name} ({seconds:.0f} s): {outcome.text}",
            flush=True,
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
