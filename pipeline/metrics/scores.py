"""All metrics of one model on one set of patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.auc_interval import auc_interval
from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow, percentile_interval
from pipeline.metrics.concordance import Pairs, harrell_pairs, uno_pairs
from pipeline.metrics.detection import detection_scores
from pipeline.metrics.labels import label_scores
from pipeline.metrics.lesions import lesion_scores
from pipeline.metrics.mask_classes import class_scores
from pipeline.metrics.mask_scores import mean_dice, median_distances
from pipeline.metrics.pixel_scores import pixel_scores
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.probability_scores import probability_scores
from pipeline.metrics.separation import separation
from pipeline.metrics.time_dependent import auc_pairs

Array = NDArray[np.float64]
NAN = float("nan")
WITHIN = "pairs within folds"
POOLED = "marked: Z-scored risks of different folds are pooled"


def score(predictions: Predictions, counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Every metric of a model on a set.

    Args:
        predictions: Predictions and outcomes of n patients.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        For a model that gives risks c_index (headline), c_index_pooled, c_index_uno, per-fold
        C-indices with mean and SD, royston_d, r2_d, auc_{days}d, brier_{days}d, brier_skill_{days}d,
        observed_expected_{days}d and ibs; dice, dice_{class}, dice_agg,
        dice_agg_{class} and dice_agg_mean of masks with classes, hd95_mm, assd_mm, lesion_sensitivity, lesion_f1,
        false_lesions, volume_error and volume_bias_ml, pixel_f1 and the like of slices,
        {label}_accuracy, _auc, _f1 and, of more than two classes, _f1_{class}, and
        average_precision_iou50 of boxes. A metric that cannot be computed is NaN, and its note gives
        the reason: with fewer than ten events nothing of risks is estimated.
    """
    if isinstance(predictions, RiskPredictions):
        yield from _risk_scores(predictions, counts, confidence)
    if predictions.dice is not None:
        with_mask = predictions.events(np.isfinite(predictions.dice))
        yield replace(mean_dice(predictions.dice, counts, confidence), events=with_mask)
    rows = list(class_scores(predictions.overlaps, counts, confidence))
    rows.extend(median_distances(predictions.distances, counts, confidence))
    rows.extend(lesion_scores(predictions.lesions, counts, confidence))
    rows.extend(pixel_scores(predictions.pixels, counts, confidence))
    for label in predictions.labels:
        rows.extend(label_scores(label, counts, confidence, predictions.fold))
    if predictions.boxes:
        rows.append(
            detection_scores(predictions.boxes, predictions.patients, predictions.fold, counts, confidence)
        )
    for row in rows:
        yield replace(row, events=predictions.events())


def _risk_scores(predictions: RiskPredictions, counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Concordance, AUC and scores of survival probabilities."""
    outcome, risk, fold = predictions.outcome, predictions.risk, predictions.fold
    reason = outcome.few_events_reason()
    if reason:
        for metric in _metrics_of_risk(predictions):
            yield MetricRow(metric, NO_VALUE, len(risk), int(outcome.event.sum()), reason)
        return
    within = WITHIN if fold is not None else ""
    yield _pairs_row(predictions, "c_index", predictions.headline_pairs(), counts, confidence, within)
    if fold is not None:
        pooled = harrell_pairs(outcome.time, outcome.event, risk)
        yield _pairs_row(predictions, "c_index_pooled", pooled, counts, confidence, POOLED)
        yield from _fold_concordance(predictions, fold)
    yield _uno_concordance(predictions, counts, confidence)
    events, pooling = int(outcome.event.sum()), POOLED if fold is not None else ""
    for metric, interval in separation(outcome, risk, counts, confidence):
        yield MetricRow(metric, interval, len(risk), events, pooling)
    for days in predictions.survival:
        reason = outcome.no_value_reason(days)
        if reason:
            yield MetricRow(f"auc_{days:g}d", NO_VALUE, len(risk), int(outcome.event.sum()), reason)
        else:
            pairs = auc_pairs(outcome, risk, days, fold)
            interval = auc_interval(pairs, confidence, pairs.index(counts), outcome.group)
            note = within if np.isfinite(interval.value) else "no comparable pair"
            yield MetricRow(f"auc_{days:g}d", interval, len(risk), events, note)
    yield from probability_scores(predictions, counts, confidence)


def _metrics_of_risk(predictions: RiskPredictions) -> list[str]:
    """Names of the metrics that a set with enough events has."""
    of_probabilities = ("auc", "brier", "brier_skill", "observed_expected")
    pooled = ["c_index_pooled"] if predictions.fold is not None else []
    at_horizons = [f"{name}_{days:g}d" for days in predictions.survival for name in of_probabilities]
    return ["c_index", *pooled, "c_index_uno", "royston_d", "r2_d", *at_horizons]


def _pairs_row(
    predictions: RiskPredictions, metric: str, pairs: Pairs, counts: Array, confidence: float, note: str
) -> MetricRow:
    """The share of concordant pairs, with its interval."""
    value = float(pairs.index()[0])
    interval = percentile_interval(value, pairs.index(counts), confidence)
    note = note if np.isfinite(value) else "no comparable pair"
    return MetricRow(metric, interval, len(predictions.risk), int(predictions.outcome.event.sum()), note)


def _uno_concordance(predictions: RiskPredictions, counts: Array, confidence: float) -> MetricRow:
    """Uno's C up to the last horizon that follow-up reaches, over all pairs."""
    outcome, risk = predictions.outcome, predictions.risk
    usable = [days for days in predictions.survival if not outcome.unreached_reason(days)]
    if not usable:
        note = "follow-up reaches no horizon"
        return MetricRow("c_index_uno", NO_VALUE, len(risk), int(outcome.event.sum()), note)
    tau = max(usable)
    pairs = uno_pairs(outcome.time, outcome.event, risk, outcome.censoring, tau)
    note = f"events before {tau:g} days" + (f"; {POOLED}" if predictions.fold is not None else "")
    return _pairs_row(predictions, "c_index_uno", pairs, counts, confidence, note)


def _fold_concordance(predictions: RiskPredictions, fold: Array) -> Iterator[MetricRow]:
    """C-index of each fold, their mean and SD (n − 1), as papers print them."""
    outcome, risk = predictions.outcome, predictions.risk
    values = []
    for number in np.unique(fold):
        members = fold == number
        pairs = harrell_pairs(outcome.time[members], outcome.event[members], risk[members])
        value = float(pairs.index()[0])
        values.append(value)
        patients, events = int(members.sum()), int(outcome.event[members].sum())
        note = "" if np.isfinite(value) else "no comparable pair"
        yield MetricRow(f"c_index_fold{int(number)}", Interval(value, NAN, NAN), patients, events, note)
    known = np.array([value for value in values if np.isfinite(value)])
    note = f"over {len(known)} of {len(values)} folds"
    patients, events = len(risk), int(outcome.event.sum())
    mean = float(known.mean()) if len(known) else NAN
    sd = float(known.std(ddof=1)) if len(known) > 1 else NAN
    yield MetricRow("c_index_fold_mean", Interval(mean, NAN, NAN), patients, events, note)
    yield MetricRow("c_index_fold_sd", Interval(sd, NAN, NAN), patients, events, note)
