"""Metrics over all pixels against scikit-learn, and the printed row of 004 they must fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics

from pipeline.metrics.pixel_scores import pixel_scores
from pipeline.tables.predictions import PIXELS
from pipeline.training.predict import pixels_of

SLICES, SIDE = 12, 20


def made() -> tuple[torch.Tensor, torch.Tensor]:
    """Manual masks (N, 1, Y, X) and probabilities that follow them."""
    generator = torch.Generator().manual_seed(0)
    manual = (torch.rand(SLICES, 1, SIDE, SIDE, generator=generator) > 0.85).float()
    noise = torch.rand(SLICES, 1, SIDE, SIDE, generator=generator)
    return manual, 0.6 * noise + 0.4 * manual


def columns(manual: torch.Tensor, probability: torch.Tensor, known: torch.Tensor) -> dict[str, np.ndarray]:
    rows = pixels_of({"mask": probability}, {"mask": manual, "mask_known": known})
    return dict(zip(PIXELS, np.asarray(rows).T, strict=True))


def test_values_are_those_of_scikit_learn() -> None:
    manual, probability = made()
    pixels = columns(manual, probability, torch.ones(SLICES))
    rows = {row.metric: row for row in pixel_scores(pixels, np.ones((100, SLICES)), 0.95)}
    truth, called = manual.numpy().ravel(), (probability > 0.5).numpy().ravel()
    expected = {
        "pixel_accuracy": metrics.accuracy_score(truth, called),
        "pixel_f1": metrics.f1_score(truth, called),
        "pixel_sensitivity": metrics.recall_score(truth, called),
        "pixel_specificity": metrics.recall_score(1 - truth, ~called),
        "pixel_precision": metrics.precision_score(truth, called),
        "pixel_auc": metrics.roc_auc_score(truth, called),
        "pixel_iou": metrics.jaccard_score(truth, called),
    }
    assert {name: row.interval.value for name, row in rows.items()} == pytest.approx(expected)
    assert {row.patients for row in rows.values()} == {SLICES}


def test_slices_without_a_mask_do_not_count_and_resamples_count_slices() -> None:
    manual, probability = made()
    known = torch.ones(SLICES)
    known[0] = 0
    pixels = columns(manual, probability, known)
    # Each resample is one slice alone: the interval spans the slices' own values.
    rows = {row.metric: row for row in pixel_scores(pixels, np.eye(SLICES)[1:], 0.95)}
    own = [
        metrics.jaccard_score(m.numpy().ravel(), (p > 0.5).numpy().ravel())
        for m, p in zip(manual[1:], probability[1:], strict=True)
    ]
    low, high = np.quantile(own, [0.025, 0.975])
    interval = rows["pixel_iou"].interval
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))
    assert rows["pixel_iou"].patients == SLICES - 1


def test_the_printed_row_of_004_fits_these_definitions() -> None:
    # Table 3, with loaded weights: sensitivity 0.76, precision 0.80, specificity 0.99, of a small lesion.
    both, predicted, manual, everything = 76.0, 95.0, 100.0, 100.0 + 19 / 0.01
    pixels = dict(zip(PIXELS, np.array([[both], [predicted], [manual], [everything]]), strict=True))
    value = {
        row.metric: round(row.interval.value, 2) for row in pixel_scores(pixels, np.ones((100, 1)), 0.95)
    }
    assert (value["pixel_f1"], value["pixel_iou"], value["pixel_auc"]) == (0.78, 0.64, 0.88)


def test_volumes_have_no_pixels_and_empty_masks_no_share() -> None:
    manual = torch.zeros(2, 3, 4, 4)
    assert pixels_of({"mask": manual}, {"mask": manual, "mask_known": torch.ones(2)}) == []
    assert list(pixel_scores({}, np.ones((100, 2)), 0.95)) == []
    flat = torch.zeros(2, 1, 4, 4)
    rows = pixel_scores(columns(flat, flat, torch.ones(2)), np.ones((100, 2)), 0.95)
    unknown = {row.metric for row in rows if not np.isfinite(row.interval.value)}
    assert unknown == {"pixel_f1", "pixel_sensitivity", "pixel_precision", "pixel_auc", "pixel_iou"}
