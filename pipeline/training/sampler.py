"""Which patients form the batch of an iteration: a pure function of seed and iteration.

Nothing is kept between iterations, so a run that resumes at iteration i draws what the run
that was never stopped would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import TrainingError


@dataclass(frozen=True)
class Group:
    """Patients drawn together: a share of every batch.

    Attributes:
        name: `events`, `censored` or `patients`.
        members: Row numbers in the cohort.
        share: How many of them a batch has.
    """

    name: str
    members: tuple[int, ...]
    share: int


@dataclass(frozen=True)
class Sampler:
    """Draws batches; :meth:`batch_at` is all there is to it."""

    groups: tuple[Group, ...]
    seed: int

    def batch_at(self, iteration: int) -> list[int]:
        """Row numbers of the batch of an iteration (0, 1, …), in no order of the groups.

        Every group is shuffled anew for each pass over it; within a pass nobody is drawn
        twice, and the few left over at its end wait for the next pass. A group smaller than
        its share is taken whole as often as it goes in, and the rest drawn.
        """
        rows: list[int] = []
        for number, group in enumerate(self.groups):
            size = len(group.members)
            per_pass = max(size // group.share, 1)
            turn, place = divmod(iteration, per_pass)
            order = np.random.default_rng([self.seed, number, turn]).permutation(size)
            # np.resize repeats the shuffled group where it is smaller than its share.
            chosen = np.resize(order, group.share) if size < group.share else order[place * group.share :]
            rows.extend(group.members[i] for i in chosen[: group.share])
        mix = np.random.default_rng([self.seed, len(self.groups), iteration]).permutation(len(rows))
        return [rows[i] for i in mix]

    def notes(self) -> list[str]:
        """What a reader should know: groups so small that a batch repeats patients."""
        return [
            f"only {len(g.members)} of the training patients are {g.name}, and a batch takes {g.share}: "
            "patients are repeated within a batch"
            for g in self.groups
            if len(g.members) < g.share
        ]


def make_sampler(
    rows: Sequence[int], events: Sequence[int] | None, batch: int, seed: int, *, balance: Literal[True, False]
) -> Sampler:
    """Divide training patients into the groups a batch is drawn from.

    Args:
        rows: Row numbers of training patients.
        events: 1 = the event occurred, for each of them; None in a study without outcomes.
        batch: Patients in a batch.
        seed: Of the fold.
        balance: As many events as censored patients (one censored more where `batch` is
            odd). Where all patients have events, as in uncensored data, there is one group.

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
    occurred = tuple(row for row, event in zip(rows, events, strict=True) if event)
    censored = tuple(row for row, event in zip(rows, events, strict=True) if not event)
    if not occurred:
        raise TrainingError(
            "no training patient has an event",
            expected="at least one event in every fold's training patients",
            action="use fewer folds, or more patients",
        )
    if not balance or not censored:
        return Sampler((Group("patients", tuple(rows), batch),), seed)
    return Sampler(
        (Group("events", occurred, batch // 2), Group("censored", censored, batch - batch // 2)), seed
    )
