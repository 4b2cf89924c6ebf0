"""Steps that models have in common: the columns they are offered, univariate concordance, tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.concordance import TIE_TOLERANCE, comparable, concordance_index
from pipeline.settings.classical import ClassicalModel, FeatureSelecting
from pipeline.survival.cox import informative_clinical
from pipeline.survival.design import Design, Scaler, correlation_filter, matching
from pipeline.survival.estimator import FittedModel
from pipeline.survival.patients import DEEP_PREFIX, Patients
from pipeline.tables.clinical import ClinicalEncoder

Array = NDArray[np.float64]
T = TypeVar("T")
CHUNK = 20_000_000
"""Pairs times features that are in memory at once."""


@dataclass(frozen=True)
class Tuned(Generic[T]):
    """Result of tuning.

    Attributes:
        candidate: The best candidate.
        c_index: Cross-validated concordance of every candidate, NaN where no pair can be compared;
            empty where there is a single candidate.
    """

    candidate: T
    c_index: list[float]


def clinical_encoder(settings: ClassicalModel, train: Patients) -> ClinicalEncoder:
    """Encoder of those clinical columns of the model that pass `clinical_p`."""
    columns = informative_clinical(train, settings.clinical, settings.clinical_p)
    return ClinicalEncoder.fit(train.table, columns)


def offered_design(settings: FeatureSelecting, train: Patients) -> Design:
    """Clinical columns, and the features that match, vary and pass the correlation filter.

    Deep features of the network that a model names are offered whatever its patterns.
    """
    patterns = (*settings.features, *([f"{DEEP_PREFIX}*"] if settings.deep else []))
    scaler = Scaler.fit(train, matching(train.names, patterns))
    uncorrelated = correlation_filter(scaler.transform(train), settings.spearman)
    return Design(clinical_encoder(settings, train), scaler.select(np.sort(uncorrelated)))


def univariate_concordance(values: Array, train: Patients, counts: Array | None = None) -> Array:
    """(B, p) Harrell's C of each column taken as the risk, in each of B resamples.

    Args:
        values: (n, p) columns.
        train: Outcomes of the n patients.
        counts: (B, n) how often each patient counts; None: once.

    Returns:
        NaN where a resample has no comparable pair.
    """
    first, second = np.nonzero(comparable(train.time, train.event.astype(float)))
    # Small whole numbers and halves: single precision represents them exactly, in half the memory.
    resamples = np.ones((1, len(train)), np.float32) if counts is None else counts.astype(np.float32)
    weights = resamples[:, first] * resamples[:, second]
    total = weights.sum(axis=1, dtype=np.float64)
    concordance = np.full((len(resamples), values.shape[1]), np.nan)
    step = max(1, CHUNK // max(1, len(first)))
    for start in range(0, values.shape[1], step):
        block = values[:, start : start + step]
        difference = block[first] - block[second]
        concordant = (difference > TIE_TOLERANCE) + 0.5 * (np.abs(difference) <= TIE_TOLERANCE)
        weighted = (weights @ concordant.astype(np.float32)).astype(np.float64)
        known = total > 0
        concordance[known, start : start + step] = weighted[known] / total[known, None]
    return concordance


def tune(
    candidates: Sequence[T],
    fit: Callable[[Patients], Callable[[T], FittedModel]],
    train: Patients,
    folds: int,
    seed: int,
) -> Tuned[T]:
    """The candidate with the best cross-validated concordance, pairs within inner folds.

    Args:
        candidates: Candidates in order of preference: the first of equals is chosen.
        fit: Patients → (candidate → fitted model), so that what candidates share is computed once.
        train: Training patients of the outer fold.
        folds: Number of inner folds, stratified by event; reduced to the number of events
            (of groups with one, where the cohort table has groups: no fold cuts a group).
        seed: Seed of the inner folds.

    Raises:
        ModelError: Fewer than two events, or all of them in one group.
    """
    if len(candidates) == 1:
        return Tuned(candidates[0], [])
    folds = min(folds, train.independent_events)
    if folds < 2:
        raise ModelError(
            "too few events to tune a model",
            expected="at least 2 events, of different groups, among a fold's training patients",
            got=str(train.independent_events),
            action="use fewer folds, or a model without tuning",
        )
    assigned = train.inner_folds(folds, seed)
    risks = np.empty((len(candidates), len(train)))
    for k in range(folds):
        fitted = fit(train.pick(assigned != k))
        for i, candidate in enumerate(candidates):
            risks[i, assigned == k] = fitted(candidate).score(train.pick(assigned == k))
    event = train.event.astype(float)
    c_index = [concordance_index(train.time, event, risk, assigned.astype(float)) for risk in risks]
    best = int(np.argmax(np.nan_to_num(c_index, nan=-1.0)))
    return Tuned(candidates[best], c_index)
