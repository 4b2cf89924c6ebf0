"""Listed pairs of models compared in every metric that both have, on the same resamples of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.metrics.bootstrap import NO_VALUE, MetricRow, holm, percentile_interval, two_sided_p
from pipeline.metrics.comparisons import Comparison

FAMILY = "listed pairs"
"""Name of the family of tests that Holm's correction of these comparisons is over, within a metric and set."""
OTHER_PATIENTS = "not compared: the two values are of different patients"
NO_COMMON_METRIC = "not compared: the two models have no metric in common"
Scores = Mapping[str, Sequence[MetricRow]]


def compare_pairs(
    scores: Scores, which: str, pairs: Sequence[tuple[str, str]], confidence: float
) -> list[dict[str, object]]:
    """Differences of each pair in each common metric, with p-values adjusted over the pairs (Holm).

    The p-value inverts the paired bootstrap's percentile interval (Davison and Hinkley 1997, sec. 4.2); models
    are not refitted. A metric of which a model has no resamples (single folds) is not compared.

    Args:
        scores: Model → its metrics on the set, each with its values on the same resamples.
        which: Name of the set.
        pairs: Models a and b.
        confidence: Confidence level of the intervals.

    Returns:
        Rows of `comparisons.csv`: difference = a − b in the metric, whichever direction is better; `note`
        says why there is none.
    """
    metrics = dict.fromkeys(
        row.metric for rows in scores.values() for row in rows if len(row.interval.samples) or _unknown(row)
    )
    compared = []
    for metric in metrics:
        of_metric = [
            _difference(scores, pair, metric, confidence) | {"set": which}
            for pair in pairs
            if all(_row(scores, name, metric) for name in pair)
        ]
        adjusted = holm(np.array([row["p_value"] for row in of_metric], dtype=float))
        compared += [{**row, "p_holm": float(p)} for row, p in zip(of_metric, adjusted, strict=True)]
    return compared


def uncompared_pairs(
    rows: Sequence[Mapping[str, object]], pairs: Sequence[tuple[str, str]], part_of: Mapping[str, str]
) -> list[dict[str, object]]:
    """A row for each listed pair that no row speaks of, with the reason, so that none vanishes unseen.

    Args:
        rows: Rows of `comparisons.csv` of all sets.
        pairs: Models a and b.
        part_of: Model → the part of the cohort that it is judged on; empty or absent: the whole.
    """
    compared = {(row["model_a"], row["model_b"]) for row in rows if row["family"] == FAMILY}
    missing = []
    for a, b in pairs:
        if (a, b) in compared:
            continue
        parts = [part_of.get(name, "") for name in (a, b)]
        reason = NO_COMMON_METRIC
        if parts[0] != parts[1]:
            shown = [
                f"{name} on {part or 'the whole cohort'}" for name, part in zip((a, b), parts, strict=True)
            ]
            reason = f"not compared: they are judged on different patients ({', '.join(shown)})"
        unknown = dict.fromkeys(("difference", "ci_low", "ci_high", "p_value", "p_holm"), float("nan"))
        missing.append({"model_a": a, "model_b": b, "family": FAMILY, **unknown, "note": reason})
    return missing


def _unknown(row: MetricRow) -> bool:
    return not np.isfinite(row.interval.value)


def _row(scores: Scores, model: str, metric: str) -> MetricRow | None:
    return next((row for row in scores.get(model, ()) if row.metric == metric), None)


def _difference(scores: Scores, pair: tuple[str, str], metric: str, confidence: float) -> dict[str, object]:
    first, second = (_row(scores, name, metric) for name in pair)
    assert first is not None and second is not None  # asked for before
    compared = paired_difference(first, second, confidence)
    same = first.same_patients(second)
    return {
        "model_a": pair[0],
        "model_b": pair[1],
        "family": FAMILY,
        "metric": metric,
        "difference": compared.difference.value,
        "ci_low": compared.difference.low,
        "ci_high": compared.difference.high,
        "p_value": compared.p_value,
        "patients": first.patients if same else "",
        "events": "" if first.events is None or not same else first.events,
        "note": compared.note,
    }


def paired_difference(first: MetricRow, second: MetricRow, confidence: float) -> Comparison:
    """Difference of a metric of two models with interval and p-value.

    Both unknown where a model has no value, or where the two are not of the same patients: a difference
    would then compare patients and not models.
    """
    a, b = first.interval, second.interval
    for row in (first, second):
        if _unknown(row):
            return Comparison(NO_VALUE, float("nan"), row.note)
    if not first.same_patients(second) or a.samples.shape != b.samples.shape:
        return Comparison(NO_VALUE, float("nan"), OTHER_PATIENTS)
    samples = a.samples - b.samples
    return Comparison(percentile_interval(a.value - b.value, samples, confidence), two_sided_p(samples))
