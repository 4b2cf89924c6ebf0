"""Problems and exclusions of all patients, gathered from the files that the stages left."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import TableError
from pipeline.planning.duplicate_images import find_duplicate_images
from pipeline.settings.base import Policy
from pipeline.tables.status import FILE, PatientStatus, State, Status, read_status

COLUMNS = ("patient_id", "stage", "state", "problem", "consequence")


def stage_status(path: Path) -> Status:
    """Status that a stage left in a folder, a crop store or a Parquet file.

    A folder holds `status.json`; a Zarr store has it in its root attribute `status`; a
    Parquet file in the key `status` of its schema's metadata. A store or a table without a
    status is `ok`: their writers add one only where there is something to report.

    Raises:
        TableError: There is no such file, or it cannot be read.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet_status(path)
        if path.suffix == ".zarr":
            return _zarr_status(path)
        return read_status(path)
    except (OSError, ValueError, TypeError) as error:
        raise TableError(
            "a stage's status cannot be read",
            where=str(path),
            expected=FILE if not path.suffix else "attribute `status`",
            got=f"{type(error).__name__}: {error}",
            action="delete this output and run the stage again",
        ) from None


def _zarr_status(path: Path) -> Status:
    # The root's own metadata file: importing zarr takes longer than reading 200 of these.
    root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    status = root.get("attributes", {}).get("status")
    return Status(**status) if status else Status("ok", "crop")


def _parquet_status(path: Path) -> Status:
    from pyarrow.parquet import read_schema

    status = (read_schema(path).metadata or {}).get(b"status")
    return Status(**json.loads(status)) if status else Status("ok", "radiomics")


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
    with path.open("w", newline="", encoding="utf-8") as stream:
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
        TableError: It cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [_parse(row) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError) as error:
        raise TableError("problems.csv cannot be read", where=str(path), got=repr(error)) from None


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
        policy: What to do where two patients have the same images: `stop`, or `exclude` both.

    Raises:
        TableError: A stage's status cannot be read; or two patients have the same images.
    """
    rows = [
        PatientStatus(patient_id, Status("excluded", "cohort", problem, "not read"))
        for patient_id, problem in table.items()
    ]
    problems = gather_statuses(stages)
    # A copy of a patient who is excluded for another reason does no harm.
    excluded = excluded_patients(problems)
    usable = {patient_id: paths for patient_id, paths in stages.items() if patient_id not in excluded}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_problems(out, [*rows, *problems, *find_duplicate_images(usable, policy)])
