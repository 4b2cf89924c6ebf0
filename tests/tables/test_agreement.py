"""What a study names in its cohort table is there, and enough of it."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.settings.plan import PlanSettings
from pipeline.settings.root import Settings, load_settings
from pipeline.tables.agreement import doubts, require_columns, require_outcomes
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


def without_outcomes() -> Cohort:
    rows = (Patient(f"P{n}", "development", "A", "x", "", None, None) for n in range(4))
    return Cohort(tuple(rows), {})


PLAIN = {"balance_events": False}


def ask(settings: Settings, table: Cohort) -> None:
    """As the Snakefile asks."""
    require_outcomes(settings.cohort, settings.models, settings.balanced(), table)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"models": {"one": {"kind": "deepmts"}}},
            r"model 'one' predicts survival, .*models\.one, kind deepmts",
        ),
        ({"models": {"one": {"kind": "hecktor", "task": "survival"}}}, "model 'one' predicts survival"),
        ({"models": {"one": {"kind": "vgg", "outcome": "intervals"}}}, "model 'one' predicts survival"),
        ({"models": {"one": {"kind": "lasso_cox"}, "two": {"kind": "rsf"}}}, r"\(as do two\)"),
        ({"models": {"one": {"kind": "column", "column": "clinical_age"}}}, "model 'one' predicts survival"),
        (
            {"models": {"one": {"kind": "seg_backbone"}}, "training": {"balance_events": True}},
            "batches of model 'one' balance events.*set training.balance_events: false",
        ),
        (
            {"models": {"one": {"kind": "seg_backbone", "training": {"balance_events": True}}}},
            "batches of model 'one' balance events",
        ),
        ({"cohort": {"source": "generated"}}, "drawn by each patient's time"),
    ],
)
def test_what_needs_outcomes_is_refused_without_them(config: dict, message: str) -> None:
    settings = load_settings({"training": PLAIN, **config})
    with pytest.raises(SettingsError, match=message):
        ask(settings, without_outcomes())
    ask(settings, cohort(2, 4))


def test_what_needs_no_outcomes() -> None:
    models = {
        "one": {"kind": "hecktor", "task": "segmentation"},
        "two": {"kind": "vgg", "outcome": "label", "losses": {"labels": ["label_x"]}},
        "three": {"kind": "chest_ct", "tasks": ["detection", "reconstruction"]},
    }
    ask(load_settings({"training": PLAIN, "models": models}), without_outcomes())
    ask(load_settings({}), without_outcomes())
    assert doubts(PlanSettings(folds=2), without_outcomes()) == []
    assert "4 development patients are too few" in doubts(PlanSettings(folds=3), without_outcomes())[0]
