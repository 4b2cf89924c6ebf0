"""Learning rate of an iteration: a pure function, so that resuming needs no state."""

from __future__ import annotations

import math

from pipeline.settings.training import ScheduleSettings


def learning_rate(schedule: ScheduleSettings, iteration: int, iterations: int) -> float:
    """Learning rate at an iteration (0, 1, … iterations − 1).

    `steps`: of the last step that has begun (DeepMTS: 5e-5, 1e-5, 1e-6 from iterations
    2,500, 5,000, 10,000). `cosine`: lr·(1 + cos(π·i/n))/2, from the start's value towards 0
    (Loshchilov and Hutter 2017, eq. 5, without restarts).
    """
    if schedule.kind == "cosine":
        return schedule.learning_rate * (1 + math.cos(math.pi * iteration / iterations)) / 2
    rate = schedule.learning_rate
    if schedule.kind == "steps":
        for start, value in sorted(schedule.steps):
            if iteration >= start:
                rate = value
    return rate
