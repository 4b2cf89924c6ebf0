"""Lesions of a mask: which are found, missed, or where there is none; and the volume that a mask is wrong by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.time_dependent import weighted_mean
from pipeline.tables.predictions import LESIONS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
RULE = "a lesion is found where the masks share a voxel"


@dataclass(frozen=True)
class LesionAgreement:
    """Predicted against manual mask of a patient, lesion by lesion.

    Attributes:
        found: Number of manual lesions that the predicted mask touches.
        missed: Number of those that it does not.
        false: Number of predicted lesions that no manual one touches.
        predicted_ml: Volume of the predicted mask, mL.
        manual_ml: Volume of the manual mask, mL.
    """

    found: int
    missed: int
    false: int
    predicted_ml: float
    manual_ml: float

    def columns(self) -> tuple[float, ...]:
        """Values of :data:`pipeline.tables.predictions.LESIONS`."""
        return (self.found, self.missed, self.false, self.predicted_ml, self.manual_ml)


def lesion_agreement(predicted: Mask, manual: Mask, spacing_mm: tuple[float, ...]) -> LesionAgreement:
    """Compare two masks of one shape by their connected components, voxels that share a corner together.

    A manual lesion is found where it shares a voxel with the predicted mask, and a predicted one is false where it
    shares none with the manual mask: the false negatives and false positives of autoPET (Gatidis et al., Nat Mach
    Intell 2024; 6: 1396), counted by lesions.

    Args:
        predicted: Mask (Z, Y, X).
        manual: Mask of the same shape.
        spacing_mm: Voxel size along each axis, mm.
    """
    found, missed = _touched(manual, predicted)
    false = _touched(predicted, manual)[1]
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return LesionAgreement(found, missed, false, predicted.sum() * voxel_ml, manual.sum() * voxel_ml)


def _touched(mask: Mask, other: Mask) -> tuple[int, int]:
    """How many components of a mask share a voxel with another mask, and how many do not."""
    from scipy.ndimage import label

    if not mask.any():
        return 0, 0
    numbers, count = label(mask, np.ones((3,) * mask.ndim))
    touched = len(np.unique(numbers[mask & other]))
    return touched, int(count) - touched


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
