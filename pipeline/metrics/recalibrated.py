"""Probabilities of external patients, recalibrated on these patients: offered beside, never used for another number.

With η = log(−log S) a probability becomes S' = exp(−exp(a + b·η)): the baseline alone (b = 1) or with the slope, as
the calibration in the large and the calibration slope estimate them (Crowson et al., Stat Methods Med Res 2016; 25:
1692). How the result agrees with the patients it was estimated on is no validation, and so has no interval.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.calibration import calibrate
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.time_dependent import SurvivalOutcome, survival_at
from pipeline.metrics.weighted_cox import RiskSets, cumulative_baseline, fit_resamples

Array = NDArray[np.float64]
COLUMNS = (
    "model", "set", "horizon", "version", "intercept", "slope", "observed_expected", "ici", "patients", "events",
)  # fmt: skip
_SMALLEST = 1e-6


def recalibrated_rows(predictions: RiskPredictions) -> Iterator[dict[str, object]]:
    """Rows of `recalibrated.csv`: at each horizon as predicted, with the baseline, with baseline and slope estimated.

    A horizon has rows where its calibration is estimated: ten events of the set, and enough by then and after it.

    Args:
        predictions: Predictions and outcomes of external patients.

    Returns:
        By row `intercept` a and `slope` b, and of the result observed over expected events (1 is ideal) and ICI
        (mean distance of predicted and smoothed observed event probability, 0 is ideal).
    """
    for days, survival in predictions.survival.items():
        known = np.isfinite(survival)
        if known.sum() < 2:
            continue
        outcome = predictions.outcome.of_members(known)
        if outcome.no_value_reason(days):
            continue
        index = np.log(-np.log(np.clip(survival[known], _SMALLEST, 1 - _SMALLEST)))
        for version, (intercept, slope) in _versions(outcome, index, days).items():
            if np.isfinite([intercept, slope]).all():
                yield {
                    "model": predictions.model, "set": predictions.set, "horizon": days, "version": version,
                    "intercept": intercept, "slope": slope,
                    **_agreement(outcome, np.exp(-np.exp(intercept + slope * index)), days),
                    "patients": int(known.sum()), "events": int(outcome.event.sum()),
                }  # fmt: skip


def _versions(outcome: SurvivalOutcome, index: Array, days: float) -> dict[str, tuple[float, float]]:
    """Version → (a, b)."""
    sets, once = RiskSets.of(outcome.time, outcome.event), np.ones((1, len(index)))
    slope = float(fit_resamples(index[:, None], sets, once)[0, 0])

    def intercept(b: float) -> float:
        """Log of observed over predicted cumulative hazard, where b·η is the predicted one's logarithm."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.log(cumulative_baseline((b * index)[None, :], sets, once, days))[0])

    return {
        "as predicted": (0.0, 1.0),
        "baseline": (intercept(1.0), 1.0),
        "baseline and slope": (intercept(slope), slope),
    }


def _agreement(outcome: SurvivalOutcome, survival: Array, days: float) -> dict[str, float]:
    once = np.ones((1, len(survival)))
    observed = 1.0 - float(survival_at(outcome.time, outcome.event, days, once)[0])
    # One resample, the patients themselves: intervals are not used.
    distances = calibrate(outcome, survival, days, once, 0.95).values
    ici = distances["ici"].value if "ici" in distances else float("nan")
    return {"observed_expected": observed / float(np.mean(1.0 - survival)), "ici": ici}
