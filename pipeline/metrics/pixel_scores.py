"""Metrics of masks over all pixels of a set of slices, as papers on slices print them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.tables.predictions import PIXELS

Array = NDArray[np.float64]
Confusion = Mapping[str, Array]
"""Pixels of each resample (B,): `tp`, `fp`, `fn`, `tn`."""
POOLED = "over all pixels of all slices"
OF_THRESHOLDED = "of the mask at its threshold: (sensitivity + specificity) / 2; " + POOLED


def _ratio(numerator: Array, denominator: Array) -> Array:
    ratio: Array = np.divide(
        numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0
    )
    return ratio


def _sensitivity(n: Confusion) -> Array:
    return _ratio(n["tp"], n["tp"] + n["fn"])


def _specificity(n: Confusion) -> Array:
    return _ratio(n["tn"], n["tn"] + n["fp"])


SCORES: dict[str, Callable[[Confusion], Array]] = {
    "pixel_accuracy": lambda n: _ratio(n["tp"] + n["tn"], n["tp"] + n["tn"] + n["fp"] + n["fn"]),
    "pixel_f1": lambda n: _ratio(2 * n["tp"], 2 * n["tp"] + n["fp"] + n["fn"]),
    "pixel_sensitivity": _sensitivity,
    "pixel_specificity": _specificity,
    "pixel_precision": lambda n: _ratio(n["tp"], n["tp"] + n["fp"]),
    "pixel_auc": lambda n: (_sensitivity(n) + _specificity(n)) / 2,
    "pixel_iou": lambda n: _ratio(n["tp"], n["tp"] + n["fp"] + n["fn"]),
}


def pixel_scores(pixels: Mapping[str, Array], counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Accuracy, F1, sensitivity, specificity, precision, AUC and intersection over union of pixels.

    Sums run over the pixels of all slices with a manual mask, so that a large lesion weighs more than
    a small one; the mean Dice (`dice`) weighs slices equally. The printed figures of
    Hryniewska-Guzik et al. 2023 (Table 3) fit these definitions to their last digit: F1 0.78 and IoU
    0.64 = 0.78 / (2 − 0.78), AUC 0.88 = (0.76 + 0.99) / 2.

    Args:
        pixels: Column of :data:`pipeline.tables.predictions.PIXELS` → (n,); NaN without a manual mask.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        A row per metric, without the number of events.
    """
    if not pixels:
        return
    both, predicted, manual, everything = (pixels[name] for name in PIXELS)
    known = np.isfinite(both)
    slices = int(known.sum())
    cells = {
        "tp": both,
        "fp": predicted - both,
        "fn": manual - both,
        "tn": everything - predicted - manual + both,
    }
    value_of = {name: np.atleast_1d(values[known].sum()) for name, values in cells.items()}
    drawn = {name: counts[:, known] @ values[known] for name, values in cells.items()}
    for metric, function in SCORES.items():
        value = float(function(value_of)[0]) if slices else float("nan")
        if not np.isfinite(value):
            yield MetricRow(metric, NO_VALUE, slices, note="no pixel that it is a share of")
            continue
        note = OF_THRESHOLDED if metric == "pixel_auc" else POOLED
        interval = percentile_interval(value, function(drawn), confidence)
        yield MetricRow(metric, interval, slices, note=note, judged=known)
