"""Class outcomes: accuracy, area under the ROC curve, F1 and calibration of predicted probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, percentile_interval
from pipeline.metrics.concordance import Pairs, concordant
from pipeline.metrics.label_calibration import METRICS as CALIBRATION
from pipeline.metrics.label_calibration import label_calibration

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
FEW_OF_A_CLASS = 10
"""Patients of a class below which its scores carry a warning."""


@dataclass(frozen=True)
class Label:
    """A class outcome of n patients and its predicted probabilities.

    Attributes:
        name: Column of the cohort table, `label_*`.
        truth: (n,) class 0, 1, …; NaN where unknown.
        probability: (n, classes) probabilities that add up to 1; NaN where there is no prediction.
    """

    name: str
    truth: Array
    probability: Array

    def known(self) -> NDArray[np.bool_]:
        """(n,) patients with a class and a prediction."""
        return np.isfinite(self.truth) & np.isfinite(self.probability).all(axis=1)


def labels_of(table: pd.DataFrame, outcomes: pd.DataFrame) -> list[Label]:
    """The labels that predictions and cohort table have in common, in one order of patients.

    Args:
        table: Predictions with columns `label_x` (probability of class 1) or `label_x_0`, `label_x_1`, ….
        outcomes: Cohort table with `label_x`.
    """
    labels = []
    for name in (str(c) for c in outcomes.columns if str(c).startswith("label_")):
        truth = outcomes[name].to_numpy()
        if truth.dtype.kind not in "fiub":
            continue
        classes = [f"{name}_{k}" for k in range(len(table.columns)) if f"{name}_{k}" in table]
        if name in table:
            positive = table[name].to_numpy(float)
            labels.append(Label(name, truth.astype(float), np.column_stack([1 - positive, positive])))
        elif classes:
            labels.append(Label(name, truth.astype(float), table[classes].to_numpy(float)))
    return labels


def label_scores(label: Label, counts: Array, confidence: float, fold: Array | None) -> Iterator[MetricRow]:
    """`{label}_accuracy`, `{label}_auc`, `{label}_f1` and `{label}_f1_{class}` with bootstrap intervals.

    The predicted class is the most probable one. Of more than two classes AUC and F1 are
    means over the classes that occur, each against the rest (macro average), and the F1 of each is
    given as well. Of two classes also `{label}_brier`, `{label}_calibration_intercept` and
    `{label}_calibration_slope` (:mod:`pipeline.metrics.label_calibration`).

    Args:
        label: Truth and probabilities of n patients.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.
        fold: (n,) fold of each patient; given, the AUC counts only pairs within a fold, whose
            probabilities come from one model.

    Yields:
        A row per metric, without the number of events.
    """
    rows = label.known()
    n = int(rows.sum())
    if not n:
        for metric in ("accuracy", "auc", "f1"):
            yield MetricRow(f"{label.name}_{metric}", NO_VALUE, 0, note="no patient has label and prediction")
        return
    truth, probability, drawn = label.truth[rows], label.probability[rows], counts[:, rows]
    predicted = probability.argmax(axis=1)
    correct = (predicted == truth).astype(float)
    known_fold = None if fold is None else fold[rows]
    few = _few_note(truth)
    two_classes = probability.shape[1] == 2
    classes = judged_classes(truth, probability)
    metrics: dict[str, Callable[[Array], Array]] = {
        "accuracy": lambda weights: _ratio(weights @ correct, weights.sum(axis=1)),
        "auc": lambda weights: mean_auc(truth, probability, known_fold, weights),
        "f1": lambda weights: np.mean([_f1(truth == k, predicted == k, weights) for k in classes], axis=0),
    }
    if not two_classes:
        metrics |= {f"f1_{k}": partial(_f1_of_class, truth, predicted, k) for k in classes}
    else:
        metrics |= {name: partial(_calibration, truth, probability[:, 1], name) for name in CALIBRATION}
    for metric, function in metrics.items():
        value = float(function(np.ones((1, n)))[0])
        interval = percentile_interval(value, function(drawn), confidence)
        note = few if np.isfinite(value) else _no_value_note(metric)
        yield MetricRow(f"{label.name}_{metric}", interval, n, note=note, judged=rows)


def judged_classes(truth: Array, probability: Array) -> list[int]:
    """Classes whose scores are averaged: class 1 of two, else all that occur."""
    number = probability.shape[1]
    return [1] if number == 2 else [k for k in range(number) if (truth == k).any()]


def mean_auc(truth: Array, probability: Array, fold: Array | None, counts: Array) -> Array:
    """(B,) area under the ROC curve under (B, n) counts: of class 1, or the mean over classes, each against the rest.

    Args:
        truth: (n,) class.
        probability: (n, classes) predicted probabilities.
        fold: (n,) given, only pairs within a fold count.
        counts: (B, n) how often each patient counts.
    """
    classes = judged_classes(truth, probability)
    areas = [auc_pairs_of_class(truth == k, probability[:, k], fold).index(counts) for k in classes]
    mean: Array = np.mean(areas, axis=0)
    return mean


def _few_note(truth: Array) -> str:
    """That a class has fewer than ten patients, as few events are told; empty where each that occurs has more."""
    numbers, patients = np.unique(truth, return_counts=True)
    rarest = int(patients.argmin())
    few = int(patients[rarest])
    if few >= FEW_OF_A_CLASS:
        return ""
    return f"{few} patient{'s' * (few != 1)} of class {numbers[rarest]:g}: uncertain"


def _no_value_note(metric: str) -> str:
    """Why a metric has no value."""
    if metric in CALIBRATION:
        return "only one class occurs, or the probabilities part the classes completely"
    return "only one class occurs"


def auc_pairs_of_class(positive: NDArray[np.bool_], probability: Array, fold: Array | None) -> Pairs:
    """Pairs of a patient of the class and one of another; concordant where the first has the higher probability."""
    weight = (positive[:, None] & ~positive[None, :]).astype(float)
    if fold is not None:
        weight *= fold[:, None] == fold[None, :]
    return Pairs(concordant(probability) * weight, weight)


def _f1(positive: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: Array) -> Array:
    """(B,) 2·TP / (2·TP + FP + FN) under (B, n) counts; NaN where the class neither occurs nor is predicted."""
    true_positives = weights @ (positive & predicted).astype(float)
    errors = weights @ (positive ^ predicted).astype(float)
    return _ratio(2 * true_positives, 2 * true_positives + errors)


def _f1_of_class(truth: Array, predicted: NDArray[np.int64], number: int, weights: Array) -> Array:
    """(B,) F1 of one class against the rest."""
    return _f1(truth == number, predicted == number, weights)


def _calibration(truth: Array, probability: Array, name: str, weights: Array) -> Array:
    """(B,) one of the calibration measures."""
    return label_calibration(truth, probability, weights)[name]


def _ratio(numerator: Array, denominator: Array) -> Array:
    """(B,) ratios, NaN where the denominator is 0."""
    empty = np.full(len(numerator), np.nan)
    ratio: Array = np.divide(numerator, denominator, out=empty, where=denominator > 0)
    return ratio
