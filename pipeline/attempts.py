"""How the attempts of a job ended: a mark beside its log, so that the next attempt asks for what was short.

A resource function of Snakemake learns the number of the attempt, not why the one before it ended.
The job itself knows: SIGTERM comes at a scheduler's time limit, and a process whose memory ran out
raises MemoryError or is killed without a warning. So each attempt adds a line `started` to
`{log}.attempts`, and what ended it a line after that; a job that succeeds removes the file.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO

TIME, MEMORY, FAILED = "time", "memory", "failed"
"""Why an attempt ended: SIGTERM; memory, or killed without a warning; any other error."""
STARTED = "started"

# The mark of the job that this process runs; `sigterm_handled_by` registers on it anew.
_open_mark: IO[str] | None = None


def attempts_file(log: Path) -> Path:
    """File of the marks of the job that has this log."""
    return log.with_suffix(".attempts")


def causes_of_end(log: Path) -> list[str]:
    """Why each attempt of a job ended, the oldest first; empty where none has failed.

    Args:
        log: The job's log.

    Returns:
        `time`, `memory` or `failed` of each attempt. An attempt that left no line was killed
        without a warning, which is how the kernel and schedulers end a process whose memory does
        not suffice (a node that fails looks the same).
    """
    try:
        lines = attempts_file(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    starts = [number for number, line in enumerate(lines) if line == STARTED]
    firsts = [lines[start + 1] if start + 1 < len(lines) else STARTED for start in starts]
    return [_cause(line) for line in firsts]


def _cause(line: str) -> str:
    """The cause that the line after an attempt's beginning tells: what SIGTERM leaves is where it found the job."""
    if line in (STARTED, MEMORY):
        return MEMORY
    return FAILED if line == FAILED else TIME


@contextlib.contextmanager
def marked_attempt(log: Path) -> Iterator[None]:
    """Mark the attempt that this process makes of a job, and how it ends.

    SIGTERM is noted by Python's fault handler, which runs at once even inside a long call of a
    compiled library, where a handler in Python would wait for its end; then the signal takes its
    usual way. A disk on which no mark can be written ends no job.

    Args:
        log: The job's log.
    """
    global _open_mark
    path = attempts_file(log)
    with contextlib.suppress(OSError):
        _open_mark = path.open("a", encoding="utf-8")
        _write(STARTED)
    _register()
    try:
        yield
    except Exception as error:
        _write(cause_of(error))
        raise
    else:
        path.unlink(missing_ok=True)
    finally:
        _unregister()
        _close()


def _write(line: str) -> None:
    if _open_mark is not None:
        with contextlib.suppress(OSError):
            _open_mark.write(line + "\n")
            _open_mark.flush()


def _close() -> None:
    global _open_mark
    if _open_mark is not None:
        with contextlib.suppress(OSError):
            _open_mark.close()
        _open_mark = None


def cause_of(error: BaseException) -> str:
    """What an error says about why a job ended."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        # An error that explains another may hide it from tracebacks (`from None`), not from here.
        following = following.__cause__ or following.__context__
    if any(_lacks_memory(entry) for entry in chain):
        return MEMORY
    # EX_TEMPFAIL: the job was stopped by SIGTERM and has saved its state.
    return TIME if getattr(error, "exit_code", None) == 75 else FAILED


def _lacks_memory(error: BaseException) -> bool:
    """Whether the machine's memory did not suffice; PyTorch raises a RuntimeError for it on a CPU."""
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


@contextlib.contextmanager
def sigterm_handled_by(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGTERM in Python for as long as the context lasts; the job's mark is written first as before.

    Args:
        receive: The handler. In a thread other than the main one, where none can be set, it is never called.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _unregister()
    previous = signal.signal(signal.SIGTERM, receive)
    _register()
    try:
        yield
    finally:
        _unregister()
        signal.signal(signal.SIGTERM, previous)
        _register()


def _register() -> None:
    if _open_mark is not None:
        faulthandler.register(signal.SIGTERM, file=_open_mark, all_threads=False, chain=True)


def _unregister() -> None:
    if _open_mark is not None:
        faulthandler.unregister(signal.SIGTERM)
