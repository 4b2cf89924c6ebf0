"""Dice of masks aggregated over patients, and of masks with classes the mean Dice of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.mask_scores import mean_dice
from pipeline.tables.predictions import UNION, classes_of, dice_column, overlap_column, size_column

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
AGGREGATED = "2Σ|A∩B| / Σ(|A|+|B|) over patients, those whose masks are empty too"


@dataclass(frozen=True)
class ClassOverlap:
    """Predicted and manual mask of one class in n patients.

    Attributes:
        name: The class, or `union`: any class, and the mask of a network that tells none apart.
        overlap: (n,) voxels in both masks; NaN without a manual mask.
        size: (n,) voxels of the one plus voxels of the other; NaN without a manual mask.
        dice: (n,) Dice, NaN where neither mask holds the class; None of the union, which has a column
            of its own.
    """

    name: str
    overlap: Array
    size: Array
    dice: Array | None


def class_overlaps(table: pd.DataFrame) -> tuple[ClassOverlap, ...]:
    """The union, and every class, that a table of predictions has counts of."""
    return tuple(
        ClassOverlap(
            name,
            table[overlap_column(name)].to_numpy(float),
            table[size_column(name)].to_numpy(float),
            None if name == UNION else table[dice_column(name)].to_numpy(float),
        )
        for name in classes_of(table.columns)
        if table[size_column(name)].notna().any()
    )


def class_scores(overlaps: Sequence[ClassOverlap], counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Mean Dice of each class, and aggregated Dice of the whole mask, of each class and on average.

    The aggregated Dice of HECKTOR 2022, 2Σ|A∩B| / Σ(|A|+|B|) with sums over patients (Andrearczyk et al.,
    LNCS 13626), counts voxels that are found where a patient does not have the class, and is not
    ruled by small lesions; the challenge ranks by its mean over the classes.

    Args:
        overlaps: Voxel counts of the union and of each class.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        `dice_{class}`; `dice_agg` of the whole mask, and of classes `dice_agg_{class}` and their mean
        `dice_agg_mean`, without the number of events.
    """
    each = [overlap for overlap in overlaps if overlap.name != UNION]
    for overlap in each:
        assert overlap.dice is not None
        row = mean_dice(overlap.dice, counts, confidence, f"dice_{overlap.name}")
        yield row
    for overlap in overlaps:
        metric = "dice_agg" if overlap.name == UNION else f"dice_agg_{overlap.name}"
        yield _aggregated(metric, [overlap], counts, confidence)
    if each:
        yield _aggregated("dice_agg_mean", each, counts, confidence)


def _aggregated(metric: str, overlaps: Sequence[ClassOverlap], counts: Array, confidence: float) -> MetricRow:
    """The mean over classes of their aggregated Dice; none where a class has no voxel in any patient."""
    known = np.isfinite(overlaps[0].size)
    values = [_ratio(each, np.ones((1, known.sum())), known)[0] for each in overlaps]
    value = float(np.mean(values))
    if not np.isfinite(value):
        return MetricRow(metric, NO_VALUE, int(known.sum()), note="no patient has a voxel in either mask")
    samples = np.mean([_ratio(each, counts[:, known], known) for each in overlaps], axis=0)
    interval = percentile_interval(value, samples, confidence)
    return MetricRow(metric, interval, int(known.sum()), note=AGGREGATED, judged=known)


def _ratio(overlap: ClassOverlap, counts: Array, known: NDArray[np.bool_]) -> Array:
    """Aggregated Dice (B,) of resamples (B, n); NaN where no mask of a resample has a voxel."""
    size: Array = counts @ overlap.size[known]
    shared: Array = 2 * (counts @ overlap.overlap[known])
    ratio = np.full(len(size), np.nan)
    np.divide(shared, size, out=ratio, where=size > 0)
    return ratio
