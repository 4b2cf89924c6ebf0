"""The files of a patient: where they lie, which there are, whether they have changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort import Cohort

NO_FILE = "not a regular file (a pipe, a device or a broken link)"
CLOSED_FOLDER = "folder that cannot be read"
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class FileListing:
    """The files below a folder.

    Attributes:
        files: Regular files, sorted within each folder.
        skipped: Reason → number of entries that are not listed.
    """

    files: list[Path]
    skipped: Counter[str]


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
    return sorted(p for p in root.iterdir() if p.is_dir() and p.name not in named and p.name[0] != ".")


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
    if not folder.exists():
        return ""
    listing = list_files(folder)
    digest = hashlib.sha256(json.dumps(sorted(listing.skipped.items())).encode())
    for path in listing.files:
        try:
            status = path.stat()
        except OSError:  # The file has been removed meanwhile: its stage reports it.
            continue
        digest.update(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def list_files(folder: Path) -> FileListing:
    """List the regular files below a folder.

    Linked folders are entered (cohorts are often made of links to an archive), each real
    folder once, so that a link to a parent folder does not recur for ever.

    Args:
        folder: Any tree of files, or a single file.
    """
    skipped: Counter[str] = Counter()
    if folder.is_file():
        return FileListing([folder], skipped)
    files: list[Path] = []
    entered: set[tuple[int, int]] = set()

    def count_closed_folder(_error: OSError) -> None:
        skipped[CLOSED_FOLDER] += 1

    for root, folders, names in os.walk(folder, followlinks=True, onerror=count_closed_folder):
        identity = _identity(root)
        if identity in entered:
            folders.clear()
            continue
        entered.add(identity)
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file():
                files.append(path)
            else:
                skipped[NO_FILE] += 1
    return FileListing(files, skipped)


def is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP archive does."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(ZIP)) == ZIP
    except OSError:
        return False


def _identity(folder: str) -> tuple[int, int]:
    """Device and inode of a folder."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino
