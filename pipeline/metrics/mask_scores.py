"""Metrics of masks over the patients of a set: mean Dice, median surface distances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.time_dependent import weighted_mean

Array = NDArray[np.float64]


def mean_dice(dice: Array, counts: Array, confidence: float, metric: str = "dice") -> MetricRow:
    """Mean Dice over the patients with a reference mask, without the number of events.

    Args:
        dice: (n,) Dice, NaN without a reference mask.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the interval.
        metric: Name of the row.
    """
    known = np.isfinite(dice)
    n = int(known.sum())
    if not n:
        return MetricRow(metric, NO_VALUE, 0, note="no patient has a reference mask")
    resamples = counts[:, known]
    drawn = resamples.sum(axis=1) > 0
    # A resample without any of them has no value, and keeps its place: models are compared resample by resample.
    samples = np.full(len(counts), np.nan)
    samples[drawn] = weighted_mean(dice[known], resamples[drawn])
    interval = percentile_interval(float(dice[known].mean()), samples, confidence)
    return MetricRow(metric, interval, n, judged=known)


def median_distances(distances: Mapping[str, Array], counts: Array, confidence: float) -> Iterator[MetricRow]:
    """The median over patients of each distance in mm, with its bootstrap interval.

    Where one of two masks is empty the distance is infinite. A median takes that as the
    worst value, while a mean would be infinite (the ranking of HECKTOR 2021 does the same;
    Andrearczyk et al., LNCS 13209).

    Args:
        distances: Metric → (n,) distances, NaN without a reference mask.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        A row per metric, without the number of events.
    """
    for metric, all_values in distances.items():
        known = ~np.isnan(all_values)
        n = int(known.sum())
        if not n:
            yield MetricRow(metric, NO_VALUE, 0, note="no patient has a reference mask")
            continue
        values = all_values[known]
        empty = int(np.isinf(values).sum())
        order = np.argsort(values)
        running = counts[:, known][:, order].cumsum(axis=1)
        # The lower of two middle patients: a resample has no half patient.
        middle = (running >= np.ceil(running[:, -1:] / 2)).argmax(axis=1)
        samples = np.where(running[:, -1] > 0, values[order][middle], np.nan)
        note = "median" + (f"; one mask is empty in {empty} patients" if empty else "")
        interval = percentile_interval(float(np.median(values)), samples, confidence)
        yield MetricRow(metric, interval, n, note=note, judged=known)
