"""Average precision of boxes made by hand; the arithmetic stands beside each number."""

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.detection import METRIC, average_precision, boxes_of, detection_scores, hits
from pipeline.tables.detections import COLUMNS, CORNERS

PATIENTS = ("A", "B", "C", "D")
"""C has no contour; D has one, and no lesion."""


def row(patient, source, corners, score=np.nan, kind=1, fold=0):
    return dict(zip(CORNERS, corners, strict=True)) | {
        "patient_id": patient, "set": "test", "fold": fold, "source": source, "kind": kind,
        "score": score, "contour": patient != "C",
    }  # fmt: skip


def table(*more):
    """Surest first: A right, A again the same lesion, A right, D wrong, B right; 3 lesions in all."""
    rows = [
        row("A", "manual", (0, 0, 10, 10)),
        row("A", "manual", (20, 20, 30, 30)),
        row("B", "manual", (0, 0, 4, 4)),
        row("B", "predicted", (0, 0, 4, 2), 0.6),  # 8 of 16 pixels: just enough
        row("A", "predicted", (20, 20, 30, 26), 0.7),  # 60 of 100
        row("A", "predicted", (0, 0, 10, 9), 0.8),  # 90 of 100, but the lesion is taken
        row("A", "predicted", (0, 0, 10, 10), 0.9),
        row("D", "predicted", (5, 5, 9, 9), 0.65),
        row("C", "predicted", (5, 5, 9, 9), 0.99),  # nobody knows
        *more,
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_by_hand():
    boxes = boxes_of(table(), PATIENTS)[1]
    assert boxes.hit.tolist() == [True, False, True, False, True]
    assert boxes.patient.tolist() == [0, 0, 0, 3, 1]
    assert boxes.lesions.tolist() == [2, 1, 0, 0]
    # precision at the three that are right: 1/1, 2/3, 3/5
    expected = (1 + 2 / 3 + 3 / 5) / 3
    assert average_precision(boxes, np.ones((1, 4)))[0] == pytest.approx(expected)


def test_a_patient_drawn_twice_counts_twice():
    boxes = boxes_of(table(), PATIENTS)[1]
    # B twice: 4 lesions; 1/1, 2/3, then 4/6 for both of B's
    assert average_precision(boxes, np.array([[1.0, 2, 1, 1]]))[0] == pytest.approx((1 + 2 / 3 * 3) / 4)
    # A left out: D's 0.65 is wrong, then B's one of one lesion at 1/2
    assert average_precision(boxes, np.array([[0.0, 1, 1, 1]]))[0] == pytest.approx(1 / 2)
    assert np.isnan(average_precision(boxes, np.array([[0.0, 0, 1, 1]]))[0])


def test_precision_is_the_best_at_that_recall_or_higher():
    # before all others a wrong one: 1/2, 2/4, 3/6 is 1/2 throughout; without D: 1/2, 2/4, 3/5 → 3/5 throughout
    frame = table(row("B", "predicted", (50, 50, 60, 60), 0.95))
    assert average_precision(boxes_of(frame, PATIENTS)[1], np.ones((1, 4)))[0] == pytest.approx(1 / 2)
    frame = frame[frame["patient_id"] != "D"]
    assert average_precision(boxes_of(frame, PATIENTS)[1], np.ones((1, 4)))[0] == pytest.approx(3 / 5)


def test_what_is_a_hit():
    lesion = np.array([[0.0, 0, 4, 4]])
    assert hits(np.array([[0.0, 0, 4, 1.99]]), lesion).tolist() == [False]
    assert hits(np.array([[0.0, 0, 4, 4]]), np.empty((0, 4))).tolist() == [False]
    # the surer box belongs to the lesion it overlaps most, and leaves the other to the next
    two = np.array([[0.0, 0, 4, 4], [0, 0, 4, 5]])
    assert hits(np.array([[0.0, 0, 4, 5], [0, 0, 4, 4]]), two).tolist() == [True, True]


def scores(folds, fold=None, counts=None):
    counts = np.ones((100, 4)) if counts is None else counts
    row = detection_scores(folds, PATIENTS, fold, counts, 0.95)
    assert row.metric == METRIC
    return row.interval, row.patients, row.note


def test_folds_are_averaged_by_their_lesions():
    # fold 0 held out A and D: 2 lesions at 1/1 and 2/3; fold 1 B and C: 1 lesion at 1/1
    fold = np.array([0, 1, 1, 0])
    interval, patients, note = scores({0: table(), 1: table()}, fold)
    assert interval.value == pytest.approx(((1 + 2 / 3) + 1) / 3)
    assert (interval.low, interval.high) == (pytest.approx(interval.value), pytest.approx(interval.value))
    assert patients == 3 and "mean over folds" in note
    # of external patients every fold's network sees all
    outside, _, _ = scores({0: table(), 1: table()[lambda t: t["source"] == "manual"]})
    assert outside.value == pytest.approx((1 + 2 / 3 + 3 / 5) / 3 / 2)


def test_kinds_are_averaged_and_not_mixed():
    frame = table(
        row("A", "manual", (40, 40, 50, 50), kind=2), row("A", "predicted", (40, 40, 50, 50), 0.99, kind=1)
    )
    frame.loc[len(frame)] = row("B", "predicted", (0, 0, 4, 4), 0.3, kind=3)  # a kind that does not occur
    # kind 1: a wrong one first, 1/2, 2/4, 3/6; kind 2: nothing found
    assert scores({0: frame})[0].value == pytest.approx((1 / 2 + 0) / 2)


def test_intervals_are_those_of_resamples():
    counts = np.random.default_rng(0).multinomial(4, [0.25] * 4, size=300).astype(float)
    interval, _, _ = scores({0: table()}, counts=counts)
    assert 0.3 < interval.low < interval.value < interval.high <= 1


def test_no_lesion_is_no_number():
    interval, patients, note = scores({0: table()[lambda t: t["source"] == "predicted"]})
    assert np.isnan(interval.value) and patients == 0 and "no patient has a manual lesion" in note
