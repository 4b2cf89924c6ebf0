"""Blocks of patients who stay together: the slices of a volume, the lesions of a patient.

Where the cohort table has a column `group`, rows of one group are one block, which no fold and no
validation set cuts; every other row is a block of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

STRATA = (1, 0, None)
"""Blocks with the event, without it, and those of a study without outcomes."""


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

    @property
    def group(self) -> str:
        """Rows with the same name stay together; empty: the row is alone."""

    @property
    def split(self) -> str:
        """What the cohort table says of the row's set; empty: it is drawn."""


@dataclass(frozen=True)
class PatientBlock:
    """Patients who stay together.

    Attributes:
        name: The group's name, or the id of a patient without a group.
        patients: Ids of its members.
        event: 1 where any member had the event; None in a study without outcomes.
    """

    name: str
    patients: tuple[str, ...]
    event: int | None


def blocks_of(patients: Iterable[Member]) -> list[PatientBlock]:
    """The blocks of patients, in the order of their first members."""
    members: dict[tuple[bool, str], list[Member]] = {}
    for patient in patients:
        members.setdefault((bool(patient.group), patient.group or patient.patient_id), []).append(patient)
    return [
        PatientBlock(name, tuple(p.patient_id for p in rows), _event(rows))
        for (_, name), rows in members.items()
    ]


def _event(patients: Sequence[Member]) -> int | None:
    known = [patient.event for patient in patients if patient.event is not None]
    return max(known) if known else None


def random_key(salt: str, name: str) -> bytes:
    """A key that sorts names in a random order, which salt and name alone decide."""
    return hashlib.sha256(f"{salt}\0{name}".encode()).digest()


def shuffled(blocks: Iterable[PatientBlock], salt: str) -> list[PatientBlock]:
    """Blocks in a random order that salt and names decide, whatever other blocks there are."""
    return sorted(blocks, key=lambda block: (random_key(salt, block.name), block.name))


def deal(blocks: Sequence[PatientBlock], folds: int, salt: str) -> list[set[str]]:
    """Test patients of each fold.

    Blocks with the event are dealt first, then the others, the large ones of each before the small
    ones: each to the fold with the fewest blocks of its kind's events, then the fewest patients.
    Blocks of one patient are so dealt in turn.
    """
    tests: list[set[str]] = [set() for _ in range(folds)]
    events = [0] * folds
    for stratum in STRATA:
        order = shuffled((block for block in blocks if block.event == stratum), salt)
        for block in sorted(order, key=lambda block: -len(block.patients)):
            occurred = 1 if block.event else 0
            fold = min(range(folds), key=lambda k: (events[k] * occurred, len(tests[k]), k))
            tests[fold].update(block.patients)
            events[fold] += occurred
    return tests


def draw(blocks: Sequence[PatientBlock], fraction: float, salt: str) -> set[str]:
    """Patients of about a share of the blocks, stratified by event, whole blocks only.

    Blocks are taken in a random order as long as they fit into the share; where none does, the
    smallest one is taken, so that a share above 0 of two blocks or more is never empty.
    """
    drawn: set[str] = set()
    for stratum in STRATA:
        order = shuffled((block for block in blocks if block.event == stratum), salt)
        if fraction == 0 or not order:
            continue
        wanted = round(fraction * sum(len(block.patients) for block in order))
        if len(order) >= 2:
            wanted = max(wanted, 1)
        taken: set[str] = set()
        for block in order:
            if len(taken) + len(block.patients) <= wanted:
                taken.update(block.patients)
        if wanted and not taken and len(order) >= 2:
            taken.update(min(order, key=lambda block: len(block.patients)).patients)
        drawn |= taken
    return drawn
