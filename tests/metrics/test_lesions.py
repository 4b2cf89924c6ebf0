"""Lesions found, missed and false, and errors of the volume: by hand on small masks."""

import numpy as np
import pytest

from pipeline.metrics.lesions import lesion_scores
from pipeline.metrics.segmentation import LesionAgreement, lesion_agreement
from pipeline.tables.predictions import LESIONS


def masks():
    """Manual: three lesions, two of which touch by a corner only and are one. Predicted: one found, two false."""
    manual, predicted = np.zeros((6, 8, 8), bool), np.zeros((6, 8, 8), bool)
    manual[0, 0, 0] = manual[1, 1, 1] = True
    manual[4, 6:8, 6:8] = True
    predicted[1, 1:4, 1] = True
    predicted[3, 0, 7] = predicted[5, 0, 0] = True
    return predicted, manual


def test_by_hand():
    predicted, manual = masks()
    found = lesion_agreement(predicted, manual, (4.0, 2.0, 2.5))
    assert (found.found, found.missed, found.false) == (1, 1, 2)
    assert (found.predicted_ml, found.manual_ml) == (pytest.approx(5 * 0.02), pytest.approx(6 * 0.02))
    assert lesion_agreement(predicted, manual * False, (1.0,) * 3).columns()[:3] == (0, 0, 3)
    assert lesion_agreement(predicted * False, manual, (1.0,) * 3).columns()[:3] == (0, 2, 0)
    # One predicted blob over two lesions finds both.
    assert lesion_agreement(np.ones_like(manual), manual, (1.0,) * 3).columns()[:3] == (2, 0, 0)


def test_scores_of_a_set_by_hand():
    patients = [
        LesionAgreement(2, 1, 0, 12.0, 10.0),
        LesionAgreement(0, 0, 3, 2.0, 0.0),
        LesionAgreement(1, 0, 1, 4.0, 10.0),
    ]
    rows = np.array([*(each.columns() for each in patients), [np.nan] * 5])
    lesions = dict(zip(LESIONS, rows.T, strict=True))
    counts = np.array([[1.0, 1, 1, 1], [0, 0, 0, 4], [3, 0, 0, 1]])
    scores = {row.metric: row for row in lesion_scores(lesions, counts, 0.95)}
    expected = {
        "lesion_sensitivity": 3 / 4,
        "lesion_f1": 6 / (6 + 1 + 4),
        "false_lesions": 4 / 3,
        "volume_bias_ml": (2 + 2 - 6) / 3,
        "volume_error": 10 / 20,
    }
    assert {name: row.interval.value for name, row in scores.items()} == pytest.approx(expected)
    samples = scores["lesion_sensitivity"].interval.samples
    assert samples[0] == pytest.approx(3 / 4) and np.isnan(samples[1]) and samples[2] == pytest.approx(2 / 3)
    assert {row.patients for row in scores.values()} == {3}
    assert not list(lesion_scores({}, counts, 0.95))


def test_a_set_without_any_lesion_says_so():
    lesions = dict(zip(LESIONS, np.array([[0.0, 0, 1, 2, 0]] * 2).T, strict=True))
    scores = {row.metric: row for row in lesion_scores(lesions, np.ones((5, 2)), 0.95)}
    assert np.isnan(scores["lesion_sensitivity"].interval.value)
    assert scores["lesion_sensitivity"].note == "no patient has a lesion"
    assert scores["false_lesions"].interval.value == 1
