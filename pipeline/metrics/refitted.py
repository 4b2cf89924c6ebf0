"""Metrics of classical models that were refitted: repeated cross-validation, optimism, importance of columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.metrics.bootstrap import NO_VALUE, Interval, MetricRow
from pipeline.metrics.predictions import RiskPredictions

NAN = float("nan")
REPEATS = ("c_index_repeats_mean", "c_index_repeats_sd")
OPTIMISM = ("c_index_apparent", "c_index_optimism", "c_index_optimism_corrected")


def refitted_rows(predictions: RiskPredictions, validation: Mapping[str, Any]) -> list[MetricRow]:
    """Lines of `metrics.csv` from a classical model's `validation.json`, of the development patients.

    Args:
        predictions: The model's held-out predictions, whose C-index is that of the first cross-validation.
        validation: Content of `validation.json`.

    Returns:
        `c_index_repeats_mean` and `c_index_repeats_sd` (n − 1) over the cross-validations; `c_index_apparent`
        of the model of all development patients, `c_index_optimism` by Harrell's bootstrap, and their
        difference `c_index_optimism_corrected`. None of them where the study did not ask.
    """
    outcome = predictions.outcome
    patients, events = len(predictions.risk), int(outcome.event.sum())
    few = outcome.few_events_reason()

    def row(metric: str, value: float, note: str) -> MetricRow:
        interval = NO_VALUE if few else Interval(value, NAN, NAN)
        return MetricRow(metric, interval, patients, events, few or note)

    rows = []
    if validation["reason"]:
        return [row("c_index_repeats_mean", NAN, f"not refitted: {validation['reason']}")]
    if validation["repeats"]:
        first = float(predictions.headline_pairs().index()[0])
        values = np.array([first, *validation["repeats"]], dtype=float)
        note = (
            f"over {len(values)} cross-validations in other folds: {values.min():.3f} to {values.max():.3f}"
        )
        spread = (float(values.mean()), float(values.std(ddof=1)))
        rows += [row(metric, value, note) for metric, value in zip(REPEATS, spread, strict=True)]
    if optimism := validation["optimism"]:
        note = (
            f"model of all development patients; {optimism['resamples']} of {optimism['asked']} resamples, "
            "each refitted (Harrell)"
        )
        corrected = optimism["apparent"] - optimism["optimism"]
        values_of = (optimism["apparent"], optimism["optimism"], corrected)
        rows += [row(metric, value, note) for metric, value in zip(OPTIMISM, values_of, strict=True)]
    return rows


def importance_rows(model: str, validation: Mapping[str, Any]) -> list[dict[str, object]]:
    """Rows of `importance.csv`: the fall of the C-index within folds where a column is dealt anew."""
    permutations = validation["permutations"]
    return [{"model": model, **each, "permutations": permutations} for each in validation["importance"]]
