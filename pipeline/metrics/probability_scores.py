"""Metrics of predicted survival probabilities: Brier score, skill, observed over expected events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.time_dependent import SurvivalOutcome, brier_terms, survival_at, weighted_mean

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BootstrappedValue:
    """A metric with its (B,) values in the resamples."""

    metric: str
    value: float
    samples: Array


def probability_scores(predictions: RiskPredictions, counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Brier scores, their skill against Kaplan–Meier, observed/expected, and the IBS."""
    survival = predictions.survival
    for days, probability in survival.items():
        known = np.isfinite(probability)
        n, events = int(known.sum()), int(predictions.outcome.event[known].sum())
        outcome = predictions.outcome
        if n:
            outcome = outcome.of_members(known)
        reason = outcome.no_value_reason(days) if n else "the baseline hazard's follow-up ends before"
        if reason:
            for name in ("brier", "brier_skill", "observed_expected"):
                yield MetricRow(f"{name}_{days:g}d", NO_VALUE, n, events, reason)
            continue
        left_out = len(probability) - n
        note = (
            f"{left_out} patients left out: not every model gives a probability of them" if left_out else ""
        )
        for each in _scores_at_horizon(outcome, probability[known], days, counts[:, known]):
            interval = percentile_interval(each.value, each.samples, confidence)
            yield MetricRow(f"{each.metric}_{days:g}d", interval, n, events, note, known)
    brier = brier_over_time(predictions)
    if len(brier) > 1:
        yield _integrated_brier(predictions, brier, counts, confidence)


def brier_over_time(predictions: RiskPredictions) -> dict[float, Array]:
    """Time in days → (n,) terms of the Brier score, of the times at which it is of all patients.

    These are horizons and `evaluation.curve_days` within follow-up at which every patient has a probability.
    """
    outcome = predictions.outcome
    return {
        days: brier_terms(outcome, probability, days)
        for days, probability in predictions.all_survival().items()
        if np.isfinite(probability).all() and not outcome.unreached_reason(days)
    }


def _scores_at_horizon(
    outcome: SurvivalOutcome, survival: Array, days: float, counts: Array
) -> Iterator[BootstrappedValue]:
    """Brier score, Brier skill and observed/expected ratio at one time."""
    once = np.ones((1, len(survival)))
    resamples = counts[counts.sum(axis=1) > 0]
    observed = float(survival_at(outcome.time, outcome.event, days, once)[0])
    terms = brier_terms(outcome, survival, days)
    reference = brier_terms(outcome, np.full(len(survival), observed), days)

    def skill(weights: Array) -> Array:
        return np.asarray(1.0 - weighted_mean(terms, weights) / weighted_mean(reference, weights))

    def ratio(weights: Array) -> Array:
        expected_events = weighted_mean(1.0 - survival, weights)
        observed_events = 1.0 - survival_at(outcome.time, outcome.event, days, weights)
        empty = np.full(len(expected_events), np.nan)
        return np.asarray(np.divide(observed_events, expected_events, out=empty, where=expected_events > 0))

    for name, function in (
        ("brier", lambda weights: weighted_mean(terms, weights)),
        ("brier_skill", skill),
        ("observed_expected", ratio),
    ):
        yield BootstrappedValue(name, float(function(once)[0]), function(resamples))


def _integrated_brier(
    predictions: RiskPredictions, brier: Mapping[float, Array], counts: Array, confidence: float
) -> MetricRow:
    """Integrated Brier score: trapezoid over the times, divided by their range (Graf et al., Stat Med 1999; 18: 2529).

    As scikit-survival's `integrated_brier_score` on the same times.
    """
    days = np.array(sorted(brier))
    terms = np.stack([brier[day] for day in sorted(brier)], axis=1)
    integral = np.trapezoid(terms, days, axis=1) / (days.max() - days.min())
    value = float(integral.mean())
    interval = percentile_interval(value, weighted_mean(integral, counts), confidence)
    note = f"trapezoid over {len(brier)} times, {days.min():g} to {days.max():g} days"
    return MetricRow("ibs", interval, len(integral), int(predictions.outcome.event.sum()), note)
