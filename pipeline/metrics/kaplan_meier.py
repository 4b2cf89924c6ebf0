"""Kaplan–Meier curves, log-rank tests and the censoring distribution (scikit-survival)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, Interval, percentile_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SurvivalCurve:
    """A Kaplan–Meier curve: survival from each time on.

    Attributes:
        time: (k,) 0 and then every distinct time of the group, ascending.
        survival: (k,) probability in [0, 1].
        ci_low: (k,) log-log interval (Borgan and Liestøl, Scand J Stat 1990; 17: 35), or of rows that
            depend on one another the percentile interval of resampled groups; NaN where most resamples
            were not followed so long.
        ci_high: (k,) its upper bound.
        at_risk: (k,) patients under observation just before each time.
    """

    time: Array
    survival: Array
    ci_low: Array
    ci_high: Array
    at_risk: NDArray[np.int64]

    def at(self, time: float) -> Interval:
        """Survival at a time with its interval; NaN after the last follow-up."""
        if time > self.time[-1]:
            return NO_VALUE
        i = int(np.searchsorted(self.time, time, side="right")) - 1
        return Interval(float(self.survival[i]), float(self.ci_low[i]), float(self.ci_high[i]))


@dataclass(frozen=True)
class LogRankTest:
    """Test of equal hazards among groups; NaN where there is nothing to compare.

    Attributes:
        chi_square: Test statistic.
        p_value: Its p-value.
        trend: Σ group number · (observed − expected events), above 0 where higher groups have more
            events than expected.
        note: Sizes of the groups, or why there is no test.
    """

    chi_square: float
    p_value: float
    trend: float = float("nan")
    note: str = ""


def kaplan_meier(
    time: Array, event: Array, confidence: float = 0.95, counts: Array | None = None
) -> SurvivalCurve:
    """Kaplan–Meier estimate with log-log intervals, or intervals of resamples.

    Greenwood's variance takes rows for independent. Where several rows are of one patient (slices of a
    volume, lesions) whole groups are resampled instead (cluster bootstrap; Davison and Hinkley 1997,
    section 3.8), and the interval is of the resampled curves.

    Args:
        time: (n,) time to event or censoring, n ≥ 1.
        event: (n,) 1 = the event occurred.
        confidence: Confidence level of the interval.
        counts: (B, n) how often each row is in each resample of groups; None: rows are independent.
    """
    from sksurv.nonparametric import kaplan_meier_estimator

    time, occurred = np.asarray(time, dtype=float), np.asarray(event) == 1
    with np.errstate(divide="ignore", invalid="ignore"):
        times, survival, (low, high) = kaplan_meier_estimator(
            occurred, time, conf_level=confidence, conf_type="log-log"
        )
    # Where no patient or every patient had the event the log-log interval does not exist.
    low, high = np.where(np.isfinite(low), low, survival), np.where(np.isfinite(high), high, survival)
    if counts is not None:
        low, high = _resampled_band(time, occurred, counts, times, survival, confidence)
    at_risk = (time[None, :] >= times[:, None]).sum(axis=1)
    return SurvivalCurve(
        np.concatenate([[0.0], times]),
        np.concatenate([[1.0], survival]),
        np.concatenate([[1.0], low]),
        np.concatenate([[1.0], high]),
        np.concatenate([[len(time)], at_risk]).astype(np.int64),
    )


def survival_in_resamples(time: Array, event: NDArray[np.bool_], counts: Array, at: Array) -> Array:
    """(B, k) Kaplan–Meier survival at ascending times in B resamples given as (B, n) counts.

    It is NaN where no patient of a resample was followed to a time and not all had the event.
    """
    steps = np.unique(time[event & (time <= at[-1])])
    deaths = counts @ ((time[:, None] == steps) & event[:, None]).astype(float)
    at_risk = counts @ (time[:, None] >= steps).astype(float)
    share = np.divide(deaths, at_risk, out=np.zeros_like(deaths), where=at_risk > 0)
    curve = np.concatenate([np.ones((len(counts), 1)), np.cumprod(1.0 - share, axis=1)], axis=1)
    survival = curve[:, np.searchsorted(steps, at, side="right")]
    followed = counts @ (time[:, None] >= at).astype(float) > 0
    known: Array = np.where(followed | (survival == 0), survival, np.nan)
    return known


def _resampled_band(
    time: Array,
    event: NDArray[np.bool_],
    counts: Array,
    at: Array,
    survival: Array,
    confidence: float,
) -> tuple[Array, Array]:
    """Lower and upper ends (k,) of the percentile interval at each time."""
    samples = survival_in_resamples(time, event, counts[counts.sum(axis=1) > 0], at)
    band = [
        percentile_interval(float(value), of_time, confidence)
        for value, of_time in zip(survival, samples.T, strict=True)
    ]
    return np.array([each.low for each in band]), np.array([each.high for each in band])


def logrank(time: Array, event: Array, group: NDArray[np.int64]) -> LogRankTest:
    """Log-rank test of equal hazards among groups.

    It is NaN where there are fewer than two groups, no event, or at no event time patients of two
    groups at risk: then the statistic has no variance.
    """
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    occurred = np.asarray(event) == 1
    if len(np.unique(group)) < 2 or not occurred.any():
        return LogRankTest(float("nan"), float("nan"))
    outcome = Surv.from_arrays(occurred, np.asarray(time, dtype=float))
    try:
        chi_square, p_value, statistics, _ = compare_survival(outcome, np.asarray(group), return_stats=True)
    except np.linalg.LinAlgError:
        return LogRankTest(float("nan"), float("nan"))
    excess = statistics["observed"] - statistics["expected"]
    trend = float((statistics.index.to_numpy(float) * excess).sum())
    return LogRankTest(float(chi_square), float(p_value), trend)


def uncensored_probability(time: Array, event: Array, at: Array, *, before: bool = False) -> Array:
    """G, the Kaplan–Meier probability of being uncensored, at times `at`.

    At tied times events come before censorings, as in scikit-survival.

    Args:
        time: (n,) time to event or censoring.
        event: (n,) 1 = the event occurred.
        at: (m,) times.
        before: Whether the left limit G(t−) is wanted, the probability of being uncensored just
            before a time, with which an event at that time is weighted. Else G(t), right-continuous.
    """
    from sksurv.nonparametric import kaplan_meier_estimator

    occurred = np.asarray(event) == 1
    if occurred.all():
        return np.ones(np.shape(at))
    times, values = kaplan_meier_estimator(occurred, np.asarray(time, dtype=float), reverse=True)
    steps = np.concatenate([[1.0], values])
    side: Literal["left", "right"] = "left" if before else "right"
    probability: Array = steps[np.searchsorted(times, np.asarray(at, dtype=float), side=side)]
    return probability


def median_follow_up(time: Array, event: Array) -> float:
    """Median follow-up by the reverse Kaplan–Meier method: the median time to censoring.

    Source: Schemper and Smith, Control Clin Trials 1996; 17: 343. Patients with the event would have
    been followed longer, so the median of all times is too short. NaN where fewer than half are
    censored within the observed times. (Without scikit-survival: the report, which shows it, loads none.)
    """
    time, censored = np.asarray(time, dtype=float), np.asarray(event) != 1
    times, leaving = np.unique(time[censored], return_counts=True)
    at_risk = (time[None, :] >= times[:, None]).sum(axis=1)
    reached = np.flatnonzero(np.cumprod(1 - leaving / at_risk) <= 0.5 + 1e-12)
    return float(times[reached[0]]) if len(reached) else float("nan")
