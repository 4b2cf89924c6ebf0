"""Whether a patient passed a stage: `status.json`, which proves the stage's folder too."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.errors import PatientError, PipelineError
from pipeline.settings.base import Policy
from pipeline.tables.failures import damage, data_error, is_machine_failure, machine_error
from pipeline.tables.manifest import FILE, read_proof, write_proof
from pipeline.tables.whole import remove, whole_folder

State = Literal["ok", "warned", "excluded"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """State of a patient after a stage.

    Attributes:
        state: `ok`, `warned` (used, with something to know) or `excluded`.
        stage: The stage that found it (for `excluded`: the first one that refused the patient).
        problem: What is wrong, in one message; empty for `ok`.
        consequence: What follows for the patient.
    """

    state: State
    stage: str
    problem: str = ""
    consequence: str = ""


@dataclass(frozen=True)
class PatientStatus:
    """A status and the patient it is about."""

    patient_id: str
    status: Status


def write_status(folder: Path, status: Status, varying: Collection[str] = ()) -> None:
    """Write a status into a stage's folder, as its last file: with it the manifest of all others.

    Args:
        folder: The folder.
        status: The status.
        varying: Files whose bytes differ from run to run: only their names are noted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_proof(folder, asdict(status), varying)


def read_status(folder: Path) -> Status:
    """Read a status from a stage's folder whose files are there in their sizes.

    For whoever decides by the status alone; see :func:`read_whole` where files are read, too.

    Raises:
        DamageError: The folder or a file of it is missing or cut, or `status.json` was changed.
        MachineError: The folder cannot be read.
    """
    return _status(folder, read_proof(folder, whole=False))


def read_whole(folder: Path, *only: str) -> Status:
    """Read a status from a stage's folder once every file in it has the hash that the stage left.

    Args:
        folder: The stage's folder.
        only: Files to compare hashes of, where no other is read; by default all.

    Raises:
        DamageError: The folder or a file of it is missing, cut or changed.
        MachineError: A file cannot be read.
    """
    return _status(folder, read_proof(folder, whole=True, only=only))


def _status(folder: Path, content: dict[str, Any]) -> Status:
    try:
        status = Status(**{field.name: content[field.name] for field in fields(Status)})
    except KeyError as error:
        raise damage(folder / FILE, f"the field {error}", "none", remove=folder) from None
    if status.state not in get_args(State):
        raise damage(folder / FILE, " or ".join(get_args(State)), status.state, remove=folder)
    return status


@contextlib.contextmanager
def stage_folder(stage: str, folder: Path, varying: Collection[str] = ()) -> Iterator[Path]:
    """Yield a folder to write a result of the whole study into, which gets its name when it is whole.

    Args:
        stage: The rule.
        folder: The result: it ends with a status `ok` and the manifest of its files.
        varying: Files whose bytes differ from run to run: only their names are noted.
    """
    with whole_folder(folder) as partial:
        yield partial
        write_status(partial, Status("ok", stage), varying)


class Warnings(list[str]):
    """Warnings of a stage about a patient, for the status and the log."""

    def warn(self, message: str) -> None:
        """Add a warning and log it."""
        log.warning("%s", message)
        self.append(message)


@dataclass(frozen=True)
class StageWork:
    """What a patient's stage works with.

    Attributes:
        folder: Where it writes; gets the name of the stage's folder when the stage ends.
        warnings: Warnings about the patient.
    """

    folder: Path
    warnings: Warnings = field(default_factory=Warnings)


def stop_or_exclude(error: PatientError, patient_id: str, status: Status, policy: Policy) -> Status:
    """What becomes of a patient whom a stage refuses; the policy of a study is applied here alone.

    Args:
        error: Why the stage refuses the patient.
        patient_id: The patient.
        status: The status `excluded` of the stage, its problem still empty.
        policy: `stop` or `exclude`.

    Returns:
        The status with its problem.

    Raises:
        PatientError: The same one, naming the patient, with policy `stop`.
    """
    if policy == "stop":
        error.where = f"patient {patient_id}" + (f", {error.where}" if error.where else "")
        error.action = error.action or "correct the data, or set study.on_bad_patient: exclude"
        raise error
    log.error("patient %s excluded at %s: %s", patient_id, status.stage, error)
    return replace(status, problem=str(error))


@contextlib.contextmanager
def patient_stage(
    stage: str, patient_id: str, folder: Path, policy: Policy, consequence: str = "excluded from the study"
) -> Iterator[StageWork]:
    """Run one patient's stage; its folder appears when it is whole, and with a status.

    On success the status is `ok`, or `warned` with the messages that were added to the yielded
    warnings. A :class:`PatientError` leaves a folder with an `excluded` status alone
    if the policy is `exclude`, and is raised again, naming the patient, if it is `stop`.
    Any other exception that the data provoke is treated like one, its traceback kept in the log.

    Raises:
        MachineError: Rights, disk, space or memory failed, or an earlier result is damaged: this
            stops, whatever the policy, and leaves no folder.
    """
    with whole_folder(folder) as partial:
        work = StageWork(partial)
        try:
            with data_and_machine_told_apart():
                yield work
        except PatientError as error:
            empty_folder(partial)
            excluded = Status("excluded", stage, "", consequence)
            write_status(partial, stop_or_exclude(error, patient_id, excluded, policy))
        else:
            state: State = "warned" if work.warnings else "ok"
            problem, use = " | ".join(work.warnings), "used" if work.warnings else ""
            write_status(partial, Status(state, stage, problem, use))


@contextlib.contextmanager
def data_and_machine_told_apart() -> Iterator[None]:
    """Turn exceptions that are not of our family into what they say of the machine or the data."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if is_machine_failure(error):
            raise machine_error(error) from error
        problem = data_error(error)
        if problem is None:
            raise
        # The places without the exception's text, which may quote a header.
        log.error(
            "the stage broke on the patient's data:\n%s", "".join(traceback.format_tb(error.__traceback__))
        )
        raise problem from error


def propagate_exclusion(upstream: Path, folder: Path) -> bool:
    """Whether the patient was excluded upstream; if so, its status is copied.

    Usage in a stage: ``if propagate_exclusion(input_folder, output_folder): return``.

    Raises:
        DamageError: A file of the folder upstream, which the stage is to read, is missing or changed.
    """
    status = read_whole(upstream)
    if status.state != "excluded":
        return False
    with whole_folder(folder) as partial:
        write_status(partial, status)
    return True


def empty_folder(folder: Path) -> None:
    """Remove everything in a folder, keeping the folder."""
    for path in folder.iterdir():
        remove(path)
