"""The files of a patient: where they lie, which there are, whether they have changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pipeline.errors import MachineError, PatientError
from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort import Cohort
from pipeline.tables.failures import is_machine_failure, raise_machine_failure
from pipeline.tables.whole import write_text

NO_FILE = "not a regular file (a pipe, a device or a broken link)"
NO_FOLDER = "folder that cannot be listed (a path too long, or gone)"
ZIP = b"PK\x03\x04"
NO_IMAGES = "there are no images of this patient"
"""Problem of a patient whose folder was missing or empty when the run began, and never read."""
MASK_PATH = re.compile(r"^(.+\.(?:nii|nii\.gz|nrrd|nhdr|mha|mhd))(?::(\d+(?:,\d+)*))?$", re.IGNORECASE)
"""Entry of the cohort table's `roi` that names a file: `mask.nii.gz`, or `mask.nii.gz:1,3` for labels."""


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
        # What went meanwhile is seen by `images_in_place`.
        if is_machine_failure(error) and not isinstance(error, FileNotFoundError):
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
        absent: File that lists the patients whose images were missing when the run began; it need not
            exist. None: no run was planned, and missing images are the patient's problem.
        planned: Digest (:func:`files_digest`) of the folder when the run was planned; empty: no run was.
    """

    patient_id: str
    folder: Path
    roi: str = ""
    absent: Path | None = None
    planned: str = ""

    @property
    def was_absent(self) -> bool:
        """Whether the images were missing already when the run began."""
        return self.absent is None or self.patient_id in read_absent(self.absent)


@contextlib.contextmanager
def images_in_place(patient: PatientFiles) -> Iterator[None]:
    """Read a patient's images only while they are the same: an archive may vanish during a run.

    Raises:
        PatientError: The images were missing from the start (problem :data:`NO_IMAGES`).
        MachineError: They were there when the run began, and are gone; they are not those that the
            run was planned with; or they changed while they were read, whatever the reading made of that.
    """
    if is_absent(patient.folder):
        if patient.was_absent:
            raise PatientError(
                NO_IMAGES,
                where="image_path",
                expected="a file, or a folder with files",
                got="nothing, or an empty folder",
                action="correct image_path, bring the images, or remove the row",
            )
        raise _vanished(patient, "were there when the run began, and are gone")
    before = _digest(patient.folder)
    if patient.planned not in ("", before):
        raise _vanished(patient, "changed after the run was planned")
    try:
        yield
    finally:
        if _digest(patient.folder) != before:
            raise _vanished(patient, "changed, or went, while they were read")


@contextlib.contextmanager
def images_as_indexed(folder: Path, planned: str) -> Iterator[None]:
    """Read images that an index names only while they are those that the index was made of.

    Args:
        folder: The patient's images.
        planned: Digest (:func:`files_digest`) of the folder when the run was planned; empty: the study
            makes its images.

    Raises:
        MachineError: They are not, or they changed while they were read.
    """
    patient = PatientFiles(folder.name, folder)
    if planned not in ("", _digest(folder)):
        raise _vanished(patient, "changed after the run was planned")
    try:
        yield
    finally:
        if planned not in ("", _digest(folder)):
            raise _vanished(patient, "changed, or went, while they were read")


def _vanished(patient: PatientFiles, what: str) -> MachineError:
    return MachineError(
        f"the images of a patient {what}",
        where=f"patient {patient.patient_id}, image_path {patient.folder}",
        action="mount the archive, let no copy run meanwhile, and run the same command again",
    )


def is_absent(path: Path) -> bool:
    """Whether there is nothing to read: no such file or folder, or a folder without entries.

    An empty folder counts, since a mount point is one while its archive is not mounted.

    Raises:
        OSError: Rights or the disk failed, so that nobody knows.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return True
    except OSError as error:
        if is_machine_failure(error):
            raise
        return True
    except ValueError:  # no path that a system takes
        return True
    if not stat.S_ISDIR(mode):
        return False
    with os.scandir(path) as entries:
        return next(entries, None) is None


def write_absent(path: Path, patients: list[str]) -> None:
    """Write the list of patients whose images are missing; where none is, there is no file."""
    if not patients:
        path.unlink(missing_ok=True)
        return
    write_text(path, json.dumps({"patients": patients}, indent=1) + "\n")


def read_absent(path: Path) -> list[str]:
    """Patients of :func:`write_absent`."""
    if not path.is_file():
        return []
    patients: list[str] = json.loads(path.read_text(encoding="utf-8"))["patients"]
    return patients


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
    return _digest(folder)


def _digest(folder: Path) -> str:
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
    except FileNotFoundError:  # a link that leads nowhere by now; `images_in_place` sees files that went
        return False
    except OSError as error:
        raise_machine_failure(error)
        return False


def _identity(folder: str) -> tuple[int, int]:
    """Device and inode of a folder."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def files_among(entries: Iterable[str]) -> list[str]:
    """Entries that are paths of files: these are inputs, as their content decides values."""
    return [entry for entry in entries if entry and Path(entry).is_file()]
