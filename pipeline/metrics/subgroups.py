"""Every metric in each level of a column of the cohort table, such as a cancer's site or a centre."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.bootstrap import MetricRow
from pipeline.metrics.labels import Label
from pipeline.metrics.mask_classes import ClassOverlap
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.scores import score
from pipeline.tables.cohort_rows import levels_of

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Members = NDArray[np.bool_]


def level_names(values: Iterable[Any]) -> list[str]:
    """The levels of a column as text: whole numbers without a decimal point; empty where one is not known."""
    return levels_of(_as_text(value) for value in values)


def _as_text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def subgroup_rows(
    predictions: Predictions, outcomes: pd.DataFrame, columns: Sequence[str], counts: Array, confidence: float
) -> Iterator[tuple[str, str, MetricRow]]:
    """Scores of a model within each level of each column.

    The resamples are those of the whole set: a subgroup's size varies in them as it would in other samples of
    patients. Patients whose level is not known, or written as a word for that (`NA`, `unknown`, `-`), belong to no
    subgroup of that column.

    Args:
        predictions: Predictions of n patients.
        outcomes: Cohort table, indexed by patient_id, with the columns.
        columns: Names of columns.
        counts: (B, n) bootstrap counts.
        confidence: Confidence level of the intervals.

    Yields:
        Column, level, and a metric as :func:`pipeline.metrics.scores.score` gives it.

    Raises:
        ModelError: The cohort table lacks a column.
    """
    for column in columns:
        if column not in outcomes:
            raise ModelError(
                f"evaluation.subgroups names {column!r}, which the cohort table lacks",
                expected=", ".join(map(str, outcomes.columns)),
            )
        named = dict(zip(outcomes.index, level_names(outcomes[column]), strict=True))
        levels = np.array([named[patient] for patient in predictions.patients])
        for level in sorted(set(levels) - {""}):
            members = levels == level
            part = of_members(predictions, members)
            for row in score(part, counts[:, members], confidence):
                yield column, level, row


def of_members(predictions: Predictions, members: Members) -> Predictions:
    """The same predictions of some of the patients.

    Args:
        predictions: Predictions of n patients.
        members: (n,) whose predictions are kept.
    """
    shared: dict[str, Any] = {
        "patients": tuple(p for p, inside in zip(predictions.patients, members, strict=True) if inside),
        "fold": None if predictions.fold is None else predictions.fold[members],
        "event": None if predictions.event is None else predictions.event[members],
        "dice": None if predictions.dice is None else predictions.dice[members],
        "overlaps": tuple(_class_of_members(each, members) for each in predictions.overlaps),
        "pixels": {name: values[members] for name, values in predictions.pixels.items()},
        "lesions": {name: values[members] for name, values in predictions.lesions.items()},
        "distances": {name: values[members] for name, values in predictions.distances.items()},
        "labels": tuple(Label(x.name, x.truth[members], x.probability[members]) for x in predictions.labels),
    }
    if not isinstance(predictions, RiskPredictions):
        return replace(predictions, **shared)
    return replace(
        predictions,
        **shared,
        # Censoring may differ between subgroups, so each has its own distribution.
        outcome=predictions.outcome.of_members(members),
        risk=predictions.risk[members],
        survival={days: values[members] for days, values in predictions.survival.items()},
        further_survival={days: values[members] for days, values in predictions.further_survival.items()},
    )


def _class_of_members(overlap: ClassOverlap, members: Members) -> ClassOverlap:
    dice = None if overlap.dice is None else overlap.dice[members]
    return ClassOverlap(overlap.name, overlap.overlap[members], overlap.size[members], dice)
