"""What may end a run before its last iteration: SIGTERM, and memory that does not suffice."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from pipeline.errors import TrainingError


class SigtermFlag:
    """Notes that SIGTERM, a cluster's warning, was received, so that the iteration can be completed."""

    def __init__(self) -> None:
        self.received = False
        self._previous: Any = None

    def __enter__(self) -> SigtermFlag:
        # Signals reach the main thread only; other threads (a test's) cannot set a handler.
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)


@contextlib.contextmanager
def explained_out_of_memory(where: Callable[[], str]) -> Iterator[None]:
    """Turn errors that say that memory ran out into one that says what to change.

    Args:
        where: Describes the place in the run, when an error is raised.
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
            action="raise training.gradient_accumulation (parts a batch is run in), lower training.batch, "
            "set training.precision: bf16, or make the crop smaller",
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch on a CPU raises a RuntimeError for it."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
