"""What stops a run before its first job: images or a profile that should be there and are not.

An archive that is not mounted looks like patients without images. Whoever then ran every stage
again would replace a finished study by exclusions. So images that were read before must be there,
and so must the images of most patients; a few who never had any are left out by their first stage.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from pipeline.errors import MachineError, SettingsError
from pipeline.tables.failures import is_machine_failure, machine_error
from pipeline.tables.files import NO_IMAGES, is_absent, write_absent
from pipeline.tables.manifest import FILE
from pipeline.workflow.paths import StudyPaths

MOST_NAMED = 5
"""Number of patients that a message names at most."""
PROFILE = "--workflow-profile"
"""Snakemake's option; it passes over a folder that does not exist without a word."""


@contextlib.contextmanager
def machine_failures_told() -> Iterator[None]:
    """Turn errors of rights and of the disk into one message.

    Raises:
        MachineError: A file or a folder cannot be read.
    """
    try:
        yield
    except OSError as error:
        if is_machine_failure(error):
            raise machine_error(error) from None
        raise


def require_present(paths: StudyPaths, arguments: Sequence[str], root: Path) -> None:
    """Refuse to run where the profile or the images that were named are not there.

    Args:
        paths: The study's paths.
        arguments: Words of Snakemake's command line.
        root: Folder of the Snakefile.

    Raises:
        SettingsError: See :func:`require_workflow_profile`.
        MachineError: See :func:`require_images`.
    """
    require_workflow_profile(arguments, root)
    require_images(paths)


def require_workflow_profile(arguments: Sequence[str], root: Path) -> None:
    """Refuse to run where the profile that was asked for is not there, since Snakemake would run without it.

    Args:
        arguments: Words of Snakemake's command line.
        root: Folder of the Snakefile.

    Raises:
        SettingsError: No such profile lies where Snakemake looks for one.
    """
    # By now Snakemake has gone to another folder, and does not say from which the profile's path counted.
    if any(word in ("--directory", "-d") or word.startswith("--directory=") for word in arguments):
        return
    asked = [after for word, after in pairwise([*arguments, ""]) if word == PROFILE]
    asked += [word.partition("=")[2] for word in arguments if word.startswith(f"{PROFILE}=")]
    for profile in asked:
        places = (Path(profile), Path("profiles", profile), root / "profiles" / profile)
        if profile != "none" and not any(place.exists() for place in places):
            known = sorted(folder.name for folder in (root / "config" / "profiles").iterdir())
            raise SettingsError(
                "there is no such profile",
                where=PROFILE,
                expected=f"a folder, such as {root / 'config' / 'profiles'} has: {', '.join(known)}",
                got=profile,
                action="correct the path; it counts from the folder in which the command is given",
            )


def require_images(paths: StudyPaths) -> None:
    """Refuse to run where images are missing that cannot just be a patient's lack of images.

    Raises:
        MachineError: `cohort.image_root` is missing, empty or unreadable; or so are the images of
            more than half of the patients, of two at least; or images or masks of a patient who was
            read before.
    """
    if not _user_gives_images(paths):
        return
    _require_root(paths)
    patients = paths.study.cohort.ids()
    absent = absent_patients(paths)
    if len(absent) >= 2 and 2 * len(absent) > len(patients):
        raise _missing(
            f"the images of {len(absent)} of {len(patients)} patients are missing",
            paths,
            [paths.image_folder(patient) for patient in absent],
        )
    read = [patient for patient in absent if was_read(paths, patient)]
    if read:
        raise _missing(
            f"images that were read before are missing, of {_listed(read)}",
            paths,
            [paths.image_folder(patient) for patient in read],
        )
    _require_masks(paths, set(absent))


def absent_patients(paths: StudyPaths) -> list[str]:
    """Patients whose images are missing, in the table's order; none where the study makes its images.

    Raises:
        MachineError: Images of a patient cannot be looked at.
    """
    if not _user_gives_images(paths):
        return []
    folders = {patient: paths.image_folder(patient) for patient in paths.study.cohort.ids()}
    return [patient for patient, folder in folders.items() if _asked(is_absent, Path(folder), paths)]


def record_absent(paths: StudyPaths) -> None:
    """Tell the jobs of a run, which start later and perhaps elsewhere, whose images are missing now."""
    write_absent(Path(paths.absent), absent_patients(paths))


