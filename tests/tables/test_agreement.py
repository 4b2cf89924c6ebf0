"""What a study names in its cohort table is there, and enough of it."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.settings.plan import PlanSettings
from pipeline.settings.root import load_settings
from pipeline.tables.agreement import doubts, require_columns
from pipeline.tables.cohort import Cohort, Patient


def cohort(events: int, patients: int, external: int = 0) -> Cohort:
    sets = ["development"] * patients + ["external"] * external
    rows = (
        Patient(f"P{n}", which, "A", "x", "", 9.0, int(n < events), {"clinical_age": "60"})
        for n, which in enumerate(sets)
    )
    return Cohort(tuple(rows), {})


@pytest.mark.parametrize(
    ("model", "where"),
    [
        ({"kind": "deepmts", "clinical": ["clinical_agee"]}, r"models\.one\.clinical"),
        ({"kind": "column", "column": "clinical_agee"}, r"models\.one\.column"),
    ],
)
def test_a_column_that_a_model_names_and_the_table_lacks(model: dict, where: str) -> None:
    models = load_settings({"models": {"one": model}}).models
    with pytest.raises(SettingsError, match=f"'clinical_agee'.*{where}.*did you mean 'clinical_age'"):
        require_columns(models, cohort(1, 2))


def test_columns_that_are_there() -> None:
    models = load_settings({"models": {"one": {"kind": "lasso_cox", "clinical": ["clinical_age"]}}}).models
    require_columns(models, cohort(1, 2))


def test_too_few_for_the_folds_is_told() -> None:
    assert doubts(PlanSettings(folds=5), cohort(5, 10)) == []
    assert "4 events are too few for plan.folds: 5" in doubts(PlanSettings(folds=5), cohort(4, 10))[0]
    assert "9 development patients" in doubts(PlanSettings(folds=5), cohort(9, 9))[0]
    assert "the cohort table has none" in doubts(PlanSettings(folds=1), cohort(5, 10))[0]
    assert doubts(PlanSettings(folds=1), cohort(5, 10, external=2)) == []
