"""Risk groups by cuts of the training patients, their curves and log-rank tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.kaplan_meier import LogRankTest, SurvivalCurve, kaplan_meier, logrank
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.time_dependent import SurvivalOutcome

Array = NDArray[np.float64]
SMALLEST_GROUP = 5
"""Patients of a risk group that the log-rank test needs. Its χ² holds for large samples: where one patient
among ten is the first to have the event, it gives p = 0.003, while chance gives that one time in ten."""


def cuts_by_fold(info: Mapping[str, Any], groups: int) -> dict[int, Array]:
    """Fold → (groups − 1,) ascending cuts of the Z-scores of its training patients; −1: mean over folds.

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
                "an ensemble has no cuts for this number of risk groups",
                expected=", ".join(stored),
                got=", ".join(missing),
                action="set evaluation.risk_groups to 2, 3 or 4",
            )
        cuts[int(entry["fold"])] = np.array([stored[q] for q in wanted], dtype=float)
    cuts[-1] = np.mean(list(cuts.values()), axis=0)
    return cuts


def assign_groups(predictions: RiskPredictions, cuts: Mapping[int, Array]) -> NDArray[np.int64]:
    """(n,) group of each patient, 1 = lowest risk: 1 + number of cuts below the risk."""
    risk = predictions.risk
    folds = predictions.fold if predictions.fold is not None else np.full(len(risk), -1)
    return np.array(
        [1 + int((value > cuts[int(fold)]).sum()) for value, fold in zip(risk, folds, strict=True)],
        dtype=np.int64,
    )


def curve_rows(
    predictions: RiskPredictions, group: NDArray[np.int64], counts: Array, confidence: float
) -> Iterator[dict[str, object]]:
    """Rows of `km.csv`: one per group and distinct time, beginning at 0.

    Args:
        predictions: Predictions and outcomes of n patients.
        group: (n,) risk group of each.
        counts: (B, n) bootstrap counts, for the intervals of rows that depend on one another.
        confidence: Confidence level of the intervals.
    """
    outcome = predictions.outcome
    dependent = bool(outcome.dependent_rows_reason())
    for number in np.unique(group):
        members = group == number
        resamples = counts[:, members] if dependent else None
        curve = kaplan_meier(outcome.time[members], outcome.event[members], confidence, resamples)
        for row in _curve_rows(curve):
            yield {"model": predictions.model, "set": predictions.set, "group": int(number), **row}


def observed_rows(
    which: str, outcome: SurvivalOutcome, counts: Array, confidence: float
) -> Iterator[dict[str, object]]:
    """Rows of `observed.csv`: the survival of all patients of a set, whatever the model.

    Args:
        which: Name of the set.
        outcome: Outcomes of its n patients.
        counts: (B, n) bootstrap counts, for the intervals of rows that depend on one another.
        confidence: Confidence level of the intervals.
    """
    resamples = counts if outcome.dependent_rows_reason() else None
    for row in _curve_rows(kaplan_meier(outcome.time, outcome.event, confidence, resamples)):
        yield {"set": which, **row}


def _curve_rows(curve: SurvivalCurve) -> Iterator[dict[str, object]]:
    """A row per time of a Kaplan–Meier curve."""
    for i, time in enumerate(curve.time):
        yield {
            "time": float(time),
            "survival": float(curve.survival[i]),
            "ci_low": float(curve.ci_low[i]),
            "ci_high": float(curve.ci_high[i]),
            "at_risk": int(curve.at_risk[i]),
        }


def logrank_of(predictions: RiskPredictions, group: NDArray[np.int64]) -> LogRankTest:
    """Log-rank test between the risk groups, with a note on their sizes.

    The p-value is χ²'s, which holds for patients that no model was fitted on, and 1 where the
    groups' order is reversed: the group that was said to be at higher risk had fewer events. χ² counts
    patients as independent: where rows of one group (slices of a volume) are judged, there is none. It is
    not to be used for cross-validated groups (:func:`cross_validated_logrank`).
    """
    outcome = predictions.outcome
    if reason := outcome.few_events_reason() or outcome.dependent_rows_reason():
        return LogRankTest(math.nan, math.nan, note=reason)
    sizes = [int((group == number).sum()) for number in np.unique(group)]
    note = f"groups of {', '.join(map(str, sizes))} patients, cut on training patients"
    if len(sizes) > 1 and min(sizes) < SMALLEST_GROUP:
        reason = f"{note}: no log-rank test of a group under {SMALLEST_GROUP}"
        return LogRankTest(math.nan, math.nan, note=reason)
    test = logrank(outcome.time, outcome.event, group)
    if not np.isfinite(test.p_value):
        return replace(test, note="fewer than two groups, or no event with patients of two groups at risk")
    if test.trend <= 0:
        return replace(test, p_value=1.0, note=f"{note}; their order is reversed")
    return replace(test, note=note)


def cross_validated_logrank(test: LogRankTest, permutations: Mapping[str, Any] | None) -> LogRankTest:
    """The test of cross-validated groups: the p-value of permuting the whole procedure, or none.

    Each patient's group comes from models that were fitted on the others' outcomes, so that groups
    and outcomes are not independent under the hypothesis, and χ² is significant at 0.05 in a sixth of
    studies of noise (Simon et al., Brief Bioinform 2011; 12: 203).

    Args:
        test: The test that :func:`logrank_of` gives.
        permutations: Content of `permutations.json`; None for models that are not refitted.
    """
    if not np.isfinite(test.p_value):
        return test
    reason = (
        "no p-value: only single classical models that are quick to fit are refitted to permuted outcomes"
    )
    if permutations is not None:
        reason = permutations["reason"]
    if permutations is None or reason:
        return LogRankTest(math.nan, math.nan, note=f"{test.note}; {reason}")
    note = f"{test.note}; p-value of {permutations['permutations']} permutations of the whole procedure"
    return replace(test, p_value=float(permutations["p_value"]), note=note)
