"""Folds and validation sets: as the cohort table gives them, else by seed and patient id alone.

They never depend on the table's order.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import TrainingError
from pipeline.planning.blocks import Member, blocks_of, deal, draw, random_key
from pipeline.settings.plan import PlanSettings
from pipeline.tables.splits import Fold


def divide(
    patients: Sequence[Member], settings: PlanSettings, seed: int, repeat: int = 0
) -> tuple[Fold, ...]:
    """Divide development patients into folds, each with training, validation and test patients.

    Where the cohort table has a column `split` it decides: with `folds: 1` between training and
    validation, else which fold has each patient as a test patient. Otherwise events and censored
    patients are dealt to the folds separately, so that folds differ by at most one patient and one
    event; with `by_centre` whole centres are held out, largest first, each to the fold with the
    fewest events (then patients). The validation set is drawn from a fold's other patients,
    stratified by event. Without outcomes all patients are dealt as one stratum, at random. Rows of
    one `group` stay together everywhere.

    Args:
        patients: Development patients that are usable, in any order.
        settings: Number of folds, share of validation patients, by centre or not.
        seed: Seed of the study.
        repeat: Number of a further division of the same patients; 0: the study's own.

    Raises:
        TrainingError: Too few patients, events or centres for this many folds; or the column
            `split` does not fit them.
    """
    salt = f"{seed}:repeat{repeat}" if repeat else str(seed)
    given = any(p.split for p in patients)
    if given and settings.folds == 1:
        folds = (_given_fold(patients),) * settings.repeats
    else:
        tests = _given_tests(patients, settings) if given else _drawn_tests(patients, settings, salt)
        folds = tuple(
            _fold(patients, test, settings.validation_fraction, f"{salt}:{number}")
            for number, test in enumerate(tests)
        )
    has_outcomes = any(p.event is not None for p in patients)
    with_event = {p.patient_id for p in patients if p.event} if has_outcomes else None
    for number, fold in enumerate(folds):
        check_fold(number, fold, with_event, settings)
    return folds


def further_divisions(
    patients: Sequence[Member], settings: PlanSettings, seed: int
) -> tuple[tuple[Fold, ...], ...]:
    """The folds of each further cross-validation (`plan.repeats`); none where there is one fold or one repeat.

    They are drawn as the study's own folds, stratified by event, without cutting groups, and by centre
    where that is asked for: then centres are dealt in a random order instead of the largest first.

    Raises:
        TrainingError: The folds are given, or each repeat would hold out the same centres.
    """
    if settings.folds == 1 or settings.repeats == 1:
        return ()
    centres = len({p.centre for p in patients})
    reason = ""
    if any(p.split for p in patients):
        reason = "the cohort table's column 'split' gives the folds"
    elif settings.by_centre and centres <= settings.folds:
        reason = f"there are {centres} centres for {settings.folds} folds"
    if reason:
        raise TrainingError(
            "repeated cross-validation would have the same folds each time",
            where=f"plan.repeats: {settings.repeats}",
            got=reason,
            action="set plan.repeats: 1, or use fewer folds",
        )
    return tuple(divide(patients, settings, seed, repeat) for repeat in range(1, settings.repeats))


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
        further_divisions(patients, settings, seed)
    except TrainingError as error:
        return str(error)
    return ""


def _given_fold(patients: Sequence[Member]) -> Fold:
    """Training and validation patients as the column `split` names them."""
    sets: dict[str, list[str]] = {"train": [], "validation": []}
    for patient in patients:
        if patient.split not in sets:
            raise TrainingError(
                "the column 'split' of the cohort table does not fit plan.folds: 1",
                where=f"patient {patient.patient_id}",
                expected="train or validation",
                got=repr(patient.split),
                action="correct the table, or set plan.folds to the number of folds that it names",
            )
        sets[patient.split].append(patient.patient_id)
    return Fold(tuple(sorted(sets["train"])), tuple(sorted(sets["validation"])), ())


def _given_tests(patients: Sequence[Member], settings: PlanSettings) -> list[set[str]]:
    """Test patients of each fold, whose numbers (1, 2, …) the column `split` holds."""
    numbers = {str(number + 1): number for number in range(settings.folds)}
    tests: list[set[str]] = [set() for _ in numbers]
    for patient in patients:
        if patient.split not in numbers:
            raise TrainingError(
                f"the column 'split' of the cohort table does not fit plan.folds: {settings.folds}",
                where=f"patient {patient.patient_id}",
                expected=f"the number of a fold, 1 to {settings.folds}",
                got=repr(patient.split),
                action="correct the table or plan.folds; sets named train and validation go with plan.folds: 1",
            )
        tests[numbers[patient.split]].add(patient.patient_id)
    return tests


def _drawn_tests(patients: Sequence[Member], settings: PlanSettings, salt: str) -> list[set[str]]:
    """Test patients of each fold; none where there is a single fold, however often it is repeated."""
    if settings.folds == 1:
        return [set() for _ in range(settings.repeats)]
    if settings.by_centre:
        return _by_centre(patients, settings, salt)
    return deal(blocks_of(patients), settings.folds, salt)


def _by_centre(patients: Sequence[Member], settings: PlanSettings, salt: str) -> list[set[str]]:
    """Test patients of each fold, whole centres at a time.

    Raises:
        TrainingError: Fewer centres than folds.
    """
    centres: dict[str, list[Member]] = {}
    centre_of: dict[str, str] = {}
    for patient in patients:
        centres.setdefault(patient.centre, []).append(patient)
        if patient.group and centre_of.setdefault(patient.group, patient.centre) != patient.centre:
            raise TrainingError(
                f"group {patient.group!r} has patients of two centres, and whole centres are held out",
                where="plan.by_centre",
                got=f"{centre_of[patient.group]} and {patient.centre}",
                action="correct the columns group and centre, or set plan.by_centre: false",
            )
    if len(centres) < settings.folds:
        raise TrainingError(
            "fewer centres than folds",
            where="plan.by_centre",
            expected=f"at least {settings.folds} centres with usable development patients",
            got=", ".join(f"{name} ({len(centres[name])})" for name in sorted(centres)),
            action="lower plan.folds, or set plan.by_centre: false",
        )
    largest_first = "repeat" not in salt
    order = sorted(centres, key=lambda name: (-len(centres[name]) * largest_first, random_key(salt, name)))
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
    # The salt says `inner`, as the set was called in earlier versions: another word draws other patients.
    validation = draw(blocks_of(rest), fraction, f"inner:{salt}")
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
