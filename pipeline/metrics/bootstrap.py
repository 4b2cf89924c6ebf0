"""Bootstrap over patients. Models are not refitted, so that their own variation is not part of the intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval; NaN where it is unknown.

    Attributes:
        value: The value.
        low: Lower end.
        high: Upper end.
        samples: (B,) its values on the resamples, which models are compared by; empty where it has none.
    """

    value: float
    low: float
    high: float
    samples: Array = field(default_factory=lambda: np.empty(0), compare=False, repr=False)


NO_VALUE = Interval(float("nan"), float("nan"), float("nan"))
"""A value that cannot be computed."""


@dataclass(frozen=True)
class MetricRow:
    """A line of `metrics.csv`, less model and set.

    Attributes:
        metric: Name of the metric.
        interval: Its value and confidence interval.
        patients: Number of patients it is computed from.
        events: How many of them had the event; None in a study without outcomes.
        note: What a reader should know of this value, or why there is none.
        judged: (n,) which patients of the set the value is of; None: all.
    """

    metric: str
    interval: Interval
    patients: int
    events: int | None = None
    note: str = ""
    judged: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)

    def same_patients(self, other: MetricRow) -> bool:
        """Whether two values of one set are of the same patients, not only of as many."""
        if self.judged is None or other.judged is None:
            whole = self.judged if other.judged is None else other.judged
            return whole is None or bool(whole.all())
        return bool(np.array_equal(self.judged, other.judged))


def resample_counts(
    patients: int,
    bootstraps: int,
    seed: int,
    fold: Array | None = None,
    group: Sequence[str] | None = None,
) -> Array:
    """(B, n): how often each patient is drawn in each resample, with replacement.

    Rows of one group (slices of a volume) are no independent observations: whole groups are drawn
    (cluster bootstrap; Davison and Hinkley 1997, section 3.8).

    Args:
        patients: Number n of patients.
        bootstraps: Number B of resamples.
        seed: Equal seeds give equal resamples, so that models are compared in pairs.
        fold: (n,) fold of each patient; given, every fold is resampled to its own size, so that
            pairs within folds keep their number of patients (of groups, where these are drawn).
        group: (n,) group of each patient, which no fold cuts; None: patients are drawn one by one.
    """
    generator = np.random.default_rng(seed)
    folds = np.zeros(patients, dtype=int) if fold is None else np.asarray(fold)
    names = np.arange(patients) if group is None else np.asarray(group)
    counts = np.zeros((bootstraps, patients))
    for value in np.unique(folds):
        members = np.flatnonzero(folds == value)
        drawn, group_of = np.unique(names[members], return_inverse=True)
        equal = np.full(len(drawn), 1.0 / len(drawn))
        counts[:, members] = generator.multinomial(len(drawn), equal, size=bootstraps)[:, group_of]
    return counts


def percentile_interval(value: float, samples: Array, confidence: float) -> Interval:
    """Percentile interval; resamples without a value (no comparable pair) are left out.

    The bounds are NaN where fewer than half of the resamples have a value.
    """
    known = samples[np.isfinite(samples)]
    if not np.isfinite(value) or 2 * len(known) < len(samples):
        return Interval(value, float("nan"), float("nan"), samples)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high), samples)


def two_sided_p(differences: Array) -> float:
    """P-value of "no difference" by inverting the percentile interval.

    2·min(#(d ≤ 0), #(d ≥ 0)) with one added to each count and to the number of resamples
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, sec. 4.2), never
    above 1. NaN where fewer than half of the resamples have a value.
    """
    known = differences[np.isfinite(differences)]
    if 2 * len(known) < len(differences) or not len(known):
        return float("nan")
    below, above = (known <= 0).sum() + 1, (known >= 0).sum() + 1
    return float(min(1.0, 2.0 * min(below, above) / (len(known) + 1)))


def holm(p_values: Array) -> Array:
    """Holm's step-down adjusted p-values (Scand J Stat 1979; 6: 65); NaN stays NaN."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted
