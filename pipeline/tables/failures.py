"""What an exception says: that the machine failed, or that the data cannot be used."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DamageError, MachineError, PipelineError, UnexpectedDataError, printable

# Errors of the disk, of rights and of limits, and files that were there a moment ago: stages look whether
# a file exists before they read it. All other errors of the system speak of what a file is called or is:
# a name that is too long, a ring of links, a folder in place of a file.
_OF_THE_MACHINE = frozenset(
    getattr(errno, name)
    for name in (
        "ENOENT", "EACCES", "EPERM", "EROFS", "EIO", "ENXIO", "ENODEV", "EREMOTEIO", "ESTALE", "ETIMEDOUT",
        "EHOSTDOWN", "EHOSTUNREACH", "ENOTCONN", "ENOSPC", "EDQUOT", "EFBIG", "EMFILE", "ENFILE", "ENOMEM",
        "EAGAIN", "EBUSY",
    )
    if hasattr(errno, name)
)  # fmt: skip
# What is wrong with the software or its installation, whatever the data are.
_OF_THE_SOFTWARE = (NameError, ImportError, SyntaxError, NotImplementedError)


def is_machine_failure(error: BaseException) -> bool:
    """Whether an exception says that the machine failed: rights, disk, space, memory, open files."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE


def raise_machine_failure(error: BaseException) -> None:
    """Raise a :class:`MachineError` where an exception is the machine's failure; else do nothing.

    For handlers that catch whatever broken bytes provoke.
    """
    if isinstance(error, MachineError):
        raise error
    if is_machine_failure(error):
        raise machine_error(error) from None


def machine_error(error: BaseException) -> MachineError:
    """The machine's failure as an error that stops the study, whatever its policy."""
    if isinstance(error, MemoryError):
        return MachineError(
            "the memory does not suffice",
            got=_first_line(error),
            action="give the job more memory (resources.mem_mb), or run fewer jobs at a time",
        )
    assert isinstance(error, OSError)
    name = error.filename if error.filename is not None else ""
    return MachineError(
        "a file or folder cannot be read or written",
        where=os.fsdecode(name) if isinstance(name, str | bytes) else "",
        got=error.strerror or type(error).__name__,
        action="correct rights, disk or network and run again; the patient's data are not to blame",
    )


def damage(path: Path, expected: str, got: str, *, remove: Path | None = None) -> DamageError:
    """The error that says which result of ours is damaged and what to delete.

    Args:
        path: The file.
        expected: Its size, hash or format.
        got: What was there instead.
        remove: What to delete so that Snakemake makes it again; by default the file.
    """
    return DamageError(
        "a result of the pipeline is missing or damaged on the disk",
        where=str(path),
        expected=expected,
        got=got,
        action=f"delete {remove or path} and run the same command again",
    )


@contextlib.contextmanager
def own_result(path: Path, expected: str) -> Iterator[None]:
    """Read a file that the pipeline wrote: whatever its bytes provoke says that the disk damaged it.

    Args:
        path: The file.
        expected: What it should hold.

    Raises:
        DamageError: The file is missing, or cannot be read as what it is.
        MachineError: Rights, disk or memory failed.
    """
    try:
        yield
    except PipelineError:
        raise
    except FileNotFoundError:
        raise damage(path, expected, "no such file") from None
    except _OF_THE_SOFTWARE:
        raise
    except Exception as error:
        raise_machine_failure(error)
        raise damage(path, expected, type(error).__name__) from None


def data_error(error: Exception) -> PipelineError | None:
    """An unforeseen exception as what it says of the data; None where the software is to blame."""
    if isinstance(error, _OF_THE_SOFTWARE):
        return None
    return UnexpectedDataError(
        "the data cannot be used: a step broke on them",
        got=type(error).__name__,  # its text may quote a header
        action="look at the files; the job's log has the places, in case the software is to blame",
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return printable(lines[0], 200) if lines else ""
