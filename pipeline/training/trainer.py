"""The loop: batches, steps, validations and checkpoints until the last iteration."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.console import progress as progress_bar
from pipeline.errors import Interrupted, TrainingError
from pipeline.training.batches import training_batch
from pipeline.training.checkpoint import (
    Fingerprint,
    check_fingerprint,
    pack,
    random_states,
    restore_random_states,
    unpack,
    write_atomically,
)
from pipeline.training.optimizer import Optimizer
from pipeline.training.progress import Progress, history_csv
from pipeline.training.risk_bank import RiskMemory
from pipeline.training.schedule import learning_rate
from pipeline.training.step import TrainContext, loss_and_gradients
from pipeline.training.tensorboard import FOLDER, TensorBoardLogger
from pipeline.training.validate import validate

if TYPE_CHECKING:
    from pipeline.training.batches import Tensors

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
HISTORY = "history.csv"
# On an accelerator losses are looked at in groups: each look waits for the device.
LOOK_EVERY = 16


@dataclass
class TrainState:
    """A run under way.

    Attributes:
        bench: What stays the same.
        sets: Row numbers of the patients looked at while training (`validation`, `test`).
        fingerprint: Of settings, data and code.
        work: Folder of its checkpoint.
        optimizer: With its moments.
        memory: Of log-hazards.
        progress: How far it has come.
        board: TensorBoard's event file, or None.
        waiting: Losses on the device that nobody has looked at yet.
        seconds: Spent in steps and in validations, of this process.
    """

    bench: TrainContext
    sets: dict[str, list[int]]
    fingerprint: Fingerprint
    work: Path
    optimizer: Optimizer
    memory: RiskMemory
    progress: Progress
    board: TensorBoardLogger | None = None
    waiting: list[tuple[int, tuple[str, ...], Tensors]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"steps": 0.0, "validation": 0.0})
    steps: int = 0


def start_run(
    bench: TrainContext, sets: dict[str, list[int]], fingerprint: Fingerprint, work: Path
) -> TrainState:
    """A run from its checkpoint in `work` if there is one, else from the beginning.

    Raises:
        CheckpointError: The checkpoint is broken or belongs to other settings, data or code.
    """
    optimizer = Optimizer(bench.net, bench.training)
    memory = RiskMemory(bench.training.risk_bank_size, bench.machine.device)
    run = TrainState(bench, sets, fingerprint, work, optimizer, memory, Progress())
    path = work / CHECKPOINT
    if path.exists():
        content = unpack(path)
        check_fingerprint(path, content["fingerprint"], fingerprint)
        bench.net.load_state_dict(content["net"])
        optimizer.restore(content["optimizer"])
        memory.restore(content["memory"])
        run.progress = Progress.from_state(content["progress"])
        restore_random_states(content["random"], bench.machine.device)
        log.info("going on from iteration %d (%s)", run.progress.iteration, path)
    if bench.training.tensorboard:
        run.board = TensorBoardLogger(work / FOLDER, run.progress.iteration)
    return run


def save(run: TrainState) -> None:
    """Write the checkpoint, after looking at every loss there is: broken weights are not kept."""
    flush_losses(run)
    content: dict[str, Any] = {
        "fingerprint": dict(run.fingerprint),
        "net": run.bench.net.state_dict(),
        "optimizer": run.optimizer.state(),
        "memory": run.memory.state(),
        "progress": run.progress.state(),
        "random": random_states(run.bench.machine.device),
    }
    write_atomically(run.work / CHECKPOINT, pack(content))


def train(run: TrainState) -> None:
    """Go on until the last iteration, or until patience runs out.

    Raises:
        TrainingError: A loss that is not finite, with the batch's patient ids; memory that
            does not suffice.
        Interrupted: SIGTERM, after saving.
    """
    import torch

    training = run.bench.training
    run.bench.net.train()
    title = f"training from {run.progress.iteration}" if run.progress.iteration else "training"
    bar = progress_bar(range(run.progress.iteration, training.iterations), title=title)
    saved = run.progress.iteration
    with Termination() as termination:
        try:
            for iteration in bar:
                if run.progress.finished(training):
                    break
                _advance(run, iteration)
                if run.progress.iteration % training.validate_every == 0 or run.progress.finished(training):
                    _look_at_sets(run, bar)
                if run.progress.iteration % training.checkpoint_every == 0:
                    save(run)
                    saved = run.progress.iteration
                if termination.asked:
                    save(run)
                    raise Interrupted(
                        "stopped by SIGTERM; nothing is lost",
                        where=f"iteration {run.progress.iteration} of {training.iterations}",
                        action=f"run the same command again: it goes on from {run.work / CHECKPOINT}",
                    )
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                "the device's memory does not suffice",
                where=f"iteration {run.progress.iteration}, batches of {training.batch}",
                got=str(error).splitlines()[0] if str(error) else "",
                action="raise training.gradient_accumulation (parts a batch is run in), lower training.batch, "
                "set training.precision: bf16, or make the crop smaller",
            ) from None
        finally:
            if run.board is not None:
                run.board.close()
    if saved != run.progress.iteration:
        save(run)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch on a CPU says it by a RuntimeError."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _advance(run: TrainState, iteration: int) -> None:
    """One iteration: draw, augment, step."""
    begun = time.perf_counter()
    bench, training = run.bench, run.bench.training
    rate = learning_rate(training.schedule, iteration, training.iterations)
    run.optimizer.rate = rate
    rows = bench.sampler.batch_at(iteration)
    seed = int(np.random.SeedSequence([bench.seed, iteration]).generate_state(1, np.uint64)[0] >> 1)
    batch = training_batch(bench.cohort, rows, training.augment, seed)
    if bench.cohort.feed is not None:
        bench.cohort.feed.ahead(bench.sampler.batch_at(iteration + 1))
    run.optimizer.zero_grad()
    loss, parts = loss_and_gradients(bench, batch, run.memory)
    # As in validation, the L2 term stands beside the loss, not in it.
    fitted = loss - bench.losses.l2 * parts["l2"] if "l2" in parts else loss
    run.waiting.append((iteration, batch.ids, {"loss": fitted, **parts}))
    if bench.machine.device.type == "cpu" or len(run.waiting) >= LOOK_EVERY:
        flush_losses(run)
    run.optimizer.step()
    run.progress.iteration = iteration + 1
    run.steps += 1
    run.seconds["steps"] += time.perf_counter() - begun


def flush_losses(run: TrainState) -> None:
    """Fetch the losses of the last iterations and stop at the first that is not finite.

    Raises:
        TrainingError: With iteration, terms and patient ids of the batch.
    """
    waiting, run.waiting = run.waiting, []
    for iteration, ids, values in waiting:
        numbers = {name: float(value) for name, value in values.items()}
        if not all(math.isfinite(number) for number in numbers.values()):
            raise TrainingError(
                "the loss is not a finite number",
                where=f"iteration {iteration}, patients {', '.join(ids)}",
                got=", ".join(f"{name} {number:g}" for name, number in numbers.items()),
                action="look at these patients' crops; lower training.schedule.learning_rate; or set "
                "training.precision: fp32",
            )
        run.progress.recent.append(numbers)


def _look_at_sets(run: TrainState, bar: Any) -> None:
    """Validate, add to the history, keep the best network, tell the terminal."""
    begun = time.perf_counter()
    flush_losses(run)
    training, state = run.bench.training, run.progress
    rate = learning_rate(training.schedule, state.iteration - 1, training.iterations)
    known = len(state.history)
    state.add_training_row(rate)
    shown = [f"loss {state.history[-1]['loss']:.3f}"]
    chooser = training.checkpoint_selection.removeprefix("best_")
    for name, rows in run.sets.items():
        scores = validate(run.bench, rows)
        state.add_scores(name, scores, rate)
        shown.append(f"{name} {scores.loss:.3f} Dice {scores.dice:.2f} C {scores.c_index:.2f}")
        if name == chooser:
            state.consider(scores, run.bench.net, training)
    log.info("iteration %d: %s", state.iteration, ", ".join(shown))
    write_atomically(run.work / HISTORY, history_csv(state.history))
    if run.board is not None:
        run.board.add(state.history[known:])
    if hasattr(bar, "set_postfix_str"):
        bar.set_postfix_str(", ".join(shown))
    run.seconds["validation"] += time.perf_counter() - begun


class Termination:
    """Notices SIGTERM, a cluster's warning, without losing the iteration under way."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Termination:
        # Signals reach the main thread only; elsewhere (a test's thread) there is nothing to hear.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._hear)
        return self

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def monitored_sets(training_select: str, sets: dict[str, list[int]]) -> dict[str, list[int]]:
    """Which sets are looked at while training: validation patients, and test patients only
    where the study chose to select on them."""
    names: Sequence[str] = ("validation", "test") if training_select == "best_test" else ("validation",)
    return {name: sets[name] for name in names if sets[name]}
