"""All metrics of one model on one set of patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import Interval, percentile_interval
from pipeline.metrics.concordance import Pairs, harrell_pairs, uno_pairs
from pipeline.metrics.detection import detection_scores
from pipeline.metrics.labels import Label, label_scores, medians
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
        model: Its name.
        set: `development` or `external`.
        patients: (n,) ids.
        fold: (n,) the fold that held each patient out; None for external patients.
        event: (n,) 1 = the event occurred; None in a study without outcomes.
        dice: (n,) Dice, NaN where there is none; None for models without masks.
        remark: What holds for every number of this model, e.g. held-out Z-scores.
        distances: `hd95_mm`, `assd_mm` → (n,), NaN where there is none; of models with masks.
        labels: Class outcomes with predicted probabilities.
        boxes: Fold → `detections.parquet`; of detecting networks.
    """

    model: str
    set: str
    patients: tuple[str, ...]
    fold: Array | None
    event: Array | None = None
    dice: Array | None = None
    remark: str = ""
    distances: dict[str, Array] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    boxes: Mapping[int, pd.DataFrame] = field(default_factory=dict)

    def events(self, among: NDArray[np.bool_] | None = None) -> int | None:
        """How many had the event, of all or (n,) of some; None without outcomes."""
        if self.event is None:
            return None
        return int((self.event if among is None else self.event[among]).sum())


@dataclass(frozen=True, kw_only=True)
class RiskPredictions(Predictions):
    """Predictions of a model that ranks patients by risk.

    Attributes:
        data: Outcomes and censoring distribution.
        risk: (n,) higher = worse.
        survival: Horizon in days → (n,) probabilities, NaN where unknown.
    """

    data: SurvivalOutcome
    risk: Array
    survival: dict[float, Array]

    def headline(self) -> Pairs:
        """Pairs of the headline concordance: within folds in development, else all."""
        return harrell_pairs(self.data.time, self.data.event, self.risk, self.fold)


@dataclass(frozen=True)
class MetricRow:
    """A line of `metrics.csv`, less model and set."""

    metric: str
    interval: Interval
    patients: int
    events: int | None
    note: str = ""


def score(one: Predictions, counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Every metric that can be said of a model on a set.

    Args:
        one: Predictions and outcomes of n patients.
        counts: (B, n) bootstrap counts.
        confidence: Of the intervals.

    Yields:
        Of a model that ranks c_index (headline), c_index_pooled, c_index_uno, per-fold C-indices
        with mean and SD, auc_{days}d, brier_{days}d, brier_skill_{days}d,
        observed_expected_{days}d and ibs; dice, hd95_mm, assd_mm, {label}_accuracy, _auc and _f1,
        and average_precision_iou50 of boxes. A metric that cannot be computed is NaN with the
        reason.
    """
    if isinstance(one, RiskPredictions):
        yield from _of_risk(one, counts, confidence)
    if one.dice is not None:
        yield _dice(one, one.dice, counts, confidence)
    more = [medians(one.distances, counts, confidence)]
    more.extend(label_scores(label, counts, confidence, one.fold) for label in one.labels)
    if one.boxes:
        more.append(detection_scores(one.boxes, one.patients, one.fold, counts, confidence))
    for parts in more:
        for metric, interval, patients, note in parts:
            yield MetricRow(metric, interval, patients, one.events(), note)


def _of_risk(one: RiskPredictions, counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Concordance, AUC and what survival probabilities are worth."""
    n, events = len(one.risk), int(one.data.event.sum())

    def row(metric: str, pairs: Pairs, note: str) -> MetricRow:
        value = float(pairs.index()[0])
        interval = percentile_interval(value, pairs.index(counts), confidence)
        note = note if np.isfinite(value) else "no comparable pair"
        return MetricRow(metric, interval, n, events, note)

    yield row("c_index", one.headline(), WITHIN if one.fold is not None else "")
    if one.fold is not None:
        yield row("c_index_pooled", harrell_pairs(one.data.time, one.data.event, one.risk), POOLED)
        yield from _by_fold(one)
    yield _uno(one, row)
    for days in one.survival:
        reason = one.data.why_not(days)
        if reason:
            yield MetricRow(f"auc_{days:g}d", Interval(NAN, NAN, NAN), n, events, reason)
        else:
            note = WITHIN if one.fold is not None else ""
            yield row(f"auc_{days:g}d", auc_pairs(one.data, one.risk, days, one.fold), note)
    yield from _probabilities(one, counts, confidence)


def _uno(one: RiskPredictions, row: Callable[[str, Pairs, str], MetricRow]) -> MetricRow:
    """Uno's C up to the last horizon that follow-up reaches, over all pairs."""
    usable = [days for days in one.survival if not one.data.why_not(days)]
    n, events = len(one.risk), int(one.data.event.sum())
    if not usable:
        return MetricRow("c_index_uno", Interval(NAN, NAN, NAN), n, events, "follow-up reaches no horizon")
    tau = max(usable)
    pairs = uno_pairs(one.data.time, one.data.event, one.risk, one.data.censoring, tau)
    note = f"events before {tau:g} days" + (f"; {POOLED}" if one.fold is not None else "")
    return row("c_index_uno", pairs, note)


def _by_fold(one: RiskPredictions) -> Iterator[MetricRow]:
    """C-index of each fold, their mean and SD (n − 1), as papers print them."""
    assert one.fold is not None
    values = []
    for k in np.unique(one.fold):
        inside = one.fold == k
        pairs = harrell_pairs(one.data.time[inside], one.data.event[inside], one.risk[inside])
        value = float(pairs.index()[0])
        values.append(value)
        events = int(one.data.event[inside].sum())
        note = "" if np.isfinite(value) else "no comparable pair"
        yield MetricRow(f"c_index_fold{int(k)}", Interval(value, NAN, NAN), int(inside.sum()), events, note)
    known = np.array([v for v in values if np.isfinite(v)])
    note = f"over {len(known)} of {len(values)} folds"
    n, events = len(one.risk), int(one.data.event.sum())
    mean = float(known.mean()) if len(known) else NAN
    spread = float(known.std(ddof=1)) if len(known) > 1 else NAN
    yield MetricRow("c_index_fold_mean", Interval(mean, NAN, NAN), n, events, note)
    yield MetricRow("c_index_fold_sd", Interval(spread, NAN, NAN), n, events, note)


def _probabilities(one: RiskPredictions, counts: Array, confidence: float) -> Iterator[MetricRow]:
    """Brier scores, their skill against Kaplan–Meier, observed/expected, and the IBS."""
    integrated: list[tuple[float, Array]] = []
    complete = np.all([np.isfinite(s) for s in one.survival.values()], axis=0) if one.survival else None
    for days, survival in one.survival.items():
        known = np.isfinite(survival)
        n, events = int(known.sum()), int(one.data.event[known].sum())
        data = SurvivalOutcome.of(one.data.time[known], one.data.event[known]) if n else one.data
        reason = data.why_not(days) if n else "the baseline hazard's follow-up ends before"
        if reason:
            for name in ("brier", "brier_skill", "observed_expected"):
                yield MetricRow(f"{name}_{days:g}d", Interval(NAN, NAN, NAN), n, events, reason)
            continue
        note = "" if n == len(survival) else f"{len(survival) - n} patients without a probability left out"
        for name, value, samples in _at_horizon(data, survival[known], days, counts[:, known]):
            interval = percentile_interval(value, samples, confidence)
            yield MetricRow(f"{name}_{days:g}d", interval, n, events, note)
        if complete is not None and complete.all():
            integrated.append((days, brier_terms(data, survival, days)))
    if len(integrated) > 1:
        yield _ibs(one, integrated, counts, confidence)


def _at_horizon(
    data: SurvivalOutcome, survival: Array, days: float, counts: Array
) -> Iterator[tuple[str, float, Array]]:
    once = np.ones((1, len(survival)))
    drawn = counts[counts.sum(axis=1) > 0]
    observed = float(survival_at(data.time, data.event, days, once)[0])
    terms = brier_terms(data, survival, days)
    reference = brier_terms(data, np.full(len(survival), observed), days)

    def skill(weights: Array) -> Array:
        return np.asarray(1.0 - weighted_mean(terms, weights) / weighted_mean(reference, weights))

    def ratio(weights: Array) -> Array:
        expected = weighted_mean(1.0 - survival, weights)
        happened = 1.0 - survival_at(data.time, data.event, days, weights)
        empty = np.full(len(expected), np.nan)
        return np.asarray(np.divide(happened, expected, out=empty, where=expected > 0))

    for name, function in (
        ("brier", lambda weights: weighted_mean(terms, weights)),
        ("brier_skill", skill),
        ("observed_expected", ratio),
    ):
        yield name, float(function(once)[0]), function(drawn)


def _ibs(
    one: RiskPredictions, parts: list[tuple[float, Array]], counts: Array, confidence: float
) -> MetricRow:
    """Integrated Brier score: trapezoid over the horizons, divided by their range."""
    days = np.array([d for d, _ in parts])
    order = np.argsort(days)
    terms = np.stack([parts[i][1] for i in order], axis=1)
    integral = np.trapezoid(terms, days[order], axis=1) / (days.max() - days.min())
    value = float(integral.mean())
    interval = percentile_interval(value, weighted_mean(integral, counts), confidence)
    note = f"trapezoid over {len(parts)} horizons, {days.min():g} to {days.max():g} days"
    return MetricRow("ibs", interval, len(integral), int(one.data.event.sum()), note)


def _dice(one: Predictions, dice: Array, counts: Array, confidence: float) -> MetricRow:
    known = np.isfinite(dice)
    n, events = int(known.sum()), one.events(known)
    if not n:
        return MetricRow("dice", Interval(NAN, NAN, NAN), 0, events, "no patient has a reference mask")
    drawn = counts[:, known]
    samples = weighted_mean(dice[known], drawn[drawn.sum(axis=1) > 0])
    return MetricRow("dice", percentile_interval(float(dice[known].mean()), samples, confidence), n, events)
