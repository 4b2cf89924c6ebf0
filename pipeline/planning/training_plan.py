"""What training will do, with all settings resolved: the file `plan.json`.

It is written apart from the folds, so that a change of how networks are trained leaves the folds,
and with them the classical models, as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.planning.exclusions import excluded_patients, read_problems
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.tables.outcomes import has_outcomes, read_outcomes
from pipeline.tables.splits import Fold, Splits, read_splits
from pipeline.tables.whole import write_text


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
class TrainingPlanJob:
    """What the training plan describes.

    Attributes:
        splits: `splits.json`.
        cohort: `cohort.parquet`.
        problems: `problems.csv`.
        settings: Number of folds, and how patients are divided.
        models: Networks by name, resolved.
    """

    splits: Path
    cohort: Path
    problems: Path
    settings: PlanSettings
    models: Mapping[str, ModelPlan]


def write_training_plan(job: TrainingPlanJob, out: Path) -> None:
    """Write `plan.json`: numbers of patients and events, each network's training, caveats.

    Without outcomes the numbers of events are null.
    """
    write_text(out, json.dumps(describe(job), indent=1) + "\n")


def describe(job: TrainingPlanJob) -> dict[str, Any]:
    """The training plan as plain values."""
    splits, cohort = read_splits(job.splits), read_outcomes(job.cohort)
    excluded = excluded_patients(read_problems(job.problems))
    events = set(cohort.index[cohort["event"] == 1]) if has_outcomes(cohort) else None
    return {
        "patients": {
            "in_table": len(cohort) + len(excluded),
            "usable": len(cohort),
            "excluded": sorted(excluded),
            "events": None if events is None else len(events),
            "centres": sorted({str(c) for c in cohort["centre"]}),
        },
        "plan": {**job.settings.model_dump(mode="json"), "seed": splits.seed},
        "folds": [_count_sets(fold, events) for fold in splits.folds],
        "external": _count(splits.external, events),
        "models": {name: _describe_model(model, splits) for name, model in sorted(job.models.items())},
        "caveats": caveats(job),
    }


def _count_sets(fold: Fold, events: set[str] | None) -> dict[str, dict[str, int | None]]:
    sets = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    return {name: _count(members, events) for name, members in sets.items()}


def _count(members: Sequence[str], events: set[str] | None) -> dict[str, int | None]:
    occurred = None if events is None else sum(p in events for p in members)
    return {"patients": len(members), "events": occurred}


def _describe_model(model: ModelPlan, splits: Splits) -> dict[str, Any]:
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


def caveats(job: TrainingPlanJob) -> list[str]:
    """What has to be printed beside every table of this study: of each network, and of what it starts from."""
    texts = []
    for name in sorted(job.models):
        chain = [name]
        while (start := job.models[chain[-1]].training.pretrained_from) in job.models and start not in chain:
            chain.append(start)
        for network in chain:
            if job.models[network].training.checkpoint_selection == "best_test":
                begun = "" if network == name else f"training started from {network}, of which "
                texts.append(f"{name}: {begun}the epoch was chosen on the test fold that is reported")
    return texts
