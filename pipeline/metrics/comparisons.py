"""Models beside one another: differences in C-index, and added value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.added_value import added_value
from pipeline.metrics.bootstrap import Interval, holm, percentile_interval, two_sided_p
from pipeline.metrics.scores import RiskPredictions
from pipeline.settings.evaluation import EvaluationSettings

Array = NDArray[np.float64]


def compare(
    members: Mapping[str, int], scored: Sequence[RiskPredictions], counts: Array, settings: EvaluationSettings
) -> list[dict[str, object]]:
    """Differences in C-index on the same resamples, and added value where it is asked for.

    Args:
        members: Model → how many are averaged in it.
        scored: Models that rank, with predictions of one set.
        counts: (B, n) bootstrap counts.
        settings: Which model the others are compared with, and over which value is added.

    Returns:
        Rows of `comparisons.csv`.

    Raises:
        ModelError: A model that the settings name is not among `scored`.
    """
    names = [one.model for one in scored]
    bases = [_reference(names, members, settings.compare_with)]
    over = settings.reference_model
    if over:
        bases.append(_position(names, over, "reference_model"))
    rows: list[dict[str, object]] = []
    for base in dict.fromkeys(bases):
        rows.extend(_differences(scored, base, counts, settings.confidence))
    if over:
        rows.extend(_added(scored, bases[-1], settings.confidence))
    return rows


def _differences(
    scored: Sequence[RiskPredictions], base: int, counts: Array, confidence: float
) -> list[dict[str, object]]:
    """Every other model's headline C-index minus one model's."""
    pairs = scored[base].headline()
    drawn, value = pairs.index(counts), float(pairs.index()[0])
    found = []
    for one in scored:
        pairs = one.headline()
        samples = pairs.index(counts) - drawn
        interval = percentile_interval(float(pairs.index()[0]) - value, samples, confidence)
        found.append((interval, two_sided_p(samples)))
    return _comparison_rows(scored, base, "c_index", found)


def _added(scored: Sequence[RiskPredictions], base: int, confidence: float) -> list[dict[str, object]]:
    """Every other model's log hazard ratio per SD of risk, given one model's risk."""
    data, given = scored[base].data, scored[base].risk
    found = []
    for one in scored:
        result = added_value((data.time, data.event), given, one.risk, confidence, one.fold)
        found.append((result.log_hazard_ratio, result.p_value))
    return _comparison_rows(scored, base, "added_log_hazard_ratio", found)


def _comparison_rows(
    scored: Sequence[RiskPredictions], base: int, metric: str, found: Sequence[tuple[Interval, float]]
) -> list[dict[str, object]]:
    """Rows of `comparisons.csv`, with Holm's correction over the models of this comparison."""
    others = [i for i in range(len(scored)) if i != base]
    adjusted = holm(np.array([found[i][1] for i in others]))
    return [
        {
            "model_a": scored[i].model,
            "model_b": scored[base].model,
            "set": scored[i].set,
            "metric": metric,
            "difference": found[i][0].value,
            "ci_low": found[i][0].low,
            "ci_high": found[i][0].high,
            "p_value": found[i][1],
            "p_holm": float(p),
            "patients": len(scored[i].risk),
            "events": int(scored[i].data.event.sum()),
        }
        for i, p in zip(others, adjusted, strict=True)
    ]


def _reference(names: Sequence[str], members: Mapping[str, int], name: str) -> int:
    """The model others are compared with: named, or the first of several members, or the first.

    Args:
        names: Of the models that rank.
        members: Model → how many are averaged in it.
        name: As set; empty: not.
    """
    if name:
        return _position(names, name, "compare_with")
    combined = [i for i, each in enumerate(names) if members[each] > 1]
    return combined[0] if combined else 0


def _position(names: Sequence[str], name: str, key: str) -> int:
    if name not in names:
        raise ModelError(
            f"evaluation.{key} names {name!r}, which was not evaluated", expected=", ".join(names)
        )
    return names.index(name)
