"""Average precision of detected boxes at an overlap of one half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import Interval, percentile_interval

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
NAN = float("nan")
OVERLAP = 0.5
"""Intersection over union from which a box has found a lesion (Everingham et al., IJCV 2010; 88: 303)."""
METRIC = "average_precision_iou50"
AT_ONCE = 64
"""Resamples at a time: boxes times resamples is more than memory holds."""


@dataclass(frozen=True)
class BoxTable:
    """Boxes of one kind in one fold, the surest first.

    Attributes:
        patient: (m,) row number of each box's patient.
        hit: (m,) whether it is the first to find a lesion.
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
    found: Array = shared / (sizes[0][:, None] + sizes[1][None] - shared)
    return found


def hits(found: Array, manual: Array) -> NDArray[np.bool_]:
    """Which of a patient's boxes of one kind find a lesion.

    A box belongs to the lesion it overlaps most; it is right where that is half or more and no
    surer box was right about the same lesion (Everingham et al. 2010, section 4.2.2).

    Args:
        found: (N, 4), the surest first.
        manual: (M, 4).
    """
    right = np.zeros(len(found), dtype=bool)
    if not len(manual):
        return right
    table, taken = overlaps(found, manual), set()
    for number, row in enumerate(table):
        lesion = int(row.argmax())
        if row[lesion] >= OVERLAP and lesion not in taken:
            right[number] = True
            taken.add(lesion)
    return right


def boxes_of(frame: pd.DataFrame, ids: Sequence[str]) -> dict[int, BoxTable]:
    """Boxes by kind of lesion, of the patients with a contour.

    Args:
        frame: `detections.parquet` of one fold.
        ids: (n,) patients; others' boxes are left out.
    """
    from pipeline.tables.detections import CORNERS

    place = {patient_id: row for row, patient_id in enumerate(ids)}
    mine = frame[frame["patient_id"].isin(place) & frame["contour"].astype(bool)]
    result = {}
    for kind, part in mine.groupby("kind", sort=True):
        lesions = np.zeros(len(ids))
        rows: list[tuple[float, int, bool]] = []
        for patient_id, boxes in part.groupby("patient_id", sort=True):
            found = boxes[boxes["source"] == "found"].sort_values("score", ascending=False, kind="stable")
            manual = boxes.loc[boxes["source"] == "manual", list(CORNERS)].to_numpy(float)
            lesions[place[str(patient_id)]] = len(manual)
            right = hits(found[list(CORNERS)].to_numpy(float), manual)
            rows += [(s, place[str(patient_id)], h) for s, h in zip(found["score"], right, strict=True)]
        rows.sort(key=lambda row: -row[0])
        patient = np.array([row[1] for row in rows], dtype=np.int64)
        result[int(kind)] = BoxTable(patient, np.array([row[2] for row in rows], dtype=bool), lesions)
    return result


def average_precision(boxes: BoxTable, weights: Array) -> Array:
    """(B,) area under precision over recall; NaN where a resample has no lesion.

    Precision at a recall is the best at that recall or a higher one, at every box and not at
    eleven points (Everingham et al. 2015, IJCV 111: 98, section 2.2, as from 2010 on).

    Args:
        boxes: One kind in one fold.
        weights: (B, n) how often each patient counts.
    """
    there = weights @ boxes.lesions
    if not len(boxes.hit):
        return np.where(there > 0, 0.0, np.nan)
    drawn = weights[:, boxes.patient]
    right = (drawn * boxes.hit).cumsum(axis=1)
    shown = drawn.cumsum(axis=1)
    precision = np.divide(right, shown, out=np.zeros_like(right), where=shown > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area = (best * drawn * boxes.hit).sum(axis=1)
    found: Array = np.divide(area, there, out=np.full(len(there), np.nan), where=there > 0)
    return found


def detection_scores(
    folds: Mapping[int, pd.DataFrame],
    ids: Sequence[str],
    fold: Array | None,
    counts: Array,
    confidence: float,
) -> Iterator[tuple[str, Interval, int, str]]:
    """Average precision at an overlap of 0.5, its mean over the kinds of lesions that occur.

    Scores of two folds' networks have no common scale: the precision is each fold's own, and
    folds are averaged by their number of lesions.

    Args:
        folds: Fold → its `detections.parquet`.
        ids: (n,) patients of the set.
        fold: (n,) which fold held each of them out; None: all folds see all patients.
        counts: (B, n) bootstrap counts.
        confidence: Of the interval.

    Yields:
        Metric, interval, patients with boxes, note.
    """
    parts: dict[int, list[BoxTable]] = {}
    seen: set[str] = set()
    for number, frame in folds.items():
        inside = np.ones(len(ids), dtype=bool) if fold is None else np.asarray(fold) == number
        mine = [patient_id for patient_id, there in zip(ids, inside, strict=True) if there]
        known = frame[frame["patient_id"].isin(mine) & frame["contour"].astype(bool)]
        seen |= set(known["patient_id"])
        for kind, boxes in boxes_of(known, ids).items():
            parts.setdefault(kind, []).append(boxes)
    value = float(_mean(parts, np.ones((1, len(ids))))[0])
    if not np.isfinite(value):
        yield METRIC, Interval(NAN, NAN, NAN), 0, "no patient has a manual lesion"
        return
    chunks = [counts[start : start + AT_ONCE] for start in range(0, len(counts), AT_ONCE)]
    samples = np.concatenate([_mean(parts, chunk) for chunk in chunks]) if chunks else np.empty(0)
    note = "boxes at an overlap of 0.5" + ("; mean over folds" if len(folds) > 1 else "")
    yield METRIC, percentile_interval(value, samples, confidence), len(seen), note


def _mean(parts: Mapping[int, list[BoxTable]], counts: Array) -> Array:
    """(B,) mean over kinds of the means over folds, weighted by lesions."""
    above, present = np.zeros(len(counts)), np.zeros(len(counts))
    for members in parts.values():
        area, lesions = np.zeros(len(counts)), np.zeros(len(counts))
        for boxes in members:
            there = counts @ boxes.lesions
            area += np.where(there > 0, np.nan_to_num(average_precision(boxes, counts)) * there, 0.0)
            lesions += there
        above += np.divide(area, lesions, out=np.zeros_like(area), where=lesions > 0)
        present += lesions > 0
    found: Array = np.divide(above, present, out=np.full(len(counts), np.nan), where=present > 0)
    return found


def read_folds(folders: Sequence[str | Path]) -> dict[int, pd.DataFrame]:
    """Fold → boxes, of the folders of a network's folds in their order.

    Raises:
        TableError: A fold left no boxes.
    """
    from pipeline.tables.detections import FILE, read_detections

    return {number: read_detections(Path(folder) / FILE) for number, folder in enumerate(folders)}
