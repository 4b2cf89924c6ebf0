"""A training step recorded once as a CUDA graph and replayed for every batch.

A step of a small network is thousands of kernels of a few microseconds each, and launching them one
by one takes the processor longer than the accelerator needs to run them. A graph is launched whole.
It is the same kernels on the same addresses in the same order, so that a replay computes what the
step would have computed. What it needs: fixed shapes, no look at a result from the processor, and a
batch that is copied to where the recorded kernels read it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.training.batches import Batch
from pipeline.training.checkpoint import random_states, restore_random_states
from pipeline.training.interruptions import is_out_of_memory

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Tensors
    from pipeline.training.context import TrainContext

log = logging.getLogger(__name__)
Step = Callable[[Batch], "Tensors"]
"""Loss, gradients and update of one batch; gives the loss and its terms by name, scalars on the device."""
WHOLE = "one CUDA graph"
"""How a step is launched where it is recorded, for the log and `timing.json`."""


class NotRecordable(Exception):
    """A step cannot be a CUDA graph; the message says why."""


@dataclass(frozen=True)
class RecordedStep:
    """A step that can be replayed.

    Attributes:
        batch: The tensors that a replay reads.
        names: Names of the loss and its terms.
        values: Where a replay leaves them, one number each.
        replay: Runs the step on what `batch` holds.
    """

    batch: Batch
    names: tuple[str, ...]
    values: torch.Tensor
    replay: Callable[[], None]

    def fits(self, batch: Batch) -> bool:
        """Whether a batch has the shapes and types that were recorded."""
        return _kinds(batch) == _kinds(self.batch)

    def run(self, batch: Batch) -> Tensors:
        """The step on another batch of the same shapes; the loss and its terms, scalars on the device."""
        import torch

        mine, given = _distinct(self.batch), _tensors(batch)
        torch._foreach_copy_(list(mine.values()), [given[name] for name in mine])
        self.replay()
        return dict(zip(self.names, self.values.clone().unbind(), strict=True))


@dataclass
class StepGraph:
    """Whether the steps of a run are replayed, and what is replayed.

    Attributes:
        refusal: Why kernels are launched one by one; empty where the step is, or will be, recorded.
        recorded: The step, once it is recorded.
    """

    refusal: str
    recorded: RecordedStep | None = field(default=None, repr=False)

    def launches(self) -> str:
        """How the steps are launched, in words."""
        return f"one by one ({self.refusal})" if self.refusal else WHOLE

    def replay(self, batch: Batch, step: Step, state: Callable[[], Sequence[torch.Tensor]]) -> Tensors | None:
        """The step on a batch, weights updated; None, and nothing done, where it is not recorded.

        Args:
            batch: The batch. At the first one the step is recorded, or why that is not possible is
                noted and said once.
            step: The step.
            state: Gives everything that it changes: parameters, buffers, the optimizer's tensors. Recording
                leaves them, and the random generators, as they were.

        Returns:
            The loss and its terms by name, scalars on the device.
        """
        if self.refusal:
            return None
        if self.recorded is None:
            try:
                with _unchanged(state(), batch.image.device):
                    self.recorded = _record(step, batch)
                log.info("the training step is replayed as one CUDA graph")
            except NotRecordable as error:
                self.refusal = str(error)
                log.warning("no CUDA graph, kernels are launched one by one: %s", error)
                return None
        return self.recorded.run(batch) if self.recorded.fits(batch) else None


def step_graph(context: TrainContext) -> StepGraph:
    """What settings and device allow; the first batch decides the rest."""
    training = context.training
    if context.device_config.device.type != "cuda":
        return StepGraph("no accelerator")
    if training.cuda_graph == "never":
        return StepGraph("training.cuda_graph: never")
    if training.gradient_accumulation > 1:
        return StepGraph("training.gradient_accumulation runs a batch in parts with the same random state")
    if training.risk_bank_size:
        return StepGraph("training.risk_bank_size makes risk sets whose size depends on the batch")
    return StepGraph("")


@contextmanager
def _unchanged(state: Sequence[torch.Tensor], device: torch.device) -> Iterator[None]:
    """Put tensors and random generators back to what they were."""
    import torch

    with torch.no_grad():
        before = [tensor.detach().clone() for tensor in state]
    random = random_states(device)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        restore_random_states(random, device)


def _record(step: Step, batch: Batch) -> RecordedStep:
    """Warm up, look for what cannot be recorded, record.

    Raises:
        NotRecordable: The step waits for a result, or memory does not suffice to keep it whole.
    """
    import torch

    device = batch.image.device
    with torch.cuda.device(device):
        static = _map_tensors(batch, lambda tensor: tensor.detach().clone())
        # The same stream throughout: autograd remembers on which one it met a parameter.
        stream, caller = torch.cuda.Stream(device), torch.cuda.current_stream(device)
        stream.wait_stream(caller)
        try:
            with torch.cuda.stream(stream):
                names = _warm_up(step, static)
            return _capture(step, static, names, stream)
        finally:
            torch.cuda.set_stream(caller)  # which a broken recording does not do
            caller.wait_stream(stream)


def _warm_up(step: Step, static: Batch) -> tuple[str, ...]:
    """Run the step twice: libraries choose kernels and take memory at their first call.

    The second time a wait for the accelerator is an error. Found here it costs nothing; inside a
    recording it would leave the random generators and the memory pool in between.
    """
    import torch

    names = tuple(step(static))
    watched = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this mode does not find every kind of wait
        torch.cuda.set_sync_debug_mode("error")
    try:
        step(static)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        reason = "a layer or a loss of this network waits for results of the accelerator"
        raise NotRecordable(reason) from error
    finally:
        torch.cuda.set_sync_debug_mode(watched)
    return names


def _capture(step: Step, static: Batch, names: tuple[str, ...], stream: torch.cuda.Stream) -> RecordedStep:
    import torch

    graph = torch.cuda.CUDAGraph()
    try:
        # Another thread may fetch the next batch meanwhile, which is no part of the step.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            values = torch.stack(list(step(static).values()))
    except RuntimeError as error:
        # A broken recording leaves its mark on the generator, which refuses to draw from then on.
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        generator.graphsafe_set_state(torch.Generator(static.image.device).graphsafe_get_state())
        if is_out_of_memory(error):
            torch.cuda.empty_cache()
            raise NotRecordable("the device's memory does not suffice to keep a whole step") from error
        raise NotRecordable(f"this step cannot be recorded: {str(error).splitlines()[0]}") from error
    return RecordedStep(static, names, values, graph.replay)


def _tensors(batch: Batch) -> Tensors:
    """Tensors of a batch by name."""
    fixed = {"rows": batch.rows, "image": batch.image}
    clinical = {} if batch.clinical is None else {"clinical": batch.clinical}
    return {**fixed, **clinical, **{f"target {name}": value for name, value in batch.targets.items()}}


def _distinct(batch: Batch) -> Tensors:
    """The same, each tensor once: the image is a target as well."""
    seen: set[int] = set()
    return {
        name: tensor
        for name, tensor in _tensors(batch).items()
        if id(tensor) not in seen and not seen.add(id(tensor))  # type: ignore[func-returns-value]
    }


def _map_tensors(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """The batch with each of its tensors changed, once where it has several names."""
    changed = {id(tensor): change(tensor) for tensor in _distinct(batch).values()}
    clinical = None if batch.clinical is None else changed[id(batch.clinical)]
    targets = {name: changed[id(value)] for name, value in batch.targets.items()}
    return Batch(batch.ids, changed[id(batch.rows)], changed[id(batch.image)], clinical, targets)


def _kinds(batch: Batch) -> list[tuple[str, torch.Size, torch.dtype]]:
    return [(name, tensor.shape, tensor.dtype) for name, tensor in _tensors(batch).items()]
