"""Metrics of classical models that were refitted: repeated cross-validation, optimism, importance of columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow
from pipeline.metrics.labels import mean_auc
from pipeline.metrics.predictions import Predictions, RiskPredictions

NAN = float("nan")
NOT_REFITTED = (
    "not refitted: networks and averages of several models are judged in the study's own folds only, since each refit "
    "would cost as much as their trainings"
)


@dataclass(frozen=True)
class FirstValue:
    """The measure that refits repeat, of the study's own folds.

    Attributes:
        value: C-index within folds, or AUC.
        patients: Number of patients that it is of.
        few: Why nothing is estimated of them; empty where it is.
    """

    value: float
    patients: int
    few: str = ""

    @classmethod
    def of(cls, predictions: Predictions, metric: str) -> FirstValue | None:
        """The C-index or the AUC of a class outcome; None where the predictions have no such metric."""
        if metric == "c_index":
            if not isinstance(predictions, RiskPredictions):
                return None
            value = float(predictions.headline_pairs().index()[0])
            return cls(value, len(predictions.risk), predictions.outcome.few_events_reason())
        label = next((each for each in predictions.labels if f"{each.name}_auc" == metric), None)
        if label is None or not label.known().any():
            return None
        known = label.known()
        fold = None if predictions.fold is None else predictions.fold[known]
        once = np.ones((1, int(known.sum())))
        return cls(
            float(mean_auc(label.truth[known], label.probability[known], fold, once)[0]), int(known.sum())
        )


def refitted_rows(predictions: Predictions, validation: Mapping[str, Any]) -> list[MetricRow]:
    """Lines of `metrics.csv` from a classical model's `validation.json`, of the development patients.

    Args:
        predictions: The model's held-out predictions, whose C-index (AUC) is that of the first cross-validation.
        validation: Content of `validation.json`.

    Returns:
        `{metric}_repeats_mean` and `{metric}_repeats_sd` (n − 1) over the cross-validations, where the metric is
        `c_index` or `{label}_auc`; `{metric}_apparent` of the model of all development patients, `{metric}_optimism`
        by Harrell's bootstrap, and their difference `{metric}_optimism_corrected`. None of them where the study
        did not ask.
    """
    metric = str(validation["metric"])
    first = FirstValue.of(predictions, metric)
    if first is None:
        return []
    events = predictions.events()

    def row(name: str, value: float, note: str) -> MetricRow:
        interval = NO_VALUE if first.few else Interval(value, NAN, NAN)
        return MetricRow(f"{metric}_{name}", interval, first.patients, events, first.few or note)

    rows = []
    if validation["reason"]:
        return [row("repeats_mean", NAN, f"not refitted: {validation['reason']}")]
    if validation["repeats"]:
        values = np.array([first.value, *validation["repeats"]], dtype=float)
        note = (
            f"over {len(values)} cross-validations in other folds: {values.min():.3f} to {values.max():.3f}"
        )
        rows.append(row("repeats_mean", float(values.mean()), note))
        rows.append(row("repeats_sd", float(values.std(ddof=1)), note))
    if optimism := validation["optimism"]:
        note = (
            f"model of all development patients; {optimism['resamples']} of {optimism['asked']} resamples, "
            "each refitted (Harrell)"
        )
        rows.append(row("apparent", optimism["apparent"], note))
        rows.append(row("optimism", optimism["optimism"], note))
        rows.append(row("optimism_corrected", optimism["apparent"] - optimism["optimism"], note))
    return rows


def not_refitted_rows(predictions: Predictions, *, repeats: bool, optimism: bool) -> list[MetricRow]:
    """Empty lines with the reason, of a model that is not classical, for what the study asks of classical models.

    Args:
        predictions: The model's held-out predictions of development patients.
        repeats: Whether the study asks for repeated cross-validation.
        optimism: Whether it asks for the correction for optimism.
    """
    if not isinstance(predictions, RiskPredictions):
        return []
    names = ["c_index_repeats_mean"] * repeats + ["c_index_optimism_corrected"] * optimism
    patients, events = len(predictions.risk), predictions.events()
    return [MetricRow(name, NO_VALUE, patients, events, NOT_REFITTED) for name in names]


def importance_rows(model: str, validation: Mapping[str, Any]) -> list[dict[str, object]]:
    """Rows of `importance.csv`: the fall of the C-index (AUC) within folds where a column is dealt anew."""
    permutations = validation["permutations"]
    return [{"model": model, **each, "permutations": permutations} for each in validation["importance"]]
