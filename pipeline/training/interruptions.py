"""What may end a run before its last iteration: SIGTERM, and memory that does not suffice."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from pipeline.attempts import sigterm_handled_by
from pipeline.errors import Interrupted, TrainingError

GRACE_SECONDS = 20.0
"""Time that an iteration and its validation have to end after SIGTERM: SLURM kills after 30 seconds."""


class SigtermFlag:
    """Notes that SIGTERM, a cluster's warning, was received, so that the iteration can be completed.

    An iteration that does not end in time is given up: the checkpoint before it stands.

    Attributes:
        received: Whether the signal came.
    """

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self.received = False
        self._grace_seconds = grace_seconds
        self._contexts = contextlib.ExitStack()

    def __enter__(self) -> SigtermFlag:
        self._contexts.enter_context(sigterm_handled_by(self._receive))
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received = True
            signal.signal(signal.SIGALRM, self._give_up)
            signal.setitimer(signal.ITIMER_REAL, self._grace_seconds)

    def _give_up(self, number: int, frame: FrameType | None) -> None:
        raise Interrupted(
            f"stopped by SIGTERM; the iteration did not end within {self._grace_seconds:g} s",
            action="run the same command again: it goes on from the last checkpoint; "
            "lower training.checkpoint_every to lose less",
        )

    def stop_clock(self) -> None:
        """Give up no more: what follows is the checkpoint, which is written whole or not at all."""
        if self.received:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_clock()
        self._contexts.close()


FOR_A_STEP = (
    "raise training.gradient_accumulation (parts a batch is run in), lower training.batch, "
    "set training.precision: bf16, or make the crop smaller"
)
"""What helps where memory does not suffice for a training step."""


@contextlib.contextmanager
def explained_out_of_memory(where: Callable[[], str], action: str = FOR_A_STEP) -> Iterator[None]:
    """Turn errors that say that memory ran out into one that says what to change.

    Args:
        where: Describes the place in the run, when an error is raised.
        action: What helps at this place.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            "the device's memory does not suffice",
            where=where(),
            got=str(error).splitlines()[0] if str(error) else "",
            action=action,
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch on a CPU raises a RuntimeError for it."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
