"""What a study names in its cohort table is there, and enough of it."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.settings.plan import PlanSettings
from pipeline.settings.root import Settings, load_settings
from pipeline.tables.cohort import Cohort, Patient
from pipeline.tables.preflight import describe_outcomes, preflight_warnings, require_columns, require_outcomes
from tests.settings.minimal import study as minimal_study


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
    models = load_settings(minimal_study(models={"one": model})).models
    with pytest.raises(SettingsError, match=f"'clinical_agee'.*{where}.*did you mean 'clinical_age'"):
        require_columns(models, cohort(1, 2))


def test_columns_that_are_there() -> None:
    models = load_settings(
        minimal_study(models={"one": {"kind": "lasso_cox", "clinical": ["clinical_age"]}})
    ).models
    require_columns(models, cohort(1, 2))


def followed(*outcomes: tuple[float, int]) -> Cohort:
    """Development patients with these times and events."""
    rows = (Patient(f"P{n}", "development", "A", "x", "", t, e) for n, (t, e) in enumerate(outcomes))
    return Cohort(tuple(rows), {})


def test_one_fold_without_external_patients_gives_a_warning() -> None:
    one = PlanSettings(folds=1)
    assert "the cohort table has none" in preflight_warnings(one, cohort(5, 10), (9.0,), "days")[0]
    assert preflight_warnings(one, cohort(5, 10, external=2), (9.0,), "days") == []


@pytest.mark.parametrize(
    ("days", "horizons", "unit", "message"),
    [
        # Follow-up of 1 to 5 years.
        ((400.0, 1800.0), (365.25, 730.5), "days", "no event before evaluation.horizons_days: 365.25"),
        ((300.0, 1800.0), (365.25, 730.5), "days", ""),
        # The same in months, not declared; and with horizons in years.
        ((10.0, 60.0), (365.25, 730.5), "days", "365.25, 730.5 (the longest: 60)"),
        ((300.0, 1800.0), (1.0, 2.0), "days", "no event before evaluation.horizons_days: 1, 2"),
        # Days declared to be months: 1800 × 30.4375 days are 150 years.
        ((9131.25, 54787.5), (10000.0,), "months", "150 years, so the table's times are not in months"),
        ((4.0, 11.0), (5.0,), "none", ""),
    ],
)
def test_times_and_horizons_of_different_units_give_a_warning(
    days: tuple[float, float], horizons: tuple[float, ...], unit: str, message: str
) -> None:
    first, last = days
    people = followed(*[(first, 1), (last, 0)] * 10)
    warnings = preflight_warnings(PlanSettings(folds=2), people, horizons, unit)
    assert [message in warning for warning in warnings] == [True] * bool(message), warnings


def test_outcomes_are_described_as_read() -> None:
    people = followed((30.4375, 1), (60.875, 0), (365.25, 1))
    line = "development: 3 patients, 2 events, times 30.44 to 365.2 days, median 60.88 days"
    assert describe_outcomes(people, "days") == [line]
    assert describe_outcomes(people, "months") == [line + " (read from months)"]
    assert "days" not in describe_outcomes(people, "none")[0]


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
    ],
)
def test_what_needs_outcomes_is_refused_without_them(config: dict, message: str) -> None:
    settings = load_settings(minimal_study(**{"training": PLAIN, **config}))
    with pytest.raises(SettingsError, match=message):
        ask(settings, without_outcomes())
    ask(settings, cohort(2, 4))


def test_what_needs_no_outcomes() -> None:
    models = {
        "one": {"kind": "hecktor", "task": "segmentation"},
        "two": {"kind": "vgg", "outcome": "label", "losses": {"labels": ["label_x"]}},
        "three": {"kind": "chest_ct", "tasks": ["detection", "reconstruction"]},
    }
    ask(load_settings(minimal_study(training=PLAIN, models=models)), without_outcomes())
    assert preflight_warnings(PlanSettings(folds=2), without_outcomes(), (365.25,), "days") == []
    assert describe_outcomes(without_outcomes(), "days") == ["development: 4 patients, no outcomes"]
