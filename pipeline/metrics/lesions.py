"""Lesions of masks over the patients of a set: found, missed, false; and errors of the volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.time_dependent import weighted_mean
from pipeline.tables.predictions import LESIONS

Array = NDArray[np.float64]
RULE = "a lesion is found where the masks share a voxel"


def lesion_scores(lesions: Mapping[str, Array], counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Sensitivity, false lesions and F1 over all lesions of a set, and errors of the volume.

    Args:
        lesions: Column of :data:`pipeline.tables.predictions.LESIONS` → (n,); NaN without a manual mask.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        `lesion_sensitivity` = Σ found / Σ (found + missed), `lesion_f1` = 2 Σ found / Σ (2 found + missed + false),
        `false_lesions` per patient, `volume_bias_ml` (mean of predicted less manual volume) and
        `volume_error` (Σ |predicted − manual| / Σ manual), without the number of events.
    """
    if not lesions:
        return
    found, missed, false, predicted, manual = (lesions[name] for name in LESIONS)
    known = np.isfinite(found)
    shares = {
        "lesion_sensitivity": (found, found + missed),
        "lesion_f1": (2 * found, 2 * found + missed + false),
        "volume_error": (np.abs(predicted - manual), manual),
    }
    means = {"false_lesions": false, "volume_bias_ml": predicted - manual}
    functions: dict[str, Callable[[Array], Array]] = {
        **{name: _share_of(above[known], below[known]) for name, (above, below) in shares.items()},
        **{name: _mean_of(values[known]) for name, values in means.items()},
    }
    patients = int(known.sum())
    for metric, function in functions.items():
        value = float(function(np.ones((1, patients)))[0])
        if not np.isfinite(value):
            yield MetricRow(metric, NO_VALUE, patients, note="no patient has a lesion")
            continue
        interval = percentile_interval(value, function(counts[:, known]), confidence)
        note = RULE if "lesion" in metric else "over patients with a manual mask, empty ones too"
        yield MetricRow(metric, interval, patients, note=note, judged=known)


def _share_of(above: Array, below: Array) -> Callable[[Array], Array]:
    """Ratio of two sums over patients, under (B, n) counts; NaN where the lower one is 0."""

    def share(counts: Array) -> Array:
        total = counts @ below
        ratio: Array = np.divide(counts @ above, total, out=np.full(len(total), np.nan), where=total > 0)
        return ratio

    return share


def _mean_of(values: Array) -> Callable[[Array], Array]:
    """Mean over patients, under (B, n) counts; NaN where a resample has nobody."""

    def mean(counts: Array) -> Array:
        result, drawn = np.full(len(counts), np.nan), counts.sum(axis=1) > 0
        result[drawn] = weighted_mean(values, counts[drawn])
        return result

    return mean
