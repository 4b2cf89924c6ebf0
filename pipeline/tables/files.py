"""The files of a patient: where they lie, which there are, whether they have changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort import Cohort
from pipeline.tables.failures import is_machine_failure, raise_machine_failure

NO_FILE = "not a regular file (a pipe, a device or a broken link)"
NO_FOLDER = "folder that cannot be listed (a path too long, or gone)"
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class FileListing:
    """The files below a folder.

    Attributes:
        files: Regular files, sorted within each folder.
        skipped: Reason → number of entries that are not listed.
        failures: Where rights or the disk failed: whoever reads the files must not go on.
    """

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[OSError] = field(default_factory=list)

    def fail(self, error: OSError) -> None:
        """Take note of a folder or a file that could not be looked at."""
        if is_machine_failure(error):
            self.failures.append(error)
        else:
            self.skipped[NO_FOLDER] += 1


@dataclass(frozen=True)
class PatientFiles:
    """A patient's images as the cohort table names them.

    Attributes:
        patient_id: Names outputs; never taken from image files.
        folder: Folder (or file) that holds the images.
        roi: Pattern of ROI names or path of a mask; empty: the patterns of the study.
    """

    patient_id: str
    folder: Path
    roi: str = ""


def orphan_folders(settings: CohortSettings, cohort: Cohort) -> list[Path]:
    """Folders directly under the image root that no row of the cohort table leads into.

    Empty where the image root is the working directory itself or does not exist: then it
    is no folder of patients.
    """
    root = Path(settings.image_root)
    if not root.is_dir() or root.resolve() == Path.cwd().resolve():
        return []
    named = {Path(p.image_path).parts[0] for p in cohort.patients if p.image_path}
    named |= set(cohort.problems)
    return sorted(p for p in root.iterdir() if os.path.isdir(p) and p.name not in named and p.name[0] != ".")


@cache
def files_digest(folder: Path) -> str:
    """Hash of the names, sizes and times of all files below a folder, or of one file.

    Snakemake looks at the time of a folder itself, which does not move when a file deeper
    down is replaced or changed in place. Names and times stand for the content: reading
    every image at every start would take minutes.

    Args:
        folder: A patient's images; need not exist.

    Returns:
        16 hexadecimal digits; empty where there is no such folder.
    """
    try:
        if not folder.exists():
            return ""
    except (OSError, ValueError):  # no path that a system takes, or a closed one: its stage reports it
        return ""
    listing = list_files(folder)
    skipped = sorted([*listing.skipped.items(), ("failures", len(listing.failures))])
    digest = hashlib.sha256(json.dumps(skipped).encode())
    for path in listing.files:
        try:
            entry = path.stat()
        except OSError:  # it went meanwhile: its stage reports it
            continue
        name = os.fsencode(path.relative_to(folder))  # names need not be UTF-8
        digest.update(name + f"\0{entry.st_size}\0{entry.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def list_files(folder: Path) -> FileListing:
    """List the regular files below a folder.

    Linked folders are entered (cohorts are often made of links to an archive), each real
    folder once, so that a link to a parent folder does not recur for ever.

    Args:
        folder: Any tree of files, or a single file.
    """
    listing = FileListing()
    entered: set[tuple[int, int]] = set()
    try:
        if folder.is_file():
            return FileListing([folder])
    except OSError as error:
        listing.fail(error)
    for root, folders, names in os.walk(folder, followlinks=True, onerror=listing.fail):
        identity = _identity(root)
        if identity in entered:
            folders.clear()
            continue
        entered.add(identity)
        folders.sort()
        for name in sorted(names):
            _enter(Path(root, name), listing)
    return listing


def _enter(path: Path, listing: FileListing) -> None:
    try:
        regular = path.is_file()
    except OSError as error:  # a link to what may not be looked at
        listing.fail(error)
        return
    if regular:
        listing.files.append(path)
    else:
        listing.skipped[NO_FILE] += 1


def is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP archive does."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(ZIP)) == ZIP
    except OSError as error:
        raise_machine_failure(error)
        return False


def _identity(folder: str) -> tuple[int, int]:
    """Device and inode of a folder."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino
