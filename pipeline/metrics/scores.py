"""All metrics of one model on one set of patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow, percentile_interval
from pipeline.metrics.concordance import Pairs, harrell_pairs, uno_pairs
from pipeline.metrics.detection import detection_scores
from pipeline.metrics.labels import Label, label_scores
from pipeline.metrics.time_dependent import (
    SurvivalOutcome,
    auc_pairs,
    brier_terms,
    survival_at,
    weighted_mean,
)

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
NAN = float("nan")
WITHIN = "pairs within folds"
POOLED = "marked: Z-scored risks of different folds are pooled"


@dataclass(frozen=True)
class Predictions:
    """A model's predictions beside the truth, in one order of patients for all models.

    Attributes:
        model: Name of the model.
        set: `development` or `external`.
        patients: (n,) ids.
        fold: (n,) fold that has each patient as a test patient; None for external patients.
        event: (n,) 1 = the event occurred; None in a study without outcomes.
        dice: (n,) Dice, NaN where there is none; None for models without masks.
        caveats: What holds for every number of this model, e.g. Z-scores from test patients.
        distances: `hd95_mm`, `assd_mm` → (n,), NaN where there is none; for models with masks.
        labels: Class outcomes with predicted probabilities.
        boxes: Fold → `detections.parquet`; for detecting networks.
    """

    model: str
    set: str
    patients: tuple[str, ...]
    fold: Array | None
    event: Array | None = None
    dice: Array | None = None
    caveats: str = ""
    distances: dict[str, Array] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    boxes: Mapping[int, pd.DataFrame] = field(default_factory=dict)

    def events(self, among: NDArray[np.bool_] | None = None) -> int | None:
        """Number of events among all patients, or among (n,) some; None without outcomes."""
        if self.event is None:
            return None
        return int((self.event if among is None else self.event[among]).sum())


@dataclass(frozen=True, kw_only=True)
class RiskPredictions(Predictions):
    """Predictions of a model that gives risks.

    Attributes:
        outcome: Times, events and their censoring distribution.
        risk: (n,) higher = worse.
        survival: Horizon in days → (n,) probabilities, NaN where unknown.
    """

    outcome: SurvivalOutcome
    risk: Array
    survival: dict[float, Array]

    @classmethod
    def of(
        cls, predictions: Predictions, outcome: SurvivalOutcome, risk: Array, survival: dict[float, Array]
    ) -> RiskPredictions:
        """Predictions with the risks beside them."""
        shared = {each.name: getattr(predictions, each.name) for each in fields(predictions)}
        return cls(**shared, outcome=outcome, risk=risk, survival=survival)

    def headline_pairs(self) -> Pairs:
        """Pairs of the headline concordance: within folds in development, else all."""
        return harrell_pairs(self.outcome.time, self.outcome.event, self.risk, self.fold)


@dataclass(frozen=True)
class BootstrappedValue:
    """A metric with its (B,) values in the resamples."""

    metric: str
    value: float
    samples: Array


def score(predictions: Predictions, counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Every metric of a model on a set.

    Args:
        predictions: Predictions and outcomes of n patients.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        For a model that gives risks c_index (headline), c_index_pooled, c_index_uno, per-fold
        C-indices with mean and SD, auc_{days}d, brier_{days}d, brier_skill_{days}d,
        observed_expected_{days}d and ibs; dice, hd95_mm, assd_mm, {label}_accuracy, _auc and _f1,
        and average_precision_iou50 of boxes. A metric that cannot be computed is NaN, and its
        note gives the reason.
    """
    if isinstance(predictions, RiskPredictions):
        yield from _risk_scores(predictions, counts, confidence)
    if predictions.dice is not None:
        yield _dice(predictions, predictions.dice, counts, confidence)
    rows = list(median_distances(predictions.distances, counts, confidence))
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
    within = WITHIN if fold is not None else ""
    yield _pairs_row(predictions, "c_index", predictions.headline_pairs(), counts, confidence, within)
    if fold is not None:
        pooled = harrell_pairs(outcome.time, outcome.event, risk)
        yield _pairs_row(predictions, "c_index_pooled", pooled, counts, confidence, POOLED)
        yield from _fold_concordance(predictions, fold)
    yield _uno_concordance(predictions, counts, confidence)
    for days in predictions.survival:
        reason = outcome.no_value_reason(days)
        if reason:
            yield MetricRow(f"auc_{days:g}d", NO_VALUE, len(risk), int(outcome.event.sum()), reason)
        else:
            pairs = auc_pairs(outcome, risk, days, fold)
            yield _pairs_row(predictions, f"auc_{days:g}d", pairs, counts, confidence, within)
    yield from _probability_scores(predictions, counts, confidence)


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
    usable = [days for days in predictions.survival if not outcome.no_value_reason(days)]
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


