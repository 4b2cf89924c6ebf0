"""Which patients each fold trains on and predicts: the rule `plan`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import TrainingError
from pipeline.planning.exclusions import excluded_patients, read_problems
from pipeline.planning.folds import divide, further_divisions
from pipeline.settings.plan import PlanSettings
from pipeline.tables.cohort import Patient
from pipeline.tables.outcomes import outcome_table
from pipeline.tables.parquet import write_frame
from pipeline.tables.splits import Splits, write_splits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanJob:
    """What the plan is made from.

    Attributes:
        patients: Patients whose row of the cohort table is valid.
        problems: `problems.csv`; patients excluded there are left out.
        settings: Number of folds, and how patients are divided.
        seed: Seed of the study.
    """

    patients: tuple[Patient, ...]
    problems: Path
    settings: PlanSettings
    seed: int


@dataclass(frozen=True)
class PlanPaths:
    """Files that the plan writes.

    Attributes:
        splits: `splits.json`.
        cohort: `cohort.parquet`.
    """

    splits: Path
    cohort: Path


def patients_from(rows: Iterable[Mapping[str, Any]]) -> tuple[Patient, ...]:
    """Rebuild patients from the plain values a rule passes."""
    return tuple(Patient(**row) for row in rows)


def _subsets(patients: Iterable[Patient]) -> dict[str, tuple[str, ...]]:
    """Name of each subset → its patients, sorted."""
    members: dict[str, list[str]] = {}
    for patient in patients:
        for name in patient.subsets:
            members.setdefault(name, []).append(patient.patient_id)
    return {name: tuple(sorted(ids)) for name, ids in sorted(members.items())}


def make_plan(job: PlanJob, out: PlanPaths) -> Splits:
    """Divide the usable patients into folds.

    Writes `splits.json` (patient ids by fold and set) and `cohort.parquet` (outcomes of
    usable patients).

    Raises:
        TrainingError: Too few usable patients, events or centres for the folds.
        TableError: `problems.csv` cannot be read.
    """
    excluded = excluded_patients(read_problems(job.problems))
    usable = [p for p in job.patients if p.patient_id not in excluded]
    development = [p for p in usable if p.set == "development"]
    if not development:
        raise TrainingError(
            "no development patient is usable",
            where=str(job.problems),
            got=f"{len(job.patients)} patients in the cohort table, {len(excluded)} excluded",
            action="problems.csv says why each one was excluded",
        )
    folds = divide(development, job.settings, job.seed)
    external = tuple(sorted(p.patient_id for p in usable if p.set == "external"))
    if job.settings.folds == 1 and not external:
        raise TrainingError(
            "there are no patients to evaluate the models on",
            where="plan.folds: 1 without usable external patients",
            action="set plan.folds to 2 or more, or give the cohort table external patients",
        )
    repeats = further_divisions(development, job.settings, job.seed)
    splits = Splits(folds, external, job.seed, _subsets(usable), repeats)
    write_splits(out.splits, splits)
    write_frame(out.cohort, outcome_table(sorted(usable, key=lambda p: p.patient_id)), index=True)
    log.info("%d of %d patients usable, %d folds", len(usable), len(job.patients), len(folds))
    return splits
