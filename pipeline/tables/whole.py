"""Results appear under their name only when they are whole.

A job that is killed, cancelled or runs out of space must not leave what could be taken for a
result. Everything that the pipeline writes goes to a temporary name beside its own, and is renamed,
which the file system does in one step.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def partial_name(path: Path) -> Path:
    """Temporary name of a result: hidden, beside the result, and the same in every run."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder to write into, which gets its name when the block ends.

    What a killed job left, and an earlier result of the same name, are removed first. If the block
    raises, nothing is left.

    Args:
        path: Name of the result.
    """
    partial = partial_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(partial)
    if path.is_dir() and not path.is_symlink():
        # A folder that is half removed must not have the name of a result either.
        path.rename(partial)
        remove(partial)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        with contextlib.suppress(OSError):  # the error of the block is what counts
            remove(partial)
        raise
    partial.rename(path)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to, which takes its name when the block ends.

    An earlier file of this name stays until then. The content is on the disk before the name points
    to it, and the name before the block is left, so that one of the two survives a loss of power. If
    the block raises, nothing is left of the new file.

    Args:
        path: Name of the result.
    """
    partial = partial_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(partial)
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) as a whole."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole."""
    with whole_file(path) as partial:
        partial.write_bytes(content)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
