"""Confidence interval of an area under the ROC curve that holds where cases are few.

The bootstrap's percentile interval is far too short there: of 40 patients with about five events by a time, it held the
true AUC in 85 % of simulated cohorts, and it has no width where every case has the higher score.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import Interval
from pipeline.metrics.concordance import Pairs

Array = NDArray[np.float64]


def auc_interval(
    pairs: Pairs, confidence: float, samples: Array, group: NDArray[np.object_] | None = None
) -> Interval:
    """The AUC with Newcombe's score interval, of weighted pairs and of pairs within folds, too.

    The bounds are the areas θ whose own standard error, not that of the estimate, is z times as large as their distance
    from the estimate: method 5 of Newcombe (Stat Med 2006; 25: 559), which replaces the numbers of cases and of
    controls in the variance of Hanley and McNeil (Radiology 1982; 143: 29) by their mean. For weights Wᵢⱼ of the
    pairs of case i and control j

        Var(θ) = θ(1 − θ) · [ΣᵢⱼWᵢⱼ² + N·((1 − θ)/(2 − θ) + θ/(1 + θ))] / (ΣᵢⱼWᵢⱼ)²,

    where N is the mean of Σᵢ(ΣⱼWᵢⱼ)² − ΣᵢⱼWᵢⱼ² (pairs that share a case) and of Σⱼ(ΣᵢWᵢⱼ)² − ΣᵢⱼWᵢⱼ² (a control).
    With all weights 1 that is Newcombe's formula; weights are taken as known.

    Args:
        pairs: Pairs of a case and a control.
        confidence: Confidence level.
        samples: (B,) values on bootstrap resamples, which models are compared by; they do not make the interval.
        group: (n,) group of each patient; rows of one group then count as one patient (they may be one).

    Returns:
        Bounds in [0, 1]; all NaN but the samples where there is no pair.
    """
    from scipy.stats import norm

    estimate = float(pairs.index()[0])
    if not np.isfinite(estimate):
        return Interval(estimate, float("nan"), float("nan"), samples)
    variance = _variance(_by_group(pairs.weight, group))
    z = float(norm.ppf((1 + confidence) / 2))

    def distance(area: float) -> float:
        """Squared distance from the estimate less that which chance makes; falls towards the estimate."""
        return float((estimate - area) ** 2 - z**2 * variance(area))

    return Interval(estimate, _bound(distance, estimate, 0.0), _bound(distance, estimate, 1.0), samples)


def _variance(weight: Array) -> Callable[[float], float]:
    """Sampling variance of the area as a function of the true area, of (n, n) weights of pairs."""
    squares = float((weight**2).sum())
    of_cases = float((weight.sum(axis=1) ** 2).sum()) - squares
    of_controls = float((weight.sum(axis=0) ** 2).sum()) - squares
    shared, total = (of_cases + of_controls) / 2, float(weight.sum()) ** 2

    def variance(area: float) -> float:
        together = (1 - area) / (2 - area) + area / (1 + area)
        return area * (1 - area) * (squares + shared * together) / total

    return variance


def _bound(distance: Callable[[float], float], estimate: float, extreme: float) -> float:
    """The area between the estimate and 0 or 1 at which the distance is what chance makes; the estimate at its end."""
    from scipy.optimize import brentq

    if estimate == extreme:
        return extreme
    # At 0 and 1 the variance is 0 and the distance above 0; beside the estimate it is below.
    inside = estimate if 0 < estimate < 1 else estimate + np.sign(extreme - estimate) * 1e-12
    return float(brentq(distance, inside, extreme, xtol=1e-10))


def _by_group(weight: Array, group: NDArray[np.object_] | None) -> Array:
    """(n, n) weights of pairs of patients summed to those of pairs of their groups."""
    if group is None or len(set(group)) == len(group):
        return weight
    names = np.unique(group.astype(str), return_inverse=True)[1]
    member = np.zeros((names.max() + 1, len(group)))
    member[names, np.arange(len(group))] = 1.0
    summed: Array = member @ weight @ member.T
    return summed
