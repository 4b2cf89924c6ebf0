"""Checks of a study's settings against its cohort table, before hours of work."""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Mapping, Sequence

from pipeline.errors import SettingsError
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.kinds import ranking
from pipeline.settings.models import Model
from pipeline.settings.network import Network
from pipeline.settings.plan import PlanSettings
from pipeline.tables.cohort import Cohort, Patient
from pipeline.tables.cohort_rows import levels_of
from pipeline.tables.label_classes import require_label_classes

MOST_LEVELS = 20
"""Levels of a column up to which its subgroups are evaluated."""
LONGEST_DAYS = 36525.0
"""A hundred years; no patient is followed for longer."""


def require_columns(models: Mapping[str, Model], cohort: Cohort) -> None:
    """Refuse models that name columns the cohort table lacks, or labels that are not coded in classes.

    Raises:
        SettingsError: A column is missing, or holds no classes; the message names the model and the column.
    """
    have = sorted(cohort.patients[0].extra)
    for name, model in models.items():
        for key, column in model.columns():
            if column not in have:
                close = difflib.get_close_matches(column, have, n=1, cutoff=0.5)
                raise SettingsError(
                    f"the cohort table has no column {column!r}",
                    where=f"models.{name}.{key}",
                    expected=", ".join(have) or "a column beginning clinical_",
                    action=f"did you mean {close[0]!r}?" if close else "add it to the cohort table",
                )
    labels = [column for column in have if column.startswith("label_")]
    require_label_classes(models, {column: [p.extra[column] for p in cohort.patients] for column in labels})


def require_subsets(networks: Mapping[str, Network], cohort: Cohort) -> None:
    """Refuse networks whose part of the cohort nobody belongs to.

    Raises:
        SettingsError: Naming the network, and the subsets that there are.
    """
    have = sorted({name for patient in cohort.patients for name in patient.subsets})
    for name, network in networks.items():
        if network.subset and network.subset not in have:
            raise SettingsError(
                f"no patient of the cohort table belongs to the subset {network.subset!r}",
                where=f"models.{name}.subset",
                expected=", ".join(have) or "a name in the table's column `subsets`",
                action="correct the name, or fill the column",
            )


def require_subgroups(columns: Sequence[str], cohort: Cohort) -> None:
    """Refuse subgroups by a column that the cohort table lacks, or that has a level for nearly every patient.

    Raises:
        SettingsError: Naming the column.
    """
    have = ["centre", *sorted(cohort.patients[0].extra)]
    for column in columns:
        if column not in have:
            raise SettingsError(
                f"the cohort table has no column {column!r}",
                where="evaluation.subgroups",
                expected=", ".join(have),
            )
        texts = {p.centre if column == "centre" else p.extra[column] for p in cohort.patients}
        levels = set(levels_of(texts)) - {""}
        if len(levels) > MOST_LEVELS:
            raise SettingsError(
                f"column {column!r} has too many levels for subgroups",
                where="evaluation.subgroups",
                expected=f"at most {MOST_LEVELS}",
                got=f"{len(levels)}",
                action="add a column of few groups to the cohort table, e.g. clinical_age_group",
            )


def require_outcomes(
    settings: CohortSettings, models: Mapping[str, Model], balanced: Sequence[str], cohort: Cohort
) -> None:
    """Refuse what needs times and events in a study whose cohort table has none.

    Args:
        settings: Settings of the cohort, for its table and the kind of its images.
        models: Models of the study.
        balanced: Networks among them whose batches balance events.
        cohort: The cohort table.

    Raises:
        SettingsError: The cohort has no outcomes; the message names the model or setting that needs them.
    """
    if cohort.has_outcomes:
        return
    table = settings.table
    add_outcomes = (
        f"give {table} the columns time_days and event (another table's: cohort.columns, cohort.endpoint)"
    )
    with_risk = ranking(models)
    if with_risk:
        name = with_risk[0]
        more = f" (as do {', '.join(with_risk[1:])})" if len(with_risk) > 1 else ""
        raise SettingsError(
            f"model {name!r} predicts survival{more}, and the cohort table has no outcomes",
            where=f"models.{name}, kind {models[name].kind}",
            expected="without time and event, networks that segment, classify, detect or reconstruct only",
            action=f"{add_outcomes}, or remove the model",
        )
    if balanced:
        raise SettingsError(
            f"batches of model {balanced[0]!r} balance events, and the cohort table has no outcomes",
            where="training.balance_events: true",
            action="set training.balance_events: false, or " + add_outcomes,
        )


