"""Folds and validation sets: by seed and patient id alone, never by the table's order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from pipeline.errors import TrainingError
from pipeline.settings.plan import PlanSettings
from pipeline.tables.splits import Fold

STRATA = (1, 0, None)
"""Patients with the event, censored ones, and those of a study without outcomes."""


class Member(Protocol):
    """What decides to which fold a patient goes."""

    @property
    def patient_id(self) -> str:
        """The patient's id."""

    @property
    def centre(self) -> str:
        """The centre that treated the patient."""

    @property
    def event(self) -> int | None:
        """1 = the event occurred; None in a study without outcomes."""


def divide(patients: Sequence[Member], settings: PlanSettings, seed: int) -> tuple[Fold, ...]:
    """Divide development patients into folds, each with training, validation and test patients.

    Events and censored patients are dealt to the folds separately, so that folds differ by
    at most one patient and one event; with `by_centre` whole centres are held out, largest
    first, each to the fold with the fewest events (then patients). The validation set
    is drawn from a fold's other patients, stratified by event. Without outcomes all patients
    are dealt as one stratum, at random.

    Args:
        patients: Development patients that are usable, in any order.
        settings: Number of folds, share of validation patients, by centre or not.
        seed: Seed of the study.

    Raises:
        TrainingError: Too few patients, events or centres for this many folds.
    """
    tests = _test_sets(patients, settings, seed)
    folds = tuple(
        _fold(patients, test, settings.validation_fraction, f"{seed}:{number}")
        for number, test in enumerate(tests)
    )
    has_outcomes = any(p.event is not None for p in patients)
    with_event = {p.patient_id for p in patients if p.event} if has_outcomes else None
    for number, fold in enumerate(folds):
        check_fold(number, fold, with_event, settings)
    return folds


def infeasible_plan_reason(patients: Sequence[Member], settings: PlanSettings, seed: int) -> str:
    """Why the plan would be refused even if no stage excludes a patient; empty where it would not be.

    This is checked before hours are spent on preparing images.

    Args:
        patients: Development patients of the cohort table.
        settings: As for :func:`divide`.
        seed: Seed of the study.
    """
    try:
        divide(patients, settings, seed)
    except TrainingError as error:
        return str(error)
    return ""


def _test_sets(patients: Sequence[Member], settings: PlanSettings, seed: int) -> list[set[str]]:
    """Test patients of each fold; none where there is a single fold, however often it is repeated."""
    if settings.folds == 1:
        return [set() for _ in range(settings.repeats)]
    return _by_centre(patients, settings, seed) if settings.by_centre else _by_event(patients, settings, seed)


def _shuffled(patients: Iterable[Member], salt: str) -> list[Member]:
    """Patients in a random order that salt and patient id decide, whatever other patients there are."""
    return sorted(patients, key=lambda p: (_random_key(salt, p.patient_id), p.patient_id))


def _random_key(salt: str, name: str) -> bytes:
    return hashlib.sha256(f"{salt}\0{name}".encode()).digest()


def _by_event(patients: Sequence[Member], settings: PlanSettings, seed: int) -> list[set[str]]:
    """Test patients of each fold: those with the event, then the censored ones, are dealt out in turn."""
    order = [p for event in STRATA for p in _shuffled((q for q in patients if q.event == event), str(seed))]
    tests: list[set[str]] = [set() for _ in range(settings.folds)]
    for position, patient in enumerate(order):
        tests[position % settings.folds].add(patient.patient_id)
    return tests


def _by_centre(patients: Sequence[Member], settings: PlanSettings, seed: int) -> list[set[str]]:
    """Test patients of each fold, whole centres at a time.

    Raises:
        TrainingError: Fewer centres than folds.
    """
    centres: dict[str, list[Member]] = {}
    for patient in patients:
        centres.setdefault(patient.centre, []).append(patient)
    if len(centres) < settings.folds:
        raise TrainingError(
            "fewer centres than folds",
            where="plan.by_centre",
            expected=f"at least {settings.folds} centres with usable development patients",
            got=", ".join(f"{name} ({len(centres[name])})" for name in sorted(centres)),
            action="lower plan.folds, or set plan.by_centre: false",
        )
    order = sorted(centres, key=lambda name: (-len(centres[name]), _random_key(str(seed), name)))
    tests: list[set[str]] = [set() for _ in range(settings.folds)]
    events = [0] * settings.folds
    for name in order:
        fold = min(range(settings.folds), key=lambda k: (bool(tests[k]), events[k], len(tests[k]), k))
        tests[fold].update(p.patient_id for p in centres[name])
        events[fold] += sum(p.event or 0 for p in centres[name])
    return tests


def _fold(patients: Sequence[Member], test: set[str], fraction: float, salt: str) -> Fold:
    """The fold of given test patients; validation patients are drawn from the others."""
    rest = [p for p in patients if p.patient_id not in test]
    validation: set[str] = set()
    for event in STRATA:
        # The salt says `inner`, as the set was called in earlier versions: another word draws other patients.
        stratum = _shuffled((p for p in rest if p.event == event), f"inner:{salt}")
        count = round(fraction * len(stratum))
        if fraction > 0 and len(stratum) >= 2:
            count = max(count, 1)
        validation.update(p.patient_id for p in stratum[:count])
    train = [p.patient_id for p in rest if p.patient_id not in validation]
    return Fold(tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)))


def check_fold(number: int, fold: Fold, with_event: set[str] | None, settings: PlanSettings) -> None:
    """Refuse a fold that cannot be trained or evaluated.

    Training needs two events, since a Cox loss of a single event says little; a validation or
    test set needs one event and a second patient, since a concordance needs a pair. Without
    outcomes (`with_event` is None) only patients are counted.

    Args:
        number: Number of the fold.
        fold: Its sets.
        with_event: Ids of the patients who had the event.
        settings: Number of folds and share of validation patients.

    Raises:
        TrainingError: Naming the fold, the set and its numbers.
    """
    needs = {"train": (3, 2), "validation": (2, 1), "test": (2, 1)}
    if settings.validation_fraction == 0:
        del needs["validation"]
    if settings.folds == 1:
        del needs["test"]
    sets = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    for name, (patients, events) in needs.items():
        members = sets[name]
        occurred = 0 if with_event is None else sum(p in with_event for p in members)
        if len(members) < patients or (with_event is not None and occurred < events):
            expected, got = f"at least {patients} patients", f"{len(members)} patients"
            if with_event is not None:
                expected += f" and {events} event{'s' * (events > 1)}"
                got += f" and {occurred} event{'s' * (occurred != 1)}"
            raise TrainingError(
                f"too few patients or events for this many folds: fold {number}, set {name}",
                where="plan",
                expected=expected,
                got=got,
                action="lower plan.folds, change plan.validation_fraction, or see problems.csv for who was "
                "excluded and why",
            )