def was_read(paths: StudyPaths, patient: str) -> bool:
    """Whether a patient's first stage once had images: it ended well, or refused what it read."""
    record = Path(paths.stages_of(patient)[0], FILE)
    try:
        status = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:  # half written, by a stage that was at work
        return True
    return status.get("state") != "excluded" or not status.get("problem", "").startswith(NO_IMAGES)


def stops_at_exclusions(paths: StudyPaths) -> bool:
    """Whether the study stops at bad patients, and an earlier policy left some out: then they are refused.

    A parameter of the rule `exclusions`. The policy itself is none: where no patient failed, both
    policies give the same results.
    """
    table = Path(paths.exclusions)
    if paths.study.settings.study.on_bad_patient != "stop" or not table.is_file():
        return False
    with table.open(newline="", encoding="utf-8") as stream:
        return any(row.get("state") == "excluded" for row in csv.DictReader(stream))


def _user_gives_images(paths: StudyPaths) -> bool:
    return not paths.study.is_phantom and paths.study.settings.cohort.source != "generated"


def _require_root(paths: StudyPaths) -> None:
    if all(Path(patient.image_path).is_absolute() for patient in paths.study.cohort.patients):
        return
    root = Path(paths.study.settings.cohort.image_root)
    if _asked(is_absent, root, paths):
        raise MachineError(
            "the folder of all images is missing"
            if not root.exists()
            else "the folder of all images is empty",
            where=f"cohort.image_root: {root.absolute()}",
            expected="a folder with the patients' images",
            got="an empty folder, such as the mount point of an archive"
            if root.exists()
            else "no such folder",
            action="mount the archive, or correct cohort.image_root; finished results stay as they are",
        )


def _require_masks(paths: StudyPaths, absent: set[str]) -> None:
    """Refuse to run where a mask file is missing of a patient whose contours were read before."""
    if not paths.study.from_scanner:
        return
    gone: dict[str, str] = {}
    for patient in paths.study.cohort.ids():
        if patient in absent:
            continue
        folder = Path(paths.image_folder(patient))
        for text in paths.mask_paths(patient):
            present = any(_asked(Path.is_file, path, paths) for path in (folder / text, Path(text)))
            if not present and _contours_were_read(paths, patient):
                gone[patient] = text
    if gone:
        raise _missing(
            f"mask files that were read before are missing, of {_listed(list(gone))}",
            paths,
            list(gone.values()),
        )


def _contours_were_read(paths: StudyPaths, patient: str) -> bool:
    record = Path(paths.stage("contours", patient), FILE)
    with contextlib.suppress(FileNotFoundError, ValueError):
        return bool(json.loads(record.read_text(encoding="utf-8"))["state"] != "excluded")
    return False


def _missing(problem: str, paths: StudyPaths, places: Sequence[str]) -> MachineError:
    settings = paths.study.settings.cohort
    return MachineError(
        problem,
        where=f"{Path(places[0]).absolute()}"
        + (f" and {len(places) - 1} more" if len(places) > 1 else "")
        + f"; cohort.image_root: {settings.image_root}",
        expected="files, since an archive that is not mounted must not exclude patients",
        got="nothing, or an empty folder",
        action="mount the archive, or correct cohort.image_root or the table's paths; where the images are gone "
        f"for good, or a patient withdrew, take the rows out of {settings.table} and run make forget "
        "PATIENT=... for each; finished results stay as they are",
    )


def _listed(patients: Sequence[str]) -> str:
    more = len(patients) - MOST_NAMED
    named = ", ".join(patients[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"patient{'s' if len(patients) > 1 else ''} {named}"


def _asked(question: Callable[[Path], bool], path: Path, paths: StudyPaths) -> bool:
    """The answer of the file system about a path; where it fails, what it says."""
    try:
        return question(path)
    except OSError as error:
        raise MachineError(
            "images cannot be looked at",
            where=f"{path.absolute()}; cohort.image_root: {paths.study.settings.cohort.image_root}",
            expected="a folder or file that may be listed and read",
            got=error.strerror or type(error).__name__,
            action="correct rights, mount or network, and run the same command again; finished results stay as "
            "they are",
        ) from None
