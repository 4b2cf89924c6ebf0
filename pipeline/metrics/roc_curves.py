"""ROC curves: of the event by each horizon, and of class outcomes; the area under each is the AUC of `metrics.csv`.

In development each fold has a curve of its own, since scores of different folds come from different models. They
are averaged vertically (Fawcett, Pattern Recogn Lett 2006; 27: 861, section 9.1), each weighted by its pairs, so that
the area under the average is the share of concordant pairs within folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.concordance import TIE_TOLERANCE
from pipeline.metrics.labels import Label, judged_classes
from pipeline.metrics.predictions import Predictions, RiskPredictions

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RocCurve:
    """A curve from (0, 0) to (1, 1), neither coordinate falling.

    Attributes:
        false_positive: (k,) share of patients without the event (class) above a threshold.
        true_positive: (k,) share of patients with it above the threshold.
    """

    false_positive: Array
    true_positive: Array

    def area(self) -> float:
        """Area under the curve, by the trapezoidal rule: ties count one half."""
        return float(np.trapezoid(self.true_positive, self.false_positive))

    def limits(self, at: Array) -> tuple[Array, Array]:
        """(m,) lowest and highest point of the curve above each of (m,) false positive shares."""
        x, y = self.false_positive, self.true_positive
        first = np.searchsorted(x, at, side="left").clip(0, len(x) - 1)
        last = (np.searchsorted(x, at, side="right") - 1).clip(0, len(x) - 1)
        # Where `at` is no corner, it lies on the line from `last` to `first`.
        step = np.where(x[first] > x[last], x[first] - x[last], 1.0)
        between = y[last] + (y[first] - y[last]) * (at - x[last]) / step
        corner = x[first] == at
        return np.where(corner, y[first], between), np.where(corner, y[last], between)


def roc_curve(score: Array, cases: Array, controls: Array) -> RocCurve | None:
    """The curve of weighted cases and controls; None where there is none of the one or the other.

    Args:
        score: (n,) the higher, the likelier a case.
        cases: (n,) weight as a case, 0 of whoever is none.
        controls: (n,) weight as a control.
    """
    if not cases.sum() or not controls.sum():
        return None
    order = np.argsort(-score, kind="stable")
    # Tied scores are passed together, on a straight line.
    ends = np.append(np.flatnonzero(-np.diff(score[order]) > TIE_TOLERANCE), len(score) - 1)
    shares = [np.append(0.0, np.cumsum(weight[order])[ends] / weight.sum()) for weight in (controls, cases)]
    return RocCurve(shares[0].clip(0, 1), shares[1].clip(0, 1))


def average(curves: Sequence[RocCurve], weights: Sequence[float]) -> RocCurve:
    """Weighted mean of the curves' heights at every false positive share; a step stays a step."""
    if len(curves) == 1:
        return curves[0]
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    at = np.unique(np.concatenate([curve.false_positive for curve in curves]))
    low, high = np.zeros(len(at)), np.zeros(len(at))
    for curve, weight in zip(curves, share, strict=True):
        of_curve = curve.limits(at)
        low, high = low + weight * of_curve[0], high + weight * of_curve[1]
    heights = np.column_stack([low, high]).ravel()
    return RocCurve(np.repeat(at, 2), heights.clip(0, 1))


def curve_within_folds(score: Array, cases: Array, controls: Array, fold: Array | None) -> RocCurve | None:
    """The curve, or the mean of the folds' curves, each weighted by its pairs of a case and a control."""
    curves, weights = [], []
    numbers = np.zeros(len(score)) if fold is None else fold
    for number in np.unique(numbers):
        inside = numbers == number
        if curve := roc_curve(score[inside], cases[inside], controls[inside]):
            curves.append(curve)
            weights.append(float(cases[inside].sum() * controls[inside].sum()))
    return average(curves, weights) if curves else None


def roc_rows(predictions: Predictions) -> Iterator[dict[str, object]]:
    """Rows of `roc_curves.csv`: outcome, horizon, false_positive, true_positive, area, patients.

    Of the event by each horizon cases are weighted by the inverse probability of being uncensored, as in the AUC
    (Uno et al., JASA 2007; 102: 527). The outcome of a label with more than two classes names the class, which is
    judged against the rest. Nothing of the event where follow-up does not reach the horizon or the set has too
    few events.
    """
    if isinstance(predictions, RiskPredictions):
        for days in predictions.survival:
            if curve := _of_event(predictions, days):
                yield from _points("event", f"{days:g}", curve, len(predictions.risk))
    for label in predictions.labels:
        yield from _of_label(label, predictions.fold)


def _of_event(predictions: RiskPredictions, days: float) -> RocCurve | None:
    outcome = predictions.outcome
    if outcome.no_value_reason(days):
        return None
    had_event = (outcome.time <= days) & (outcome.event == 1)
    cases = np.where(had_event, 1.0 / outcome.censoring, 0.0)
    controls = (outcome.time > days).astype(float)
    return curve_within_folds(predictions.risk, cases, controls, predictions.fold)


def _of_label(label: Label, fold: Array | None) -> Iterator[dict[str, object]]:
    known = label.known()
    if not known.any():
        return
    truth, probability = label.truth[known], label.probability[known]
    for number in judged_classes(truth, probability):
        cases = (truth == number).astype(float)
        folds = None if fold is None else fold[known]
        outcome = label.name if probability.shape[1] == 2 else f"{label.name}_{number}"
        if curve := curve_within_folds(probability[:, number], cases, 1 - cases, folds):
            yield from _points(outcome, "", curve, len(truth))


def _points(outcome: str, horizon: str, curve: RocCurve, patients: int) -> Iterator[dict[str, object]]:
    shared = {"outcome": outcome, "horizon": horizon, "area": curve.area(), "patients": patients}
    for x, y in zip(curve.false_positive, curve.true_positive, strict=True):
        yield {**shared, "false_positive": float(x), "true_positive": float(y)}
