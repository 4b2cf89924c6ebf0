"""Average precision of detected boxes at an overlap of one half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.tables.status import read_whole

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
OVERLAP = 0.5
"""Intersection over union from which a box detects a lesion (Everingham et al., IJCV 2010; 88: 303)."""
METRIC = "average_precision_iou50"
AT_ONCE = 64
"""Resamples at a time: boxes times all resamples may not fit in memory."""


@dataclass(frozen=True)
class BoxTable:
    """Boxes of one kind in one fold, the surest first.

    Attributes:
        patient: (m,) row number of each box's patient.
        hit: (m,) whether it is the first to detect a lesion.
        lesions: (n,) manual boxes of each patient.
    """

    patient: NDArray[np.int64]
    hit: NDArray[np.bool_]
    lesions: Array


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4) of x1, y1, x2, y2."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    sizes = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    ratio: Array = shared / (sizes[0][:, None] + sizes[1][None] - shared)
    return ratio


def hits(predicted: Array, manual: Array) -> NDArray[np.bool_]:
    """Which of a patient's boxes of one kind detect a lesion.

    A box belongs to the lesion it overlaps most; it is a true positive where the overlap is a half
    or more and no surer box has detected the same lesion (Everingham et al. 2010, section 4.2.2).

    Args:
        predicted: (N, 4) boxes of the network, the surest first.
        manual: (M, 4) boxes of the lesions.
    """
    hit = np.zeros(len(predicted), dtype=bool)
    if not len(manual):
        return hit
    table, detected = overlaps(predicted, manual), set()
    for number, row in enumerate(table):
        lesion = int(row.argmax())
        if row[lesion] >= OVERLAP and lesion not in detected:
            hit[number] = True
            detected.add(lesion)
    return hit


def boxes_of(frame: pd.DataFrame, ids: Sequence[str]) -> dict[int, BoxTable]:
    """Boxes by kind of lesion, of the patients with a contour.

    Args:
        frame: `detections.parquet` of one fold.
        ids: (n,) patients; boxes of other patients are left out.
    """
    position = {patient_id: row for row, patient_id in enumerate(ids)}
    usable = frame[frame["patient_id"].isin(position) & frame["contour"].astype(bool)]
    return {int(kind): _box_table(part, position) for kind, part in usable.groupby("kind", sort=True)}


def _box_table(frame: pd.DataFrame, position: Mapping[str, int]) -> BoxTable:
    """Boxes of one kind; `position` gives the row number of each patient."""
    from pipeline.tables.detections import CORNERS

    lesions = np.zeros(len(position))
    patient, score, hit = [np.empty(0, dtype=np.int64)], [np.empty(0)], [np.empty(0, dtype=bool)]
    for patient_id, boxes in frame.groupby("patient_id", sort=True):
        row = position[str(patient_id)]
        predicted = boxes[boxes["source"] == "predicted"].sort_values("score", ascending=False, kind="stable")
        manual = boxes.loc[boxes["source"] == "manual", list(CORNERS)].to_numpy(float)
        lesions[row] = len(manual)
        patient.append(np.full(len(predicted), row))
        score.append(predicted["score"].to_numpy(float))
        hit.append(hits(predicted[list(CORNERS)].to_numpy(float), manual))
    order = np.argsort(-np.concatenate(score), kind="stable")
    return BoxTable(np.concatenate(patient)[order], np.concatenate(hit)[order], lesions)


def average_precision(boxes: BoxTable, counts: Array) -> Array:
    """(B,) area under precision over recall; NaN where a resample has no lesion.

    Precision at a recall is the best at that recall or a higher one, at every box and not at
    eleven points (Everingham et al. 2015, IJCV 111: 98, section 2.2, as from 2010 on).

    Args:
        boxes: Boxes of one kind in one fold.
        counts: (B, n) how often each patient counts.
    """
    lesions = counts @ boxes.lesions
    if not len(boxes.hit):
        return np.where(lesions > 0, 0.0, np.nan)
    weight = counts[:, boxes.patient]
    true_positives = (weight * boxes.hit).cumsum(axis=1)
    predicted = weight.cumsum(axis=1)
    precision = np.divide(true_positives, predicted, out=np.zeros_like(true_positives), where=predicted > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area = (best * weight * boxes.hit).sum(axis=1)
    average: Array = np.divide(area, lesions, out=np.full(len(lesions), np.nan), where=lesions > 0)
    return average


def detection_scores(
    folds: Mapping[int, pd.DataFrame],
    ids: Sequence[str],
    fold: Array | None,
    counts: Array,
    confidence: float,
) -> MetricRow:
    """Average precision at an overlap of 0.5, its mean over the kinds of lesions that occur.

    Scores of two folds' networks have no common scale: the precision is each fold's own, and
    folds are averaged by their number of lesions.

    Args:
        folds: Fold → its `detections.parquet`.
        ids: (n,) patients of the set.
        fold: (n,) fold that has each of them as a test patient; None: all folds predict all patients.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the interval.

    Returns:
        The metric, without the number of events.
    """
    tables: dict[int, list[BoxTable]] = {}
    patients: set[str] = set()
    for number, frame in folds.items():
        inside = np.ones(len(ids), dtype=bool) if fold is None else np.asarray(fold) == number
        members = [patient_id for patient_id, is_member in zip(ids, inside, strict=True) if is_member]
        known = frame[frame["patient_id"].isin(members) & frame["contour"].astype(bool)]
        patients |= set(known["patient_id"])
        for kind, boxes in boxes_of(known, ids).items():
            tables.setdefault(kind, []).append(boxes)
    value = float(_mean(tables, np.ones((1, len(ids))))[0])
    if not np.isfinite(value):
        return MetricRow(METRIC, NO_VALUE, 0, note="no patient has a manual lesion")
    chunks = [counts[start : start + AT_ONCE] for start in range(0, len(counts), AT_ONCE)]
    samples = np.concatenate([_mean(tables, chunk) for chunk in chunks]) if chunks else np.empty(0)
    note = "boxes at an overlap of 0.5" + ("; mean over folds" if len(folds) > 1 else "")
    return MetricRow(METRIC, percentile_interval(value, samples, confidence), len(patients), note=note)


def _mean(tables: Mapping[int, list[BoxTable]], counts: Array) -> Array:
    """(B,) mean over kinds of the means over folds, weighted by lesions."""
    total, kinds = np.zeros(len(counts)), np.zeros(len(counts))
    for folds in tables.values():
        area, lesions = np.zeros(len(counts)), np.zeros(len(counts))
        for boxes in folds:
            present = counts @ boxes.lesions
            area += np.where(present > 0, np.nan_to_num(average_precision(boxes, counts)) * present, 0.0)
            lesions += present
        total += np.divide(area, lesions, out=np.zeros_like(area), where=lesions > 0)
        kinds += lesions > 0
    mean: Array = np.divide(total, kinds, out=np.full(len(counts), np.nan), where=kinds > 0)
    return mean


def read_folds(folders: Sequence[str | Path]) -> dict[int, pd.DataFrame]:
    """Fold → boxes, from the folders of a network's folds in their order.

    Raises:
        TableError: A fold has no file of boxes.
    """
    from pipeline.tables.detections import FILE, read_detections

    for folder in folders:
        read_whole(Path(folder), FILE)
    return {number: read_detections(Path(folder) / FILE) for number, folder in enumerate(folders)}
