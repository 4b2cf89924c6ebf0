"""Exceptions of the package: each message says what is wrong, where, expected, got, and what to do."""

from __future__ import annotations


def printable(text: str, longest: int = 2000) -> str:
    """Text of files and names for a message: nothing that a terminal obeys, no more than is read."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


class PipelineError(Exception):
    """A problem that is reported as one message, without a traceback.

    Args:
        problem: What is wrong, in one clause.
        where: File, patient, table row, or DICOM tag with number and name.
        expected: What would have been right.
        got: What was read instead.
        action: What the user can do.
    """

    exit_code = 1
    """Exit code of the process that ends with this error."""
    lists_problems = False
    """Whether the problem may be several lines, one for each thing to correct."""

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        expected: str = "",
        got: str = "",
        action: str = "",
    ) -> None:
        self.problem, self.where, self.expected = problem, where, expected
        self.got, self.action = got, action
        super().__init__(problem)

    def __str__(self) -> str:
        problem = self.problem.rstrip(".")
        lines = problem.split("\n") if self.lists_problems else [problem]
        parts = ["\n".join(map(printable, lines))]
        for label, text in (
            ("where", self.where),
            ("expected", self.expected),
            ("got", self.got),
            ("what to do", self.action),
        ):
            if text:
                parts.append(f"{label}: {printable(text.rstrip('.'))}")
        text = "; ".join(parts)
        return text if text.endswith(("?", "!")) else text + "."

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[PipelineError], state: dict[str, str]) -> PipelineError:
    """Carry an error whole across process borders (keyword arguments defeat plain pickling)."""
    error = kind(state["problem"])
    error.__dict__.update(state)
    return error


class SettingsError(PipelineError):
    """A study's settings cannot be used."""

    lists_problems = True


class ClusterError(PipelineError):
    """A cluster can never start what a study asks for."""

    lists_problems = True


class NotAsPlannedError(PipelineError):
    """Code, settings, table or named files are no longer those that a job was planned with."""


class TableError(PipelineError):
    """A table breaks its contract."""


class MachineError(PipelineError):
    """The machine, not the data, failed: no permission, a broken disk, no space, no memory."""

    exit_code = 74
    """EX_IOERR of sysexits.h."""


class DamageError(MachineError):
    """A result of the pipeline's own is missing, cut or changed: this stops, whatever the policy."""


class PatientError(PipelineError):
    """One patient's data cannot be trusted; the policy decides between stop and exclude."""


class UnexpectedDataError(PatientError):
    """A patient's data broke a step in a way that no check had foreseen."""


class DicomError(PatientError):
    """DICOM that is missing, unreadable or inconsistent."""


class SuvError(PatientError):
    """Standardised uptake values cannot be computed from what the file says."""


class ContourError(PatientError):
    """A contour is missing, ambiguous or does not belong to the image."""


class GeometryError(PatientError):
    """Two grids that must agree do not."""


class RegistrationError(PatientError):
    """A registration failed its quality limits."""


class CropError(PatientError):
    """A crop cannot be placed or a stored crop cannot be trusted."""


class RadiomicsError(PatientError):
    """Features cannot be computed."""


class TrainingError(PipelineError):
    """Training cannot start or go on."""


class Interrupted(TrainingError):
    """Training was stopped by a signal and has saved its state; the same command resumes it."""

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h (try again later), by which a cluster can recognise a job to requeue."""


class CheckpointError(TrainingError):
    """A checkpoint is broken or belongs to other settings."""


class ModelError(PipelineError):
    """A classical model cannot be fitted on what it was given."""
