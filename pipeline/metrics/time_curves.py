"""AUC and Brier score as curves over follow-up, and the AUC's weighted mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.probability_scores import brier_over_time
from pipeline.metrics.time_dependent import (
    SurvivalOutcome,
    auc_pairs,
    brier_terms,
    survival_at,
    weighted_mean,
)

Array = NDArray[np.float64]
GRID = 12
"""Times of the AUC's curve."""
LEAST_ON_EACH_SIDE = 5
"""Patients with the event by a time, and patients followed beyond it, that an AUC at that time needs."""
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
    value, samples = auc_over_time(predictions, times, counts)
    weights = auc_weights(outcome, times)
    interval = percentile_interval(float(value @ weights), samples @ weights, confidence)
    note = f"mean over {times[0]:.4g} to {times[-1]:.4g} days, weighted by the events between them"
    if predictions.fold is not None:
        note = f"{WITHIN}; {note}"
    points = list(_points("auc", times, value, samples.T, confidence))
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


def auc_over_time(predictions: RiskPredictions, times: Array, counts: Array) -> tuple[Array, Array]:
    """Cumulative/dynamic AUC (k,) at times, and (B, k) in resamples; pairs within folds in development.

    Source: Uno et al., JASA 2007; 102: 527; the same as scikit-survival's `cumulative_dynamic_auc`
    where no event and censoring are tied.
    """
    value, samples = np.empty(len(times)), np.empty((len(counts), len(times)))
    for i, time in enumerate(times):
        pairs = auc_pairs(predictions.outcome, predictions.risk, float(time), predictions.fold)
        value[i] = pairs.index()[0]
        samples[:, i] = pairs.index(counts)
    return value, samples


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
        value = np.array([each.mean() for each in of_patients.values()])
        samples = [weighted_mean(each, counts) for each in of_patients.values()]
        yield from _points(metric, times, value, samples, confidence)


def _points(
    metric: str, times: Array, value: Array, samples: Array | list[Array], confidence: float
) -> Iterator[dict[str, object]]:
    """A row per time; `samples` are (B,) values of each."""
    for time, of_time, of_resamples in zip(times, value, samples, strict=True):
        interval = percentile_interval(float(of_time), of_resamples, confidence)
        bounds = {"value": interval.value, "ci_low": interval.low, "ci_high": interval.high}
        yield {"metric": metric, "time": float(time), **bounds}