def require_times_of_disks(settings: CohortSettings, cohort: Cohort) -> None:
    """Refuse disks without times: each image is compared with the time of its row.

    Raises:
        SettingsError: The cohort table has no outcomes.
    """
    if not cohort.has_outcomes:
        raise SettingsError(
            f"generated disks are drawn by each patient's time, and {settings.table} has none",
            where="cohort.source: generated",
            action="give the table the columns time_days and event: python -m pipeline.phantoms.disk_table STUDY.yaml",
        )


def describe_outcomes(cohort: Cohort, time_unit: str) -> list[str]:
    """A line per set: patients and, where there are outcomes, events and times, so that wrong units and codings show.

    Args:
        cohort: Usable patients; times in days, or dimensionless where `time_unit` is `none`.
        time_unit: The table's unit (`cohort.time_unit`).
    """
    lines = []
    unit = "" if time_unit == "none" else " days"
    read = f" (read from {time_unit})" if time_unit == "months" else ""
    for which in ("development", "external"):
        patients = [p for p in cohort.patients if p.set == which]
        times = [p.time_days for p in patients if p.time_days is not None]
        if times:
            lines.append(
                f"{which}: {len(patients)} patients, {sum(p.event or 0 for p in patients)} events, times "
                f"{min(times):.4g} to {max(times):.4g}{unit}, median {statistics.median(times):.4g}{unit}{read}"
            )
        elif patients:
            lines.append(f"{which}: {len(patients)} patients, no outcomes")
    return lines


def preflight_warnings(
    plan: PlanSettings, cohort: Cohort, horizons: Sequence[float], time_unit: str
) -> list[str]:
    """Problems that a study would run into only after its images are prepared.

    Args:
        plan: Settings of the folds.
        cohort: Usable patients.
        horizons: `evaluation.horizons_days`.
        time_unit: The table's unit (`cohort.time_unit`).
    """
    development = [p for p in cohort.patients if p.set == "development"]
    warnings = _unit_warnings(development, horizons, time_unit)
    if plan.folds == 1 and len(development) == len(cohort.patients):
        warnings.append("plan.folds: 1 evaluates models on external patients, and the cohort table has none")
    return warnings


def _unit_warnings(development: list[Patient], horizons: Sequence[float], time_unit: str) -> list[str]:
    """Signs that times or horizons are in another unit than declared."""
    outcomes = [(p.time_days, p.event) for p in development if p.time_days is not None]
    if not outcomes:
        return []
    warnings = []
    longest = max(days for days, _ in outcomes)
    if time_unit != "none" and longest > LONGEST_DAYS:
        warnings.append(
            f"the longest follow-up is {longest / 365.25:.0f} years, so the table's times are not in {time_unit}; "
            "set cohort.time_unit"
        )
    late = [f"{day:g}" for day in horizons if day > longest]
    if late:
        warnings.append(
            f"no patient is followed to evaluation.horizons_days: {', '.join(late)} (the longest: {longest:.4g}); "
            "are the table's times in days? (cohort.time_unit)"
        )
    first = min((days for days, event in outcomes if event), default=0.0)
    early = [f"{day:g}" for day in horizons if day < first]
    if early:
        warnings.append(
            f"no event before evaluation.horizons_days: {', '.join(early)} (the first: {first:.4g}); "
            "are the horizons in days?"
        )
    return warnings
