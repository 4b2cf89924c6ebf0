"""Who is trained on, who is predicted, and what training will do: the rule `plan`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import TrainingError
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.tables.cohort import Patient
from pipeline.tables.outcomes import outcome_table
from pipeline.tables.splits import Fold, Splits, write_splits
from pipeline.tables.status import Status
from pipeline.training.gather import Problem, excluded, gather, write_problems
from pipeline.training.stratify import divide

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelPlan:
    """A network as the settings resolve it.

    Attributes:
        kind: Kind of network.
        training: The training section with the model's own overrides.
    """

    kind: str
    training: TrainingSettings


@dataclass(frozen=True)
class PlanJob:
    """What the plan is made from.

    Attributes:
        patients: Rows of the cohort table that were valid.
        stages: Patient id → what the stages left of the patient, in their order: folders
            with `status.json`, crop stores (`.zarr`), feature tables (`.parquet`).
        settings: Folds.
        seed: Of the study.
        problems: Patient id → what was wrong with the row of the cohort table.
        models: Networks by name, resolved.
    """

    patients: tuple[Patient, ...]
    stages: Mapping[str, Sequence[Path]]
    settings: PlanSettings
    seed: int
    problems: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, ModelPlan] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanPaths:
    """Files the plan writes."""

    splits: Path
    plan: Path
    problems: Path
    cohort: Path


def patients_from(rows: Iterable[Mapping[str, Any]]) -> tuple[Patient, ...]:
    """Rebuild patients from the plain values a rule passes."""
    return tuple(Patient(**row) for row in rows)


def make_plan(job: PlanJob, out: PlanPaths) -> Splits:
    """Gather the stages' statuses, divide the usable patients, say what training will do.

    Writes `splits.json` (patient ids by fold and set), `plan.json`, `problems.csv` (every
    status but ok) and `cohort.parquet` (outcomes of usable patients). `problems.csv` is
    written first, so that it tells who was excluded also where the plan is refused.

    Raises:
        TrainingError: Too few usable patients, events or centres for the folds.
        TableError: A stage's status cannot be read.
    """
    for path in (out.splits, out.plan, out.problems, out.cohort):
        path.parent.mkdir(parents=True, exist_ok=True)
    told = [(p, Status("excluded", "cohort", text, "not read")) for p, text in job.problems.items()]
    problems: list[Problem] = [*told, *gather(job.stages)]
    write_problems(out.problems, problems)
    refused = excluded(problems)
    usable = [p for p in job.patients if p.patient_id not in refused]
    development = [p for p in usable if p.set == "development"]
    if not development:
        raise TrainingError(
            "no development patient is usable",
            where=str(out.problems),
            got=f"{len(job.patients)} patients in the cohort table, {len(refused)} excluded",
            action="problems.csv says why each one was excluded",
        )
    check_selection(job)
    folds = divide(development, job.settings, job.seed)
    external = tuple(sorted(p.patient_id for p in usable if p.set == "external"))
    splits = Splits(folds, external, job.seed)
    write_splits(out.splits, splits)
    outcome_table(sorted(usable, key=lambda p: p.patient_id)).to_parquet(out.cohort)
    text = json.dumps(describe(job, splits, usable, refused), indent=1) + "\n"
    out.plan.write_text(text, encoding="utf-8")
    log.info("%d of %d patients usable, %d folds", len(usable), len(job.patients), len(folds))
    return splits


def check_selection(job: PlanJob) -> None:
    """Refuse a model that chooses its epoch on inner patients where a fold has none.

    Raises:
        TrainingError: Naming the model.
    """
    for name, model in job.models.items():
        if job.settings.inner_fraction == 0 and model.training.select == "best_inner":
            raise TrainingError(
                f"model {name!r} chooses its weights on inner validation patients, and there are none",
                where="training.select: best_inner with plan.inner_fraction: 0",
                action="set plan.inner_fraction above 0, or training.select: last",
            )


def describe(job: PlanJob, splits: Splits, usable: Sequence[Patient], refused: set[str]) -> dict[str, Any]:
    """What training will do, resolved, as plain values."""
    events = {p.patient_id for p in usable if p.event}
    return {
        "patients": {
            "in_table": len(job.patients) + len(job.problems),
            "usable": len(usable),
            "excluded": sorted(refused),
            "events": len(events),
            "centres": sorted({p.centre for p in usable}),
        },
        "plan": {**job.settings.model_dump(mode="json"), "seed": job.seed},
        "folds": [_numbers(fold, events) for fold in splits.folds],
        "external": {"patients": len(splits.external), "events": sum(p in events for p in splits.external)},
        "models": {name: _model(model, splits) for name, model in sorted(job.models.items())},
        "marks": marks(job),
    }


def _numbers(fold: Fold, events: set[str]) -> dict[str, dict[str, int]]:
    sets = {"train": fold.train, "inner": fold.inner, "heldout": fold.heldout}
    return {k: {"patients": len(v), "events": sum(p in events for p in v)} for k, v in sets.items()}


def _model(model: ModelPlan, splits: Splits) -> dict[str, Any]:
    training = model.training
    fewest = min(len(fold.train) for fold in splits.folds)
    return {
        "kind": model.kind,
        "iterations": training.iterations,
        "batch": training.batch,
        "passes_over_training_patients": round(training.iterations * training.batch / fewest, 1),
        "runs": len(splits.folds),
        "training": training.model_dump(mode="json"),
    }


def marks(job: PlanJob) -> list[str]:
    """What every table of this study has to carry as a mark (nothing leaks unmarked)."""
    found = []
    if job.settings.inner_fraction == 0:
        found.append("no inner validation: Z-scores and baseline hazard come from held-out patients")
    for name, model in sorted(job.models.items()):
        if model.training.select == "best_heldout":
            found.append(f"{name}: the epoch was chosen on the held-out fold that is reported")
    return found
