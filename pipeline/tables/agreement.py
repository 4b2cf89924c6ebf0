"""Whether a study's models find in the cohort table what their settings name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pipeline.errors import SettingsError
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.models import ModelEntry, ranking
from pipeline.settings.plan import PlanSettings
from pipeline.tables.cohort import Cohort


def require_columns(models: Mapping[str, ModelEntry], cohort: Cohort) -> None:
    """Refuse models that name columns the cohort table lacks, before hours of work.

    Raises:
        SettingsError: Naming model, column and the nearest one there is.
    """
    have = sorted(cohort.patients[0].extra)
    for name, model in models.items():
        named = [("clinical", column) for column in getattr(model, "clinical", ())]
        if model.kind == "column":
            named.append(("column", model.column))
        for key, column in named:
            if column not in have:
                close = difflib.get_close_matches(column, have, n=1, cutoff=0.5)
                raise SettingsError(
                    f"the cohort table has no column {column!r}",
                    where=f"models.{name}.{key}",
                    expected=", ".join(have) or "a column beginning clinical_",
                    action=f"did you mean {close[0]!r}?" if close else "add it to the cohort table",
                )


def require_outcomes(
    settings: CohortSettings, models: Mapping[str, ModelEntry], balanced: Sequence[str], cohort: Cohort
) -> None:
    """Refuse what needs times and events in a study whose cohort table has none.

    Args:
        settings: Where the table lies, and what the images are.
        models: Of the study.
        balanced: Networks among them whose batches balance events.
        cohort: The table as read.

    Raises:
        SettingsError: Naming the model, or the setting, and what to do.
    """
    if cohort.has_outcomes:
        return
    table = settings.table
    add = f"give {table} the columns time_days and event (another table's: cohort.columns, cohort.endpoint)"
    if settings.source == "generated":
        raise SettingsError(
            f"generated images are drawn by each patient's time, and {table} has none",
            where="cohort.source: generated",
            action=add,
        )
    ranked = ranking(models)
    if ranked:
        name = ranked[0]
        more = f" (as do {', '.join(ranked[1:])})" if len(ranked) > 1 else ""
        raise SettingsError(
            f"model {name!r} predicts survival{more}, and the cohort table has no outcomes",
            where=f"models.{name}, kind {models[name].kind}",
            expected="without time and event, networks that segment, classify, detect or reconstruct only",
            action=f"{add}, or remove the model",
        )
    if balanced:
        raise SettingsError(
            f"batches of model {balanced[0]!r} balance events, and the cohort table has no outcomes",
            where="training.balance_events: true",
            action="set training.balance_events: false, or " + add,
        )


def doubts(plan: PlanSettings, cohort: Cohort) -> list[str]:
    """What a study will stumble over after its images are prepared, told before."""
    found = []
    development = [p for p in cohort.patients if p.set == "development"]
    events, folds = sum(p.event or 0 for p in development), plan.folds
    if (cohort.has_outcomes and events < folds) or len(development) < 2 * folds:
        told = f" with {events} events" if cohort.has_outcomes else ""
        found.append(
            f"{len(development)} development patients{told} are too few for plan.folds: "
            f"{folds}; the plan will refuse them"
        )
    if folds == 1 and len(development) == len(cohort.patients):
        found.append("plan.folds: 1 judges models on external patients, and the cohort table has none")
    return found
