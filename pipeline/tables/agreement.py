"""Whether a study's models find in the cohort table what their settings name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pipeline.errors import SettingsError
from pipeline.settings.models import ModelEntry
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


def doubts(plan: PlanSettings, cohort: Cohort) -> list[str]:
    """What a study will stumble over after its images are prepared, told before."""
    found = []
    development = [p for p in cohort.patients if p.set == "development"]
    events, folds = sum(p.event for p in development), plan.folds
    if events < folds or len(development) < 2 * folds:
        found.append(
            f"{len(development)} development patients with {events} events are too few for plan.folds: "
            f"{folds}; the plan will refuse them"
        )
    if folds == 1 and len(development) == len(cohort.patients):
        found.append("plan.folds: 1 judges models on external patients, and the cohort table has none")
    return found
