"""What every stage said of every patient, gathered from the files it left."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from pipeline.errors import TableError
from pipeline.planning.duplicate_images import find_duplicate_images
from pipeline.settings.base import Policy
from pipeline.tables.status import FILE, State, Status, read_status

COLUMNS = ("patient_id", "stage", "state", "problem", "consequence")
Problem = tuple[str, Status]


def stage_status(path: Path) -> Status:
    """Status that a stage left in a folder, a crop store or a Parquet file.

    A folder holds `status.json`; a Zarr store says it in its root attribute `status`; a
    Parquet file in the key `status` of its schema's metadata. A store or a table that says
    nothing is `ok`: their writers say something only where there is something to say.

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
    said = root.get("attributes", {}).get("status")
    return Status(**said) if said else Status("ok", "crop")


def _parquet_status(path: Path) -> Status:
    from pyarrow.parquet import read_schema

    said = (read_schema(path).metadata or {}).get(b"status")
    return Status(**json.loads(said)) if said else Status("ok", "radiomics")


def gather(stages: Mapping[str, Sequence[Path]]) -> list[Problem]:
    """Every status but `ok`, each once, in the order of patients and stages.

    Args:
        stages: Patient id → what the stages left, in the stages' order.
    """
    found: list[Problem] = []
    for patient_id, paths in stages.items():
        seen: set[Status] = set()
        for path in paths:
            status = stage_status(path)
            # Later stages pass an exclusion on; it is one problem, not seven.
            if status.state != "ok" and status not in seen:
                seen.add(status)
                found.append((patient_id, status))
    return found


def excluded(problems: Iterable[Problem]) -> set[str]:
    """Ids of patients that some stage refused."""
    return {patient_id for patient_id, status in problems if status.state == "excluded"}


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write `problems.csv`: patient_id, stage, state, problem, consequence."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for patient_id, status in problems:
            state, stage, problem, consequence = astuple(status)
            writer.writerow((patient_id, stage, state, problem, consequence))


def read_problems(path: Path) -> list[Problem]:
    """Read `problems.csv`.

    Raises:
        TableError: It cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return [
            (
                row["patient_id"],
                Status(_state(row["state"]), row["stage"], row["problem"], row["consequence"]),
            )
            for row in rows
        ]
    except (OSError, KeyError, ValueError) as error:
        raise TableError("problems.csv cannot be read", where=str(path), got=repr(error)) from None


def _state(text: str) -> State:
    for state in ("ok", "warned", "excluded"):
        if text == state:
            return state
    raise ValueError(f"unknown state {text!r}")


def gather_problems(
    stages: Mapping[str, Sequence[Path]], table: Mapping[str, str], out: Path, policy: Policy = "stop"
) -> None:
    """Write `problems.csv`: every status but ok.

    A rule of its own, so that the file is there to read when the plan is refused.

    Args:
        stages: Patient id → what the stages left, in the stages' order.
        table: Patient id → what was wrong with the row of the cohort table.
        out: The CSV.
        policy: What two patients with the same images do: `stop`, or `exclude` both.

    Raises:
        TableError: A stage's status cannot be read; or two patients hold the same images.
    """
    told: list[Problem] = [(p, Status("excluded", "cohort", text, "not read")) for p, text in table.items()]
    found = gather(stages)
    # A copy that is left out for another reason harms nobody.
    usable = {patient_id: paths for patient_id, paths in stages.items() if patient_id not in excluded(found)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_problems(out, [*told, *found, *find_duplicate_images(usable, policy)])
