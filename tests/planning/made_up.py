"""Made-up patients, and the rules of the plan run one after the other."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.planning.exclusions import gather_problems
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan
from pipeline.planning.training_plan import ModelPlan, TrainingPlanJob, write_training_plan
from pipeline.settings.plan import PlanSettings
from pipeline.tables.cohort import Patient
from pipeline.tables.splits import Splits


def cohort(n: int, rate: float = 0.4, centres: int = 4, external: int = 0) -> list[Patient]:
    """n development patients, a share `rate` of them with the event, and external ones."""
    draw = random.Random(n)
    return [
        Patient(
            f"id{draw.randrange(10**9)}_{i}",
            "external" if i >= n else "development",
            f"c{draw.randrange(centres)}",
            "-",
            "",
            draw.uniform(10, 3000),
            int(i % 10 < 10 * rate),
        )
        for i in range(n + external)
    ]


def without_outcomes(count: int, external: int = 0) -> list[Patient]:
    """Patients of a study without outcomes."""
    return [replace(p, time_days=None, event=None) for p in cohort(count, external=external)]


def plan(
    folder: Path,
    people: Sequence[Patient],
    stages: Mapping[str, Sequence[Path]] | None = None,
    table: Mapping[str, str] | None = None,
    models: Mapping[str, ModelPlan] | None = None,
    **settings: Any,
) -> Splits:
    """Write `problems.csv`, `splits.json`, `cohort.parquet` and `plan.json`."""
    problems, chosen = folder / "problems.csv", PlanSettings(**settings)
    gather_problems(stages or {}, table or {}, problems, "exclude")
    paths = PlanPaths(folder / "splits.json", folder / "cohort.parquet")
    splits = make_plan(PlanJob(tuple(people), problems, chosen, 1), paths)
    job = TrainingPlanJob(paths.splits, paths.cohort, problems, chosen, models or {})
    write_training_plan(job, folder / "plan.json")
    return splits
