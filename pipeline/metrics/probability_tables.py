"""Rows of a model's calibration and decision curves at every horizon that follow-up reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow
from pipeline.metrics.calibration import Calibration, calibrate
from pipeline.metrics.decision_curves import decision_curve
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.time_dependent import calibration_bins

Array = NDArray[np.float64]
NOT_CALIBRATED = Calibration(
    dict.fromkeys(("calibration_intercept", "calibration_slope", "ici", "e50", "e90"), NO_VALUE),
    np.empty(0), np.empty(0), np.empty(0), np.empty(0),
)  # fmt: skip
Rows = list[dict[str, object]]


@dataclass(frozen=True)
class ProbabilityTables:
    """What is known of a model's probabilities at one horizon.

    Attributes:
        horizon: Time in days.
        metrics: Lines of `metrics.csv`: calibration intercept, slope, ICI, E50, E90.
        bins: Rows of `calibration.csv`: predicted and observed survival in groups of equal size.
        curve: Rows of `calibration_curve.csv`: predicted event probability and its smoothed observed one.
        decisions: Rows of `decision_curves.csv`: net benefit by threshold.
    """

    horizon: float
    metrics: list[MetricRow]
    bins: Rows
    curve: Rows
    decisions: Rows


def probability_tables(
    predictions: RiskPredictions, counts: Array, confidence: float
) -> Iterator[ProbabilityTables]:
    """Calibration and decision curves at each horizon.

    Patients without a probability at a horizon are left out there, as in the Brier score; a horizon
    that follow-up does not reach, and a set with fewer than ten events, has no rows; one with too few patients on
    either side has empty measures with the reason, and no curves.

    Args:
        predictions: Predictions and outcomes of n patients.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.
    """
    for days, survival in predictions.survival.items():
        known = np.isfinite(survival)
        if known.sum() < 2:
            continue
        outcome = predictions.outcome.of_members(known)
        if outcome.unreached_reason(days):
            continue
        events = int(outcome.event.sum())
        reason = outcome.no_value_reason(days)
        if reason:
            calibration = NOT_CALIBRATED
        else:
            calibration = calibrate(outcome, survival[known], days, counts[:, known], confidence)
        metrics = [
            MetricRow(
                f"{name}_{days:g}d", interval, int(known.sum()), events, reason or _note(name, interval.value)
            )
            for name, interval in calibration.values.items()
        ]
        if reason:
            yield ProbabilityTables(days, metrics, [], [], [])
            continue
        bins = calibration_bins(outcome, survival[known], days, counts[:, known], confidence)
        decisions = decision_curve(outcome, survival[known], days)
        yield ProbabilityTables(
            days, metrics, [dict(row) for row in bins], _curve(calibration), [dict(row) for row in decisions]
        )


def _curve(calibration: Calibration) -> Rows:
    """Rows of `calibration_curve.csv` of one horizon."""
    columns = (calibration.predicted, calibration.observed, calibration.low, calibration.high)
    return [
        {"predicted": predicted, "observed": observed, "ci_low": low, "ci_high": high}
        for predicted, observed, low, high in zip(*columns, strict=True)
        if np.isfinite(observed)
    ]


def _note(name: str, value: float) -> str:
    """Why a calibration measure has no value."""
    return "" if np.isfinite(value) else f"{name}: predictions are equal, or part the events completely"


def as_columns(row: MetricRow) -> dict[str, object]:
    """A line of `metrics.csv` by its columns, less model and set."""
    interval = asdict(row.interval)
    return {
        "metric": row.metric,
        "value": interval["value"],
        "ci_low": interval["low"],
        "ci_high": interval["high"],
        "patients": row.patients,
        "events": "" if row.events is None else row.events,
    }
