"""Which patients form the batch of an iteration: a pure function of seed and iteration.

No state is kept between iterations, so that a run resumed at iteration i draws the batches that
the run would have drawn without the interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import TrainingError


@dataclass(frozen=True)
class Group:
    """Patients of whom every batch has a fixed number.

    Attributes:
        name: `events`, `censored` or `patients`.
        members: Row numbers in the cohort.
        share: Number of them in a batch.
    """

    name: str
    members: tuple[int, ...]
    share: int


@dataclass(frozen=True)
class Sampler:
    """Chooses the patients of batches.

    Attributes:
        groups: Groups that every batch is drawn from.
        seed: Seed of the fold.
    """

    groups: tuple[Group, ...]
    seed: int

    def batch_at(self, iteration: int) -> list[int]:
        """Row numbers of the batch of an iteration (0, 1, …), the groups mixed.

        Every group is shuffled anew for each pass over it; within a pass no patient is drawn
        twice, and those left over at its end are left out of this pass. A group smaller than its
        share is repeated.
        """
        rows: list[int] = []
        for number, group in enumerate(self.groups):
            size = len(group.members)
            per_pass = max(size // group.share, 1)
            number_of_pass, place = divmod(iteration, per_pass)
            order = np.random.default_rng([self.seed, number, number_of_pass]).permutation(size)
            # np.resize repeats the shuffled group where it is smaller than its share.
            chosen = np.resize(order, group.share) if size < group.share else order[place * group.share :]
            rows.extend(group.members[i] for i in chosen[: group.share])
        mixed = np.random.default_rng([self.seed, len(self.groups), iteration]).permutation(len(rows))
        return [rows[i] for i in mixed]

    def notes(self) -> list[str]:
        """What readers of results should know: groups so small that a batch repeats patients."""
        return [
            f"only {len(g.members)} of the training patients are {g.name}, and a batch takes {g.share}: "
            "patients are repeated within a batch"
            for g in self.groups
            if len(g.members) < g.share
        ]


def make_sampler(
    rows: Sequence[int], events: Sequence[int] | None, batch: int, seed: int, *, balance: bool
) -> Sampler:
    """Divide training patients into the groups that a batch is drawn from.

    Args:
        rows: Row numbers of training patients.
        events: For each of them 1 = the event occurred; None in a study without outcomes.
        batch: Number of patients in a batch.
        seed: Seed of the fold.
        balance: Whether a batch has as many events as censored patients (one censored more where
            `batch` is odd). Where all patients have events there is one group.

    Raises:
        TrainingError: No training patient has an event; or there are no outcomes to balance.
    """
    if events is None:
        if balance:
            raise TrainingError(
                "batches balance events, and the study has no outcomes",
                where="training.balance_events: true",
                action="set training.balance_events: false",
            )
        return Sampler((Group("patients", tuple(rows), batch),), seed)
    with_event = tuple(row for row, event in zip(rows, events, strict=True) if event)
    censored = tuple(row for row, event in zip(rows, events, strict=True) if not event)
    if not with_event:
        raise TrainingError(
            "no training patient has an event",
            expected="at least one event in every fold's training patients",
            action="use fewer folds, or more patients",
        )
    if not balance or not censored:
        return Sampler((Group("patients", tuple(rows), batch),), seed)
    return Sampler(
        (Group("events", with_event, batch // 2), Group("censored", censored, batch - batch // 2)), seed
    )
