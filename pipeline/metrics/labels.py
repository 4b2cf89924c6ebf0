"""Class outcomes: accuracy, area under the ROC curve and F1 of predicted probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import Interval, percentile_interval
from pipeline.metrics.concordance import Pairs, concordant

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True)
class Label:
    """A class outcome of n patients and its predicted probabilities.

    Attributes:
        name: Column of the cohort table, `label_*`.
        truth: (n,) class 0, 1, …; NaN where unknown.
        chance: (n, classes) probabilities that add up to 1; NaN where there is no prediction.
    """

    name: str
    truth: Array
    chance: Array

    def known(self) -> NDArray[np.bool_]:
        """(n,) patients with a class and a prediction."""
        return np.isfinite(self.truth) & np.isfinite(self.chance).all(axis=1)


def labels_of(table: pd.DataFrame, outcomes: pd.DataFrame) -> list[Label]:
    """The labels that predictions and cohort table share, in one order of patients.

    Args:
        table: Predictions with columns `label_x` (chance of class 1) or `label_x_0`, `label_x_1`, ….
        outcomes: Cohort table with `label_x`.
    """
    found = []
    for name in (str(c) for c in outcomes.columns if str(c).startswith("label_")):
        truth = outcomes[name].to_numpy()
        if truth.dtype.kind not in "fiub":
            continue
        classes = [f"{name}_{k}" for k in range(len(table.columns)) if f"{name}_{k}" in table]
        if name in table:
            one = table[name].to_numpy(float)
            found.append(Label(name, truth.astype(float), np.column_stack([1 - one, one])))
        elif classes:
            found.append(Label(name, truth.astype(float), table[classes].to_numpy(float)))
    return found


def label_scores(
    label: Label, counts: Array, confidence: float, fold: Array | None
) -> Iterator[tuple[str, Interval, int, str]]:
    """`{label}_accuracy`, `{label}_auc` and `{label}_f1` with bootstrap intervals.

    The predicted class is the most probable one. Of more than two classes AUC and F1 are
    means over the classes that occur, each against the rest (macro average).

    Args:
        label: Truth and probabilities of n patients.
        counts: (B, n) bootstrap counts.
        confidence: Of the intervals.
        fold: (n,) given, the AUC counts pairs within a fold only, whose probabilities are of one model.

    Yields:
        Metric, interval, patients, note.
    """
    rows = label.known()
    n = int(rows.sum())
    if not n:
        for metric in ("accuracy", "auc", "f1"):
            yield f"{label.name}_{metric}", Interval(NAN, NAN, NAN), 0, "no patient has label and prediction"
        return
    truth, chance, drawn = label.truth[rows], label.chance[rows], counts[:, rows]
    right = (chance.argmax(axis=1) == truth).astype(float)
    inside = None if fold is None else fold[rows]
    classes = [1] if chance.shape[1] == 2 else [k for k in range(chance.shape[1]) if (truth == k).any()]
    scores: dict[str, Callable[[Array], Array]] = {
        "accuracy": lambda weights: _ratio(weights @ right, weights.sum(axis=1)),
        "auc": lambda weights: np.mean(
            [_auc(truth == k, chance[:, k], inside).index(weights) for k in classes], axis=0
        ),
        "f1": lambda weights: np.mean(
            [_f1(truth == k, chance.argmax(axis=1) == k, weights) for k in classes], axis=0
        ),
    }
    for metric, function in scores.items():
        value = float(function(np.ones((1, n)))[0])
        interval = percentile_interval(value, function(drawn), confidence)
        note = "" if np.isfinite(value) else "only one class occurs"
        yield f"{label.name}_{metric}", interval, n, note


def _auc(positive: NDArray[np.bool_], chance: Array, fold: Array | None) -> Pairs:
    """Pairs of a patient of the class and one of another; agreed where the first has the higher chance."""
    weight = (positive[:, None] & ~positive[None, :]).astype(float)
    if fold is not None:
        weight *= fold[:, None] == fold[None, :]
    return Pairs(concordant(chance) * weight, weight)


def _f1(positive: NDArray[np.bool_], called: NDArray[np.bool_], weights: Array) -> Array:
    """(B,) 2·TP / (2·TP + FP + FN) under (B, n) counts; NaN where the class neither occurs nor is called."""
    hit = weights @ (positive & called).astype(float)
    wrong = weights @ (positive ^ called).astype(float)
    return _ratio(2 * hit, 2 * hit + wrong)


def _ratio(above: Array, below: Array) -> Array:
    found: Array = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return found


def medians(
    values: Mapping[str, Array], counts: Array, confidence: float
) -> Iterator[tuple[str, Interval, int, str]]:
    """The median over patients of each distance in mm, with its bootstrap interval.

    Where one of two masks is empty the distance is infinite; a median takes that as the
    worst value, where a mean would be lost (the ranking of HECKTOR 2021 does the same;
    Andrearczyk et al., LNCS 13209).

    Args:
        values: Metric → (n,) distances, NaN without a reference mask.
        counts: (B, n) bootstrap counts.
        confidence: Of the intervals.
    """
    for name, all_values in values.items():
        known = ~np.isnan(all_values)
        n = int(known.sum())
        if not n:
            yield name, Interval(NAN, NAN, NAN), 0, "no patient has a reference mask"
            continue
        found = all_values[known]
        empty = int(np.isinf(found).sum())
        order = np.argsort(found)
        running = counts[:, known][:, order].cumsum(axis=1)
        # The lower of two middle patients: resamples have no half patient.
        middle = (running >= np.ceil(running[:, -1:] / 2)).argmax(axis=1)
        samples = np.where(running[:, -1] > 0, found[order][middle], np.nan)
        note = "median" + (f"; one mask is empty in {empty} patients" if empty else "")
        yield name, percentile_interval(float(np.median(found)), samples, confidence), n, note
