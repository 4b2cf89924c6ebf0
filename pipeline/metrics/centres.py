"""A metric of every centre pooled over centres, by a random-effects meta-analysis of its logit.

With `plan.by_centre` each centre is predicted by models of the others, and the pooled value is that of
internal-external validation (Royston, Parmar and Sylvester, Stat Med 2004; 23: 907; Debray et al., BMJ 2017; 356:
i6460).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow

Array = NDArray[np.float64]
CENTRE = "centre"
"""Column of the cohort table that patients are pooled by."""
LEAST_FOR_PREDICTION = 3
"""Centres that a prediction interval needs: its t distribution has two degrees of freedom fewer."""
FEW_FOR_PREDICTION = 10
"""Centres below which the prediction interval is known to hold too few new centres (Partlett and Riley, Stat Med 2017;
36: 301): of six simulated ones 87 % instead of 95 %."""
NAN = float("nan")


@dataclass(frozen=True)
class RandomEffects:
    """Mean of effects that differ between centres.

    Attributes:
        mean: Mean effect.
        low: Lower confidence bound of the mean.
        high: Upper bound.
        prediction_low: Lower bound of the effect in a new centre; NaN with fewer than three centres.
        prediction_high: Upper bound.
        tau: SD of the true effects between centres.
        i_squared: Share of the effects' variation that is not chance, in [0, 1].
    """

    mean: float
    low: float
    high: float
    prediction_low: float
    prediction_high: float
    tau: float
    i_squared: float


def random_effects(effect: Array, variance: Array, confidence: float) -> RandomEffects:
    """Random-effects meta-analysis of k ≥ 2 effects.

    Variance between centres by DerSimonian and Laird (Control Clin Trials 1986; 7: 177). Interval of the mean by
    Hartung and Knapp (Stat Med 2001; 20: 3875) with k − 1 degrees of freedom, never narrower than with the
    standard error of the weights (Röver, Knapp and Friede, BMC Med Res Methodol 2015; 15: 99). Prediction interval
    by Higgins, Thompson and Spiegelhalter (J R Stat Soc A 2009; 172: 137, eq. 12), with k − 2.

    Args:
        effect: (k,) estimates.
        variance: (k,) their sampling variances, above 0.
        confidence: Confidence level of both intervals.
    """
    from scipy.stats import t as student

    k, fixed = len(effect), 1.0 / variance
    heterogeneity = float(fixed @ (effect - np.average(effect, weights=fixed)) ** 2)
    scale = fixed.sum() - (fixed**2).sum() / fixed.sum()
    tau_squared = max(0.0, (heterogeneity - (k - 1)) / scale)
    weight = 1.0 / (variance + tau_squared)
    mean = float(np.average(effect, weights=weight))
    spread = float(weight @ (effect - mean) ** 2) / (k - 1)
    half = float(student.ppf((1 + confidence) / 2, k - 1)) * np.sqrt(max(1.0, spread) / weight.sum())
    reach = NAN
    if k >= LEAST_FOR_PREDICTION:
        error = np.sqrt(tau_squared + max(1.0, spread) / weight.sum())
        reach = float(student.ppf((1 + confidence) / 2, k - 2)) * error
    i_squared = max(0.0, 1 - (k - 1) / heterogeneity) if heterogeneity > 0 else 0.0
    return RandomEffects(
        mean, mean - half, mean + half, mean - reach, mean + reach, float(np.sqrt(tau_squared)), i_squared
    )


def pooled_rows(of_centres: Sequence[MetricRow], confidence: float) -> list[MetricRow]:
    """The headline metrics of centres pooled: `{metric}_centres`, and `{metric}_centres_prediction` for a new centre.

    Pooled are the C-index and the AUC of class outcomes, on the logit scale (Snell et al., Stat Methods Med Res 2018;
    27: 3505), with the variance of the centre's resamples by the delta method. Centres without
    a value (too few events) are left out, and the note says how many.

    Args:
        of_centres: Rows of one model and set, of all its centres.
        confidence: Confidence level of the intervals.
    """
    metrics = dict.fromkeys(row.metric for row in of_centres if _is_pooled(row.metric))
    rows: list[MetricRow] = []
    for metric in metrics:
        rows += _pool(metric, [row for row in of_centres if row.metric == metric], confidence)
    return rows


def _is_pooled(metric: str) -> bool:
    return metric == "c_index" or (metric.startswith("label_") and metric.endswith("_auc"))


def _pool(metric: str, of_centres: Sequence[MetricRow], confidence: float) -> list[MetricRow]:
    known = [row for row in of_centres if np.isfinite([row.interval.value, row.interval.low]).all()]
    value = np.array([row.interval.value for row in known])
    patients = sum(row.patients for row in known)
    events = None if any(row.events is None for row in known) else sum(row.events or 0 for row in known)
    left_out = len(of_centres) - len(known)
    name = f"{metric}_centres"
    if reason := _not_pooled_reason(value):
        return [MetricRow(name, NO_VALUE, patients, events, f"{reason} ({left_out} left out)")]
    variance = np.array([np.nanvar(row.interval.samples, ddof=1) for row in known])
    # Without any spread of its resamples a centre would have all of the weight.
    if not (variance > 0).all():
        return [MetricRow(name, NO_VALUE, patients, events, "a centre's value is the same in all resamples")]
    logit = np.log(value / (1 - value))
    found = random_effects(logit, variance / (value * (1 - value)) ** 2, confidence)
    mean, low, high, prediction_low, prediction_high = (
        float(1 / (1 + np.exp(-x)))
        for x in (found.mean, found.low, found.high, found.prediction_low, found.prediction_high)
    )
    note = (
        f"{len(known)} centres, {left_out} left out; random effects of the logit: SD between centres "
        f"{found.tau:.2f}, I² {found.i_squared:.0%}"
    )
    interval, prediction = Interval(mean, low, high), Interval(mean, prediction_low, prediction_high)
    few = "; too narrow with few centres" if len(known) < FEW_FOR_PREDICTION else ""
    if len(known) < LEAST_FOR_PREDICTION:
        few = f"; {LEAST_FOR_PREDICTION} centres are needed"
    return [
        MetricRow(name, interval, patients, events, note),
        MetricRow(f"{name}_prediction", prediction, patients, events, f"interval of a new centre{few}"),
    ]


def _not_pooled_reason(value: Array) -> str:
    """Why values of centres are not pooled; empty where they are."""
    if len(value) < 2:
        return f"{len(value)} centre{'s' * (len(value) != 1)} with a value: not pooled"
    if ((value <= 0) | (value >= 1)).any():
        return "a centre's value is 0 or 1, which has no logit: not pooled"
    return ""
