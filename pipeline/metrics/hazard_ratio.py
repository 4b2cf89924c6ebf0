"""Hazard ratio between the highest and the lowest risk group, as Kaplan–Meier figures print it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.risk_groups import SMALLEST_GROUP
from pipeline.metrics.weighted_cox import RiskSets, fit_resamples

Array = NDArray[np.float64]
METRIC = "hazard_ratio"


def hazard_ratio(
    predictions: RiskPredictions, group: NDArray[np.int64], counts: Array, confidence: float
) -> MetricRow:
    """Hazard of the highest risk group over that of the lowest, above 1 where the high group does worse.

    exp(β) of a Cox model with the group as its only column (ties: Breslow); its interval is that of the
    bootstrap, groups kept. Of cross-validated groups there is none: each patient's group comes from models
    that were fitted on the others' outcomes, so that neither value nor interval holds (Simon et al.,
    Brief Bioinform 2011; 12: 203).

    Args:
        predictions: Predictions and outcomes of n patients.
        group: (n,) risk group of each, 1 = lowest.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the interval.
    """
    outcome, highest = predictions.outcome, int(group.max(initial=1))
    compared = (group == 1) | (group == highest)
    high = (group[compared] == highest).astype(float)
    sizes = (int((high == 0).sum()), int((high == 1).sum())) if highest > 1 else (int(compared.sum()), 0)
    reason = _reason(predictions, sizes)
    interval = NO_VALUE
    if not reason:
        weights = np.concatenate([np.ones((1, int(compared.sum()))), counts[:, compared]])
        sets = RiskSets.of(outcome.time[compared], outcome.event[compared])
        ratios = np.exp(fit_resamples(high[:, None], sets, weights[weights.sum(axis=1) > 0])[:, 0])
        interval = percentile_interval(float(ratios[0]), ratios[1:], confidence)
        reason = "" if math.isfinite(interval.value) else "all events are in one of the groups"
    note = reason or f"groups of {sizes[0]} and {sizes[1]} patients, cut on training patients"
    events = int(outcome.event[compared].sum())
    return MetricRow(METRIC, interval, int(compared.sum()), events, note)


def _reason(predictions: RiskPredictions, sizes: tuple[int, int]) -> str:
    """Why there is no hazard ratio; empty where there is one."""
    if predictions.fold is not None:
        return "cross-validated groups have no hazard ratio"
    if few := predictions.outcome.few_events_reason():
        return few
    if min(sizes) < SMALLEST_GROUP:
        return (
            f"groups of {sizes[0]} and {sizes[1]} patients: no hazard ratio of a group under {SMALLEST_GROUP}"
        )
    return ""
