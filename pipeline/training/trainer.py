"""The training loop: batches, optimizer steps, validations and checkpoints until the last iteration."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.as_planned import require_as_planned
from pipeline.console import progress as progress_bar
from pipeline.errors import Interrupted, TrainingError
from pipeline.tables.whole import write_bytes
from pipeline.training.batches import training_batch
from pipeline.training.checkpoint import (
    Fingerprint,
    check_fingerprint,
    pack,
    random_states,
    restore_random_states,
    whole_or_removed,
)
from pipeline.training.context import TrainContext
from pipeline.training.graph import StepGraph, step_graph
from pipeline.training.interruptions import SigtermFlag, explained_out_of_memory
from pipeline.training.optimizer import Optimizer, learning_rate
from pipeline.training.progress import TENSORBOARD_FOLDER, Progress, TensorBoardLogger, history_csv
from pipeline.training.risk_bank import RiskBank
from pipeline.training.step import loss_and_gradients
from pipeline.training.validation import score_patients

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors

log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
HISTORY = "history.csv"
FLUSH_EVERY = 16
"""On an accelerator losses are fetched in groups of so many: each fetch waits for the device."""


@dataclass(frozen=True)
class PendingLoss:
    """The loss of an iteration that still lies on the device.

    Attributes:
        iteration: Number of the iteration.
        ids: Patient ids of its batch.
        values: `loss` and its terms by name.
    """

    iteration: int
    ids: tuple[str, ...]
    values: Tensors


@dataclass
class Stopwatch:
    """Time that this process has spent.

    Attributes:
        steps: Number of iterations.
        step_seconds: Seconds in iterations.
        validation_seconds: Seconds in validations.
    """

    steps: int = 0
    step_seconds: float = 0.0
    validation_seconds: float = 0.0


@dataclass
class TrainState:
    """A run under way.

    Attributes:
        context: What stays the same through the run.
        monitored: Row numbers by set of the patients scored during training (`validation`, `test`).
        fingerprint: Fingerprint of settings, data and code.
        work: Folder of its checkpoint.
        optimizer: The optimizer with its moments.
        risk_bank: Recent log-hazards.
        progress: How far the run has come.
        graph: Whether steps are replayed as one CUDA graph, and the graph.
        tensorboard: TensorBoard's event file while the loop runs, if it is asked for.
        pending: Losses that have not been fetched from the device yet.
        stopwatch: Time spent in steps and in validations.
    """

    context: TrainContext
    monitored: dict[str, list[int]]
    fingerprint: Fingerprint
    work: Path
    optimizer: Optimizer
    risk_bank: RiskBank
    progress: Progress
    graph: StepGraph
    tensorboard: TensorBoardLogger | None = None
    pending: list[PendingLoss] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def changing(self) -> list[torch.Tensor]:
        """Everything that a step changes beside gradients."""
        net = self.context.net
        return [*net.parameters(), *net.buffers(), *self.optimizer.tensors()]


def start_run(
    context: TrainContext, monitored: dict[str, list[int]], fingerprint: Fingerprint, work: Path
) -> TrainState:
    """A run from its checkpoint in `work` if there is a whole one, else from the beginning.

    Raises:
        CheckpointError: The checkpoint belongs to other settings, data or code.
    """
    device, training = context.device_config.device, context.training
    optimizer = Optimizer(context.net, training, scaled=context.device_config.fp16)
    risk_bank, graph = RiskBank(training.risk_bank_size, device), step_graph(context)
    run = TrainState(context, monitored, fingerprint, work, optimizer, risk_bank, Progress(), graph)
    path = work / CHECKPOINT
    content = whole_or_removed(path) if path.exists() else None
    if content is not None:
        check_fingerprint(path, content["fingerprint"], fingerprint)
        context.net.load_state_dict(content["net"])
        optimizer.restore(content["optimizer"])
        risk_bank.restore(content["risk_bank"])
        run.progress = Progress.from_state(content["progress"])
        restore_random_states(content["random"], device)
        log.info("going on from iteration %d (%s)", run.progress.iteration, path)
    return run


def run_training(run: TrainState) -> None:
    """Train until the last iteration, or until patience runs out.

    Raises:
        TrainingError: The loss is not finite (the message names the batch's patients), or memory
            does not suffice.
        Interrupted: SIGTERM was received; the run is saved.
    """
    training, progress = run.context.training, run.progress
    run.context.net.train()
    title = f"training from {progress.iteration}" if progress.iteration else "training"
    bar = progress_bar(range(progress.iteration, training.iterations), title=title)
    saved = progress.iteration
    with SigtermFlag() as sigterm, _tensorboard(run), explained_out_of_memory(lambda: _place(run)):
        for iteration in bar:
            if progress.is_finished(training):
                break
            train_step(run, iteration)
            is_due = progress.iteration % training.validate_every == 0 or progress.is_finished(training)
            if is_due or training.records(progress.iteration):
                _show(bar, validate(run, chooses=is_due))
            if progress.iteration % training.checkpoint_every == 0:
                save_checkpoint(run)
                saved = progress.iteration
            if sigterm.received:
                sigterm.stop_clock()
                save_checkpoint(run)
                raise Interrupted(
                    "stopped by SIGTERM; nothing is lost",
                    where=f"iteration {progress.iteration} of {training.iterations}",
                    action=f"run the same command again: it goes on from {run.work / CHECKPOINT}",
                )
    if saved != progress.iteration:
        save_checkpoint(run)


def train_step(run: TrainState, iteration: int) -> None:
    """One iteration: take a batch, compute loss and gradients, update the weights."""
    begun = time.perf_counter()
    context = run.context
    batch = _augmented_batch(context, iteration)
    run.optimizer.learning_rate = _learning_rate(run, iteration)
    replayed = run.graph.replay(batch, lambda fixed: _whole_step(run, fixed), run.changing)
    values = _losses(run, batch) if replayed is None else replayed
    run.pending.append(PendingLoss(iteration, batch.ids, values))
    if context.device_config.device.type == "cpu" or len(run.pending) >= FLUSH_EVERY:
        flush_losses(run)
    if replayed is None:
        run.optimizer.step()
    run.progress.iteration = iteration + 1
    run.stopwatch.steps += 1
    run.stopwatch.step_seconds += time.perf_counter() - begun


def _losses(run: TrainState, batch: Batch) -> Tensors:
    """Loss of a batch and its terms; gradients are left in the parameters."""
    context, optimizer = run.context, run.optimizer
    optimizer.zero_grad()
    loss, terms = loss_and_gradients(context, batch, run.risk_bank, optimizer.loss_scale)
    # As in validation, the L2 term is reported beside the loss, not in it.
    reported = loss - context.losses.l2 * terms["l2"] if "l2" in terms else loss
    return {"loss": reported, **terms}


def _whole_step(run: TrainState, batch: Batch) -> Tensors:
    values = _losses(run, batch)
    run.optimizer.step()
    return values


def _augmented_batch(context: TrainContext, iteration: int) -> Batch:
    """The batch of an iteration, a function of seed and iteration; the next one is announced."""
    seed = int(np.random.SeedSequence([context.seed, iteration]).generate_state(1, np.uint64)[0] >> 1)
    rows = context.sampler.batch_at(iteration)
    batch = training_batch(context.cohort, rows, context.training.augment, seed)
    context.cohort.announce(context.sampler.batch_at(iteration + 1))
    return batch


def _learning_rate(run: TrainState, iteration: int) -> float:
    training = run.context.training
    return learning_rate(training.schedule, iteration, training.iterations)


def flush_losses(run: TrainState) -> None:
    """Fetch the pending losses from the device and stop at the first that is not finite.

    Raises:
        TrainingError: A loss is not finite; with iteration, terms and patient ids of the batch.
    """
    pending, run.pending = run.pending, []
    # One transfer for all of them: every single one would wait for the device.
    fetched = iter(_numbers([value for entry in pending for value in entry.values.values()]))
    for entry in pending:
        values = {name: next(fetched) for name in entry.values}
        if not all(math.isfinite(value) for value in values.values()):
            raise TrainingError(
                "the loss is not a finite number",
                where=f"iteration {entry.iteration}, patients {', '.join(entry.ids)}",
                got=", ".join(f"{name} {value:g}" for name, value in values.items()),
                action="check these patients' crops; lower training.schedule.learning_rate; or set "
                "training.precision: fp32",
            )
        run.progress.recent.append(values)


def _numbers(values: list[torch.Tensor]) -> list[float]:
    import torch

    numbers: list[float] = torch.stack(values).tolist() if values else []
    return numbers


def validate(run: TrainState, *, chooses: bool = True) -> str:
    """Score the monitored patients, add to the history, and, where this `chooses`, keep the network if it is the best.

    Returns:
        Loss, Dice and C-index of each set, for the progress bar.
    """
    begun = time.perf_counter()
    flush_losses(run)
    context, progress = run.context, run.progress
    rate = _learning_rate(run, progress.iteration - 1)
    logged = len(progress.history)
    progress.add_training_row(rate)
    shown = [f"loss {progress.history[-1]['loss']:.3f}"]
    selecting = context.training.checkpoint_selection.removeprefix("best_")
    for name, rows in run.monitored.items():
        scores = score_patients(context, rows)
        progress.add_scores(name, scores, rate)
        shown.append(f"{name} {scores.loss:.3f} Dice {scores.dice:.2f} C {scores.c_index:.2f}")
        if chooses and name == selecting:
            progress.keep_if_best(scores, context.net, context.training)
    summary = ", ".join(shown)
    if chooses:
        log.info("iteration %d: %s", progress.iteration, summary)
        # Written whole each time, so not for every row of a fine history.
        write_bytes(run.work / HISTORY, history_csv(progress.history))
    if run.tensorboard is not None:
        run.tensorboard.add(progress.history[logged:])
    run.stopwatch.validation_seconds += time.perf_counter() - begun
    return summary


def save_checkpoint(run: TrainState) -> None:
    """Write the checkpoint, after checking every loss, so that no broken weights are saved."""
    flush_losses(run)
    require_as_planned()
    content: dict[str, Any] = {
        "fingerprint": dict(run.fingerprint),
        "net": run.context.net.state_dict(),
        "optimizer": run.optimizer.state(),
        "risk_bank": run.risk_bank.state(),
        "progress": run.progress.state(),
        "random": random_states(run.context.device_config.device),
    }
    write_bytes(run.work / CHECKPOINT, pack(content))


def _place(run: TrainState) -> str:
    return f"iteration {run.progress.iteration}, batches of {run.context.training.batch}"


def _show(bar: Any, summary: str) -> None:
    if hasattr(bar, "set_postfix_str"):
        bar.set_postfix_str(summary)


@contextlib.contextmanager
def _tensorboard(run: TrainState) -> Iterator[None]:
    """Keep TensorBoard's event file open, where the settings ask for one."""
    if run.context.training.tensorboard:
        run.tensorboard = TensorBoardLogger(run.work / TENSORBOARD_FOLDER, run.progress.iteration)
    try:
        yield
    finally:
        if run.tensorboard is not None:
            run.tensorboard.close()