def _probability_scores(
    predictions: RiskPredictions, counts: Array, confidence: float
) -> Iterator[MetricRow]:
    """Brier scores, their skill against Kaplan–Meier, observed/expected, and the IBS."""
    survival = predictions.survival
    complete = np.all([np.isfinite(s) for s in survival.values()], axis=0) if survival else None
    brier: dict[float, Array] = {}
    for days, probability in survival.items():
        known = np.isfinite(probability)
        n, events = int(known.sum()), int(predictions.outcome.event[known].sum())
        outcome = predictions.outcome
        if n:
            outcome = SurvivalOutcome.of(outcome.time[known], outcome.event[known])
        reason = outcome.no_value_reason(days) if n else "the baseline hazard's follow-up ends before"
        if reason:
            for name in ("brier", "brier_skill", "observed_expected"):
                yield MetricRow(f"{name}_{days:g}d", NO_VALUE, n, events, reason)
            continue
        left_out = len(probability) - n
        note = f"{left_out} patients without a probability left out" if left_out else ""
        for each in _scores_at_horizon(outcome, probability[known], days, counts[:, known]):
            interval = percentile_interval(each.value, each.samples, confidence)
            yield MetricRow(f"{each.metric}_{days:g}d", interval, n, events, note)
        if complete is not None and complete.all():
            brier[days] = brier_terms(outcome, probability, days)
    if len(brier) > 1:
        yield _integrated_brier(predictions, brier, counts, confidence)


def _scores_at_horizon(
    outcome: SurvivalOutcome, survival: Array, days: float, counts: Array
) -> Iterator[BootstrappedValue]:
    """Brier score, Brier skill and observed/expected ratio at one time."""
    once = np.ones((1, len(survival)))
    resamples = counts[counts.sum(axis=1) > 0]
    observed = float(survival_at(outcome.time, outcome.event, days, once)[0])
    terms = brier_terms(outcome, survival, days)
    reference = brier_terms(outcome, np.full(len(survival), observed), days)

    def skill(weights: Array) -> Array:
        return np.asarray(1.0 - weighted_mean(terms, weights) / weighted_mean(reference, weights))

    def ratio(weights: Array) -> Array:
        expected_events = weighted_mean(1.0 - survival, weights)
        observed_events = 1.0 - survival_at(outcome.time, outcome.event, days, weights)
        empty = np.full(len(expected_events), np.nan)
        return np.asarray(np.divide(observed_events, expected_events, out=empty, where=expected_events > 0))

    for name, function in (
        ("brier", lambda weights: weighted_mean(terms, weights)),
        ("brier_skill", skill),
        ("observed_expected", ratio),
    ):
        yield BootstrappedValue(name, float(function(once)[0]), function(resamples))


def _integrated_brier(
    predictions: RiskPredictions, brier: Mapping[float, Array], counts: Array, confidence: float
) -> MetricRow:
    """Integrated Brier score: trapezoid over the horizons, divided by their range."""
    days = np.array(sorted(brier))
    terms = np.stack([brier[day] for day in sorted(brier)], axis=1)
    integral = np.trapezoid(terms, days, axis=1) / (days.max() - days.min())
    value = float(integral.mean())
    interval = percentile_interval(value, weighted_mean(integral, counts), confidence)
    note = f"trapezoid over {len(brier)} horizons, {days.min():g} to {days.max():g} days"
    return MetricRow("ibs", interval, len(integral), int(predictions.outcome.event.sum()), note)


def _dice(predictions: Predictions, dice: Array, counts: Array, confidence: float) -> MetricRow:
    """Mean Dice of the patients with a reference mask."""
    known = np.isfinite(dice)
    n, events = int(known.sum()), predictions.events(known)
    if not n:
        return MetricRow("dice", NO_VALUE, 0, events, "no patient has a reference mask")
    resamples = counts[:, known]
    samples = weighted_mean(dice[known], resamples[resamples.sum(axis=1) > 0])
    return MetricRow("dice", percentile_interval(float(dice[known].mean()), samples, confidence), n, events)


def median_distances(distances: Mapping[str, Array], counts: Array, confidence: float) -> Iterator[MetricRow]:
    """The median over patients of each distance in mm, with its bootstrap interval.

    Where one of two masks is empty the distance is infinite. A median takes that as the
    worst value, while a mean would be infinite (the ranking of HECKTOR 2021 does the same;
    Andrearczyk et al., LNCS 13209).

    Args:
        distances: Metric → (n,) distances, NaN without a reference mask.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        A row per metric, without the number of events.
    """
    for metric, all_values in distances.items():
        known = ~np.isnan(all_values)
        n = int(known.sum())
        if not n:
            yield MetricRow(metric, NO_VALUE, 0, note="no patient has a reference mask")
            continue
        values = all_values[known]
        empty = int(np.isinf(values).sum())
        order = np.argsort(values)
        running = counts[:, known][:, order].cumsum(axis=1)
        # The lower of two middle patients: a resample has no half patient.
        middle = (running >= np.ceil(running[:, -1:] / 2)).argmax(axis=1)
        samples = np.where(running[:, -1] > 0, values[order][middle], np.nan)
        note = "median" + (f"; one mask is empty in {empty} patients" if empty else "")
        interval = percentile_interval(float(np.median(values)), samples, confidence)
        yield MetricRow(metric, interval, n, note=note)
