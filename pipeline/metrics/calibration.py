"""Calibration of predicted event probabilities at a time: intercept, slope, smooth curve and its distances.

Predictions enter as log(−log S), the complementary log-log of the event probability, on which a
proportional hazards model is linear. The observed probability is that of a Cox model of these
values in the patients that are judged (Austin, Harrell and van Klaveren, Stat Med 2020; 39: 2714).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import Interval, percentile_interval
from pipeline.metrics.time_dependent import SurvivalOutcome
from pipeline.metrics.weighted_cox import RiskSets, cumulative_baseline, fit_resamples

Array = NDArray[np.float64]
CURVE_POINTS = 41
"""Points of the smooth curve, between the lowest and the highest prediction."""
LEAST_DISTINCT = 5
"""Distinct predictions that the smooth curve's three knots need."""
DISTANCES = ("ici", "e50", "e90")
_SMALLEST = 1e-6
_KNOTS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Calibration:
    """How predictions of one model at one time agree with what was observed.

    Attributes:
        values: `calibration_intercept` (0 is ideal; above 0: more events than predicted, as a log
            ratio of cumulative hazards), `calibration_slope` (1 is ideal; below 1: predictions too
            far apart), `ici`, `e50`, `e90` (mean, median and 90th percentile of the distance
            between predicted and smoothed observed probability; 0 is ideal). Intercept and slope have
            intervals, distances have none.
        predicted: (k,) event probabilities of the smooth curve, ascending; empty without a curve.
        observed: (k,) smoothed observed event probability there.
        low: (k,) lower bound of its bootstrap interval.
        high: (k,) upper bound.
    """

    values: dict[str, Interval]
    predicted: Array
    observed: Array
    low: Array
    high: Array


def calibrate(
    outcome: SurvivalOutcome, survival: Array, horizon: float, counts: Array, confidence: float
) -> Calibration:
    """Calibration at a time.

    Args:
        outcome: Outcomes of n patients, ten events at least.
        survival: (n,) predicted survival probabilities.
        horizon: Time in the unit of the outcomes.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.
    """
    # The first row is the sample itself.
    weights = np.concatenate([np.ones((1, len(survival))), counts[counts.sum(axis=1) > 0]])
    sets = RiskSets.of(outcome.time, outcome.event)
    index = np.log(-np.log(np.clip(survival, _SMALLEST, 1 - _SMALLEST)))
    # log(Σ events / Σ predicted hazard in the risk sets) with the predictions as an offset.
    with np.errstate(divide="ignore"):
        offset = np.broadcast_to(index, weights.shape)
        intercept = np.log(cumulative_baseline(offset, sets, weights, horizon))
    samples = {
        "calibration_intercept": np.where(np.isfinite(intercept), intercept, np.nan),
        "calibration_slope": fit_resamples(index[:, None], sets, weights)[:, 0],
    }
    curve = np.full((len(weights), 0), np.nan)
    grid = np.empty(0)
    if len(np.unique(survival)) >= LEAST_DISTINCT:
        grid = np.linspace(1 - survival.max(), 1 - survival.min(), CURVE_POINTS)
        at = np.concatenate([index, np.log(-np.log(np.clip(1 - grid, _SMALLEST, 1 - _SMALLEST)))])
        smooth = _smooth(index, at, sets, weights, horizon)
        curve = smooth[:, len(index) :]
        distance = np.abs(smooth[:, : len(index)] - (1 - survival))
        samples["ici"] = (weights * distance).sum(axis=1) / weights.sum(axis=1)
        samples["e50"] = weighted_quantile(distance, weights, 0.5)
        samples["e90"] = weighted_quantile(distance, weights, 0.9)
    values = {
        name: percentile_interval(float(of_all[0]), of_all[1:], confidence)
        for name, of_all in samples.items()
    }
    # A resample's distance from its own smooth curve is larger than the sample's, so that a percentile
    # interval may lie above the value: none is given.
    values |= {name: Interval(values[name].value, np.nan, np.nan) for name in DISTANCES if name in values}
    bands = [percentile_interval(float(point[0]), point[1:], confidence) for point in curve.T]
    low, high = (np.array([getattr(band, side) for band in bands]) for side in ("low", "high"))
    return Calibration(values, grid, curve[0] if len(grid) else np.empty(0), low, high)


def _smooth(index: Array, at: Array, sets: RiskSets, weights: Array, horizon: float) -> Array:
    """(B, m) observed event probability at `at`, by a Cox model on a restricted cubic spline."""
    knots: Array = np.quantile(index, _KNOTS).astype(np.float64)
    design, wanted = spline(index, knots), spline(at, knots)
    # Centred, so that exponentials stay small; the baseline hazard takes it back.
    centre = design.mean(axis=0)
    beta = fit_resamples(design - centre, sets, weights)
    known = np.where(np.isfinite(beta), beta, 0.0)
    fitted: NDArray[np.bool_] = np.all(np.isfinite(beta), axis=1)
    with np.errstate(over="ignore"):
        baseline = cumulative_baseline(known @ (design - centre).T, sets, weights, horizon)
        observed = 1 - np.exp(-baseline[:, None] * np.exp(known @ (wanted - centre).T))
    return np.where(fitted[:, None], observed, np.nan)


def spline(values: Array, knots: Array) -> Array:
    """(m, 2) restricted cubic spline with three knots: the value and its cubic part.

    Linear outside of the outer knots (Harrell, Regression Modeling Strategies, 2nd ed., sec. 2.4.5).
    Knots that coincide leave the value alone.
    """
    first, middle, last = knots
    if not first < middle < last:
        return values[:, None]
    cubes = [np.clip(values - knot, 0, None) ** 3 for knot in knots]
    width = last - middle
    cubic = cubes[0] - cubes[1] * (last - first) / width + cubes[2] * (middle - first) / width
    return np.stack([values, cubic / (last - first) ** 2], axis=1)


def weighted_quantile(values: Array, weights: Array, level: float) -> Array:
    """(B,) smallest value below or at which a share `level` of the weight lies; NaN where a value is."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    # The number of values before the level is reached is the place of the first that reaches it.
    below: Array = np.less(reached, level * reached[:, -1:] - 1e-9).astype(np.float64)
    quantile: Array = ordered[np.arange(len(values)), below.sum(axis=1).astype(np.int64)]
    return np.where(np.isfinite(values).all(axis=1), quantile, np.nan)
