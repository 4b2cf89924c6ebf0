"""AUC and Brier score as curves over follow-up, and the AUC's weighted mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.auc_interval import auc_interval
from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow, percentile_interval
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.probability_scores import brier_over_time
from pipeline.metrics.time_dependent import (
    LEAST_ON_EACH_SIDE,
    SurvivalOutcome,
    auc_pairs,
    brier_terms,
    survival_at,
    weighted_mean,
)

Array = NDArray[np.float64]
GRID = 12
"""Times of the AUC's curve."""
METRIC = "auc_integrated"
WITHIN = "pairs within folds"


@dataclass(frozen=True)
class TimeCurves:
    """What a model's predictions are worth along follow-up.

    Attributes:
        metrics: The line `auc_integrated` of `metrics.csv`.
        points: Rows of `time_curves.csv`: metric (`auc`, `brier`, `brier_kaplan_meier`), time, value,
            ci_low, ci_high, patients.
    """

    metrics: list[MetricRow]
    points: list[dict[str, object]]


def time_curves(predictions: RiskPredictions, counts: Array, confidence: float) -> TimeCurves:
    """AUC and Brier score over follow-up.

    Args:
        predictions: Predictions and outcomes of n patients.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Returns:
        Without points where the set has too few events.
    """
    outcome = predictions.outcome
    patients, events = len(predictions.risk), int(outcome.event.sum())
    times = auc_times(outcome)
    if reason := outcome.few_events_reason() or ("" if len(times) else "too few patients on either side"):
        return TimeCurves([MetricRow(METRIC, NO_VALUE, patients, events, reason)], [])
    curve = auc_over_time(predictions, times, counts, confidence)
    weights = auc_weights(outcome, times)
    value = float(np.array([at_time.value for at_time in curve]) @ weights)
    samples = np.stack([at_time.samples for at_time in curve], axis=1)
    interval = percentile_interval(value, samples @ weights, confidence)
    note = f"mean over {times[0]:.4g} to {times[-1]:.4g} days, weighted by the events between them"
    if predictions.fold is not None:
        note = f"{WITHIN}; {note}"
    points = [_point("auc", time, at_time) for time, at_time in zip(times, curve, strict=True)]
    points += _brier_points(predictions, counts, confidence)
    row = MetricRow(METRIC, interval, patients, events, note)
    return TimeCurves([row], [{**point, "patients": patients} for point in points])


def auc_times(outcome: SurvivalOutcome) -> Array:
    """Times, equally spaced, from the fifth event to the last with five patients followed beyond it."""
    events = np.sort(outcome.time[outcome.event == 1])
    if len(events) < LEAST_ON_EACH_SIDE:
        return np.empty(0)
    beyond = np.array([(outcome.time > time).sum() for time in events])
    possible = events[(beyond >= LEAST_ON_EACH_SIDE) & (events >= events[LEAST_ON_EACH_SIDE - 1])]
    if not len(possible):
        return np.empty(0)
    times: Array = np.unique(np.linspace(possible[0], possible[-1], GRID))
    return times


def auc_over_time(
    predictions: RiskPredictions, times: Array, counts: Array, confidence: float
) -> list[Interval]:
    """Cumulative/dynamic AUC at each time with its interval and resamples; pairs within folds in development.

    Source: Uno et al., JASA 2007; 102: 527; the same as scikit-survival's `cumulative_dynamic_auc`
    where no event and censoring are tied.
    """
    outcome, curve = predictions.outcome, []
    for time in times:
        pairs = auc_pairs(outcome, predictions.risk, float(time), predictions.fold)
        curve.append(auc_interval(pairs, confidence, pairs.index(counts), outcome.group))
    return curve


def auc_weights(outcome: SurvivalOutcome, times: Array) -> Array:
    """(k,) weights that add up to 1: the share of patients with the event since the time before.

    With them the mean of the AUC is that of Lambert and Chevret (Stat Methods Med Res 2016; 25: 2088) as
    scikit-survival computes it: the fall of the Kaplan–Meier curve between times, from 1 on.
    """
    once = np.ones((1, len(outcome.time)))
    survival = [float(survival_at(outcome.time, outcome.event, float(time), once)[0]) for time in times]
    falls = -np.diff([1.0, *survival])
    weights: Array = falls / falls.sum()
    return weights


def _brier_points(
    predictions: RiskPredictions, counts: Array, confidence: float
) -> Iterator[dict[str, object]]:
    """Brier score of the model and of the set's own Kaplan–Meier curve, at every predicted time."""
    outcome = predictions.outcome
    terms = brier_over_time(predictions)
    times = np.array(list(terms))
    once = np.ones((1, len(predictions.risk)))
    observed = {days: float(survival_at(outcome.time, outcome.event, days, once)[0]) for days in terms}
    of_curve = {
        days: brier_terms(outcome, np.full(len(predictions.risk), observed[days]), days) for days in terms
    }
    for metric, of_patients in (("brier", terms), ("brier_kaplan_meier", of_curve)):
        for time, each in zip(times, of_patients.values(), strict=True):
            interval = percentile_interval(float(each.mean()), weighted_mean(each, counts), confidence)
            yield _point(metric, time, interval)


def _point(metric: str, time: float, at_time: Interval) -> dict[str, object]:
    """A row of `time_curves.csv`, less the number of patients."""
    bounds = {"value": at_time.value, "ci_low": at_time.low, "ci_high": at_time.high}
    return {"metric": metric, "time": float(time), **bounds}
