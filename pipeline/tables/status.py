"""Whether a patient passed a stage: `status.json`."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.errors import PatientError, PipelineError
from pipeline.settings.base import Policy
from pipeline.tables.failures import data_error, is_machine_failure, machine_error

FILE = "status.json"
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


def write_status(folder: Path, status: Status) -> None:
    """Write a patient's status into a stage's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(asdict(status), indent=2) + "\n", encoding="utf-8")


def read_status(folder: Path) -> Status:
    """Read a patient's status from a stage's folder."""
    return Status(**json.loads((folder / FILE).read_text(encoding="utf-8")))


class Warnings(list[str]):
    """Warnings of a stage about a patient, for the status and the log."""

    def warn(self, message: str) -> None:
        """Add a warning and log it."""
        log.warning("%s", message)
        self.append(message)


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
) -> Iterator[Warnings]:
    """Run one patient's stage; its folder ends with a status, whatever happens.

    On success the status is `ok`, or `warned` with the messages that were added to the yielded
    list. A :class:`PatientError` empties the folder and leaves an `excluded` status there
    if the policy is `exclude`, and is raised again, naming the patient, if it is `stop`.
    Any other exception that the data provoke is treated like one, its traceback kept in the log.

    Raises:
        MachineError: Rights, disk, space or memory failed: this stops, whatever the policy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    warnings = Warnings()
    try:
        with data_and_machine_told_apart():
            yield warnings
    except PatientError as error:
        empty_folder(folder)
        write_status(
            folder, stop_or_exclude(error, patient_id, Status("excluded", stage, "", consequence), policy)
        )
    else:
        state: State = "warned" if warnings else "ok"
        write_status(folder, Status(state, stage, " | ".join(warnings), "used" if warnings else ""))


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
        log.error("the stage broke on the patient's data:\n%s", "".join(traceback.format_tb(error.__traceback__)))
        raise problem from error


def propagate_exclusion(upstream: Path, folder: Path) -> bool:
    """Whether the patient was excluded upstream; if so, its status is copied.

    Usage in a stage: ``if propagate_exclusion(input_folder, output_folder): return``.
    """
    status = read_status(upstream)
    if status.state != "excluded":
        return False
    folder.mkdir(parents=True, exist_ok=True)
    empty_folder(folder)
    write_status(folder, status)
    return True


def empty_folder(folder: Path) -> None:
    """Remove everything in a folder, keeping the folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
