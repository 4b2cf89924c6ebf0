"""Risk groups by cuts of the training patients, their curves and log-rank tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.kaplan_meier import kaplan_meier, logrank
from pipeline.metrics.scores import RiskPredictions
from pipeline.metrics.time_dependent import SurvivalOutcome

Array = NDArray[np.float64]


def cuts_by_fold(info: Mapping[str, Any], groups: int) -> dict[int, Array]:
    """Fold → (groups − 1,) ascending cuts of Z from its training patients; −1: mean of folds.

    Args:
        info: What :func:`pipeline.ensemble.ensemble.ensemble` wrote as JSON.
        groups: 2 to 4 groups of equal size among training patients.
    """
    wanted = [f"{i / groups:.6g}" for i in range(1, groups)]
    cuts: dict[int, Array] = {}
    for entry in info["folds"]:
        stored = entry["train_quantiles"]
        missing = [q for q in wanted if q not in stored]
        if missing:
            raise ModelError(
                "an ensemble keeps no cut for this number of risk groups",
                expected=", ".join(stored),
                got=", ".join(missing),
                action="set evaluation.risk_groups to 2, 3 or 4",
            )
        cuts[int(entry["fold"])] = np.array([stored[q] for q in wanted], dtype=float)
    cuts[-1] = np.mean(list(cuts.values()), axis=0)
    return cuts


def assign_groups(one: RiskPredictions, cuts: Mapping[int, Array]) -> NDArray[np.int64]:
    """(n,) group of each patient, 1 = lowest risk: 1 + how many cuts lie below the risk."""
    folds = one.fold if one.fold is not None else np.full(len(one.risk), -1)
    return np.array(
        [1 + int((risk > cuts[int(k)]).sum()) for risk, k in zip(one.risk, folds, strict=True)],
        dtype=np.int64,
    )


def curve_rows(
    one: RiskPredictions, group: NDArray[np.int64], confidence: float
) -> Iterator[dict[str, object]]:
    """Rows of `km.csv`: one per group and distinct time, beginning at 0."""
    for number in np.unique(group):
        inside = group == number
        curve = kaplan_meier(one.data.time[inside], one.data.event[inside], confidence)
        for i, time in enumerate(curve.time):
            yield {
                "model": one.model,
                "set": one.set,
                "group": int(number),
                "time": float(time),
                "survival": float(curve.survival[i]),
                "ci_low": float(curve.ci_low[i]),
                "ci_high": float(curve.ci_high[i]),
                "at_risk": int(curve.at_risk[i]),
            }


def observed_rows(which: str, data: SurvivalOutcome, confidence: float) -> Iterator[dict[str, object]]:
    """Rows of `observed.csv`: what happened to all patients of a set, whatever the model."""
    curve = kaplan_meier(data.time, data.event, confidence)
    for i, time in enumerate(curve.time):
        yield {
            "set": which,
            "time": float(time),
            "survival": float(curve.survival[i]),
            "ci_low": float(curve.ci_low[i]),
            "ci_high": float(curve.ci_high[i]),
            "at_risk": int(curve.at_risk[i]),
        }


SMALLEST_GROUP = 5
"""Patients of a risk group that the log-rank test needs. Its χ² is of large samples: of one patient
among ten, the first to have the event, it says p = 0.003, where chance gives that one time in ten."""


def logrank_of(one: RiskPredictions, group: NDArray[np.int64]) -> tuple[float, float, str]:
    """Chi-square and p-value of a log-rank test between the groups, and a note."""
    counts = [int((group == g).sum()) for g in np.unique(group)]
    note = f"groups of {', '.join(map(str, counts))} patients, cut on training patients"
    if len(counts) > 1 and min(counts) < SMALLEST_GROUP:
        return math.nan, math.nan, f"{note}: no log-rank test of a group under {SMALLEST_GROUP}"
    chi_square, p_value = logrank(one.data.time, one.data.event, group)
    return chi_square, p_value, note if np.isfinite(p_value) else "fewer than two groups or no event"
