"""Comparisons of models: differences in C-index, and added value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.added_value import added_value
from pipeline.metrics.bootstrap import NO_VALUE, Interval, holm, percentile_interval, two_sided_p
from pipeline.metrics.predictions import RiskPredictions
from pipeline.settings.evaluation import EvaluationSettings

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A difference between two models and the p-value of there being none, or why there is none."""

    difference: Interval
    p_value: float
    note: str = ""


def compare(
    members: Mapping[str, int],
    models: Sequence[RiskPredictions],
    counts: Array,
    settings: EvaluationSettings,
) -> list[dict[str, object]]:
    """Differences in C-index on the same resamples, and added value where it is asked for.

    Args:
        members: Model → number of models that are averaged in it.
        models: Predictions of the models that give risks, for one set of patients.
        counts: (B, n) bootstrap counts.
        settings: Which model the others are compared with, and over which value is added.

    Returns:
        Rows of `comparisons.csv`.

    Raises:
        ModelError: A model that the settings name is not among `models`.
    """
    names = [predictions.model for predictions in models]
    too_few = models[0].outcome.few_events_reason()
    references = [_position_of_reference(names, members, settings.compare_with)]
    if settings.reference_model:
        references.append(_position(names, settings.reference_model, "reference_model"))
    unknown = Comparison(NO_VALUE, float("nan"), too_few)
    rows: list[dict[str, object]] = []
    for reference in dict.fromkeys(references):
        if too_few:
            rows.extend(_comparison_rows(models, reference, "c_index", [unknown] * len(models)))
        else:
            rows.extend(_concordance_differences(models, reference, counts, settings.confidence))
    if settings.reference_model and not too_few:
        rows.extend(_added_values(models, references[-1], settings.confidence))
    return rows


def _concordance_differences(
    models: Sequence[RiskPredictions], reference: int, counts: Array, confidence: float
) -> list[dict[str, object]]:
    """Headline C-index of each model minus that of the reference."""
    pairs = models[reference].headline_pairs()
    reference_samples, reference_value = pairs.index(counts), float(pairs.index()[0])
    comparisons = []
    for predictions in models:
        pairs = predictions.headline_pairs()
        samples = pairs.index(counts) - reference_samples
        difference = percentile_interval(float(pairs.index()[0]) - reference_value, samples, confidence)
        comparisons.append(Comparison(difference, two_sided_p(samples)))
    return _comparison_rows(models, reference, "c_index", comparisons)


def _added_values(
    models: Sequence[RiskPredictions], reference: int, confidence: float
) -> list[dict[str, object]]:
    """Log hazard ratio per SD of each model's risk, given the risk of the reference.

    Wald's interval and the test take patients for independent: rows of one group have neither.
    """
    outcome, base = models[reference].outcome, models[reference].risk
    comparisons = []
    for predictions in models:
        added = added_value(outcome.time, outcome.event, base, predictions.risk, confidence, predictions.fold)
        if reason := outcome.dependent_rows_reason():
            ratio = Interval(added.log_hazard_ratio.value, float("nan"), float("nan"))
            comparisons.append(Comparison(ratio, float("nan"), reason))
        else:
            comparisons.append(Comparison(added.log_hazard_ratio, added.p_value))
    return _comparison_rows(models, reference, "added_log_hazard_ratio", comparisons)


def _comparison_rows(
    models: Sequence[RiskPredictions], reference: int, metric: str, comparisons: Sequence[Comparison]
) -> list[dict[str, object]]:
    """Rows of `comparisons.csv`, with Holm's correction over the models of this comparison."""
    others = [i for i in range(len(models)) if i != reference]
    adjusted = holm(np.array([comparisons[i].p_value for i in others]))
    return [
        {
            "model_a": models[i].model,
            "model_b": models[reference].model,
            "family": f"all against {models[reference].model}",
            "set": models[i].set,
            "metric": metric,
            "difference": comparisons[i].difference.value,
            "ci_low": comparisons[i].difference.low,
            "ci_high": comparisons[i].difference.high,
            "p_value": comparisons[i].p_value,
            "p_holm": float(p_holm),
            "patients": len(models[i].risk),
            "events": int(models[i].outcome.event.sum()),
            "note": comparisons[i].note,
        }
        for i, p_holm in zip(others, adjusted, strict=True)
    ]


def _position_of_reference(names: Sequence[str], members: Mapping[str, int], name: str) -> int:
    """Position of the model that the others are compared with.

    It is the one that is named, else the first that averages several models, else the first.

    Args:
        names: Names of the models that give risks.
        members: Model → number of models that are averaged in it.
        name: The name in the settings; empty where none is set.
    """
    if name:
        return _position(names, name, "compare_with")
    combined = [i for i, model in enumerate(names) if members[model] > 1]
    return combined[0] if combined else 0


def _position(names: Sequence[str], name: str, key: str) -> int:
    if name not in names:
        raise ModelError(
            f"evaluation.{key} names {name!r}, which was not evaluated", expected=", ".join(names)
        )
    return names.index(name)
