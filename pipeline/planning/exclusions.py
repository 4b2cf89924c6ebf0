"""Problems and exclusions of all patients, gathered from the files that the stages left."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import TableError
from pipeline.planning.duplicate_images import find_duplicate_images
from pipeline.settings.base import Policy
from pipeline.tables.failures import own_result
from pipeline.tables.parquet import read_metadata
from pipeline.tables.status import PatientStatus, State, Status, read_status
from pipeline.tables.whole import whole_file

COLUMNS = ("patient_id", "stage", "state", "problem", "consequence")


def stage_status(path: Path) -> Status:
    """Status that a stage left in a folder, a crop store or a Parquet file.

    A folder and a Zarr store hold `status.json`; a Parquet file has it in the key `status` of its
    schema's metadata.

    Raises:
        DamageError: There is no such result, or its files are not all there in their sizes.
    """
    if path.suffix != ".parquet":
        return read_status(path)
    with own_result(path, "a Parquet file with a status"):
        return Status(**read_metadata(path)[b"status"])


def gather_statuses(stages: Mapping[str, Sequence[Path]]) -> list[PatientStatus]:
    """Every status but `ok`, each once, in the order of patients and stages.

    Args:
        stages: Patient id → what the stages left, in the stages' order.
    """
    problems: list[PatientStatus] = []
    for patient_id, paths in stages.items():
        seen: set[Status] = set()
        for path in paths:
            status = stage_status(path)
            # Later stages propagate an exclusion; it is one problem, not seven.
            if status.state != "ok" and status not in seen:
                seen.add(status)
                problems.append(PatientStatus(patient_id, status))
    return problems


def excluded_patients(problems: Iterable[PatientStatus]) -> set[str]:
    """Ids of the patients that some stage excluded."""
    return {problem.patient_id for problem in problems if problem.status.state == "excluded"}


def write_problems(path: Path, problems: Iterable[PatientStatus]) -> None:
    """Write `problems.csv`: patient_id, stage, state, problem, consequence."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for problem in problems:
            status = problem.status
            writer.writerow(
                (problem.patient_id, status.stage, status.state, status.problem, status.consequence)
            )


def read_problems(path: Path) -> list[PatientStatus]:
    """Read `problems.csv`.

    Raises:
        DamageError: It is missing, or not what :func:`write_problems` wrote.
    """
    expected = f"a CSV file with the columns {', '.join(COLUMNS)}"
    with own_result(path, expected), path.open(newline="", encoding="utf-8") as stream:
        return [_parse(row) for row in csv.DictReader(stream)]


def _parse(row: Mapping[str, str]) -> PatientStatus:
    status = Status(_state(row["state"]), row["stage"], row["problem"], row["consequence"])
    return PatientStatus(row["patient_id"], status)


def _state(text: str) -> State:
    for state in ("ok", "warned", "excluded"):
        if text == state:
            return state
    raise ValueError(f"unknown state {text!r}")


def gather_problems(
    stages: Mapping[str, Sequence[Path]], table: Mapping[str, str], out: Path, policy: Policy = "stop"
) -> None:
    """Write `problems.csv`: every status but ok.

    This is a rule of its own, so that the file is there to read when the plan is refused.

    Args:
        stages: Patient id → what the stages left, in the stages' order.
        table: Patient id → what was wrong with the row of the cohort table.
        out: The CSV file to write.
        policy: What to do where a stage excluded a patient, under an earlier policy, or two patients
            have the same images: `stop`, or `exclude` them.

    Raises:
        TableError: (policy `stop`) a stage excluded a patient.
        DamageError: What a stage left is missing or damaged.
        TableError: Two patients have the same images.
    """
    rows = [
        PatientStatus(patient_id, Status("excluded", "cohort", problem, "not read"))
        for patient_id, problem in table.items()
    ]
    problems = gather_statuses(stages)
    # A copy of a patient who is excluded for another reason does no harm.
    excluded = excluded_patients(problems)
    if excluded and policy == "stop":
        raise _refused(problems)
    usable = {patient_id: paths for patient_id, paths in stages.items() if patient_id not in excluded}
    write_problems(out, [*rows, *problems, *find_duplicate_images(usable, policy)])


def _refused(problems: Iterable[PatientStatus]) -> TableError:
    """The exclusions of an earlier run, which a study that stops at bad patients must not pass over."""
    found = [problem for problem in problems if problem.status.state == "excluded"]
    first = found[0]
    more = len({problem.patient_id for problem in found} - {first.patient_id})
    return TableError(
        f"stages excluded patients, and study.on_bad_patient is stop: {first.status.problem}",
        where=f"patient {first.patient_id}, {first.status.stage}"
        + (f", and {more} more patients" if more else ""),
        action="correct the data or remove the rows, or set study.on_bad_patient: exclude",
    )
