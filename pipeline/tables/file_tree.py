"""The files below a folder: symbolic links followed once, nothing opened that may never end."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

NO_FILE = "not a regular file (a pipe, a device or a broken link)"
CLOSED_FOLDER = "folder that cannot be read"
ZIP = b"PK\x03\x04"


def list_files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Regular files below a folder, sorted within each folder, and what was passed over, by reason.

    Linked folders are entered (cohorts are often made of links to an archive), each real
    folder once, so that a link to a parent ends.

    Args:
        folder: Any tree of files, or one file.
    """
    passed: Counter[str] = Counter()
    if folder.is_file():
        return [folder], passed
    found: list[Path] = []
    entered: set[tuple[int, int]] = set()

    def tell(_error: OSError) -> None:
        passed[CLOSED_FOLDER] += 1

    for root, folders, names in os.walk(folder, followlinks=True, onerror=tell):
        identity = _identity(root)
        if identity in entered:
            folders.clear()
            continue
        entered.add(identity)
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file():
                found.append(path)
            else:
                passed[NO_FILE] += 1
    return found, passed


def is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP archive does."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(ZIP)) == ZIP
    except OSError:
        return False


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino
