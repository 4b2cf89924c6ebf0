"""Listed pairs of models compared in every metric that both have, on the same resamples of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow, holm, percentile_interval, two_sided_p

Array = NDArray[np.float64]
FAMILY = "listed pairs"
"""Name of the family of tests that Holm's correction of these comparisons is over, within a metric and set."""
Scores = Mapping[str, Sequence[MetricRow]]


def compare_pairs(
    scores: Scores, which: str, pairs: Sequence[tuple[str, str]], confidence: float
) -> list[dict[str, object]]:
    """Differences of each pair in each common metric, with p-values adjusted over the pairs (Holm).

    The p-value inverts the paired bootstrap's percentile interval (Davison and Hinkley 1997, sec. 4.2); models
    are not refitted. A metric of which a model has no resamples (single folds) is not compared.

    Args:
        scores: Model → its metrics on the set, each with its values on the same resamples.
        which: Name of the set.
        pairs: Models a and b.
        confidence: Confidence level of the intervals.

    Returns:
        Rows of `comparisons.csv`: difference = a − b in the metric, whichever direction is better.
    """
    metrics = dict.fromkeys(
        row.metric for rows in scores.values() for row in rows if len(row.interval.samples) or _unknown(row)
    )
    compared = []
    for metric in metrics:
        of_metric = [
            _difference(scores, pair, metric, confidence) | {"set": which}
            for pair in pairs
            if all(_row(scores, name, metric) for name in pair)
        ]
        adjusted = holm(np.array([row["p_value"] for row in of_metric], dtype=float))
        compared += [{**row, "p_holm": float(p)} for row, p in zip(of_metric, adjusted, strict=True)]
    return compared


def _unknown(row: MetricRow) -> bool:
    return not np.isfinite(row.interval.value)


def _row(scores: Scores, model: str, metric: str) -> MetricRow | None:
    return next((row for row in scores.get(model, ()) if row.metric == metric), None)


def _difference(scores: Scores, pair: tuple[str, str], metric: str, confidence: float) -> dict[str, object]:
    first, second = (_row(scores, name, metric) for name in pair)
    assert first is not None and second is not None  # asked for before
    interval, p_value = paired_difference(first, second, confidence)
    return {
        "model_a": pair[0],
        "model_b": pair[1],
        "family": FAMILY,
        "metric": metric,
        "difference": interval.value,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_value": p_value,
        "patients": first.patients,
        "events": "" if first.events is None else first.events,
    }


def paired_difference(first: MetricRow, second: MetricRow, confidence: float) -> tuple[Interval, float]:
    """Difference of a metric of two models with interval and p-value.

    Both unknown where a model has no value, or where the two are not of the same patients: a difference
    would then compare patients and not models.
    """
    a, b = first.interval, second.interval
    same = first.patients == second.patients and a.samples.shape == b.samples.shape
    if not same or not np.isfinite(a.value - b.value):
        return NO_VALUE, float("nan")
    samples = a.samples - b.samples
    return percentile_interval(a.value - b.value, samples, confidence), two_sided_p(samples)
