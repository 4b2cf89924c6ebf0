"""Lasso and elastic-net Cox: correlation filter, then the penalty by inner cross-validation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.classical import LassoCox
from pipeline.survival.cox import breslow_log_likelihood, events_warning, fit_cox, to_surv
from pipeline.survival.estimator import Context, FittedModel, constant_model, linear_model
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design

Array = NDArray[np.float64]
PENALTIES = 40
SMALLEST = 0.05
"""The path ends at this share of the smallest penalty that shrinks all coefficients to 0."""
PERFECT = 0.99
"""Share of the explained deviance beyond which smaller penalties change nothing of importance."""


@dataclass(frozen=True)
class PenaltyPath:
    """Coefficients along descending penalties.

    Attributes:
        penalties: (A,) descending.
        coefficients: (p, A).
    """

    penalties: Array
    coefficients: Array


def lasso_path(
    matrix: Array, train: Patients, settings: LassoCox, unpenalised: int, penalties: Array | None
) -> PenaltyPath:
    """Elastic-net Cox coefficients along a path (scikit-survival's coordinate descent).

    Args:
        matrix: (n, p) standardised design matrix of the training patients.
        train: The training patients, for their outcomes.
        settings: Settings of the model, for l1_ratio.
        unpenalised: Number of leading columns that are not shrunk.
        penalties: Penalties of each column's |β|, beside the mean log partial likelihood; descending.
            None: a path that begins at the smallest penalty that shrinks all coefficients to 0.

    Raises:
        ModelError: The descent diverges.
    """
    if unpenalised >= matrix.shape[1]:
        unshrunk = fit_cox(matrix, train.time, train.event, ridge=0.01).coefficients
        constant = np.zeros(1) if penalties is None else penalties
        return PenaltyPath(constant, np.repeat(unshrunk[:, None], len(constant), axis=1))
    factor = np.ones(matrix.shape[1])
    factor[:unpenalised] = 0.0
    # scikit-survival scales the factors to a mean of 1: its penalty depends on the number of columns
    # that are not shrunk, and inner folds have other columns.
    mean = float(factor.mean())
    grid = None if penalties is None else penalties * mean
    model = _fit_coxnet(matrix, factor, train, settings, grid)
    coefficients = np.asarray(model.coef_, dtype=float)
    if grid is None:
        grid = float(model.alphas_[0]) * SMALLEST ** (np.arange(PENALTIES) / (PENALTIES - 1))
    # The descent stops where six penalties in a row change nothing. That happens where the fit is
    # nearly perfect, but also while only unpenalised columns are used: then it is continued.
    while (done := coefficients.shape[1]) < len(grid):
        if model.deviance_ratio_[-1] > PERFECT:
            coefficients = np.pad(coefficients, ((0, 0), (0, len(grid) - done)), mode="edge")
            break
        model = _fit_coxnet(matrix, factor, train, settings, grid[done:])
        coefficients = np.concatenate([coefficients, np.asarray(model.coef_, dtype=float)], axis=1)
    return PenaltyPath(grid / mean, coefficients)


def _fit_coxnet(
    matrix: Array, factor: Array, train: Patients, settings: LassoCox, penalties: Array | None
) -> Any:
    """scikit-survival's coordinate descent; `factor` are the penalty factors of the columns."""
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    model = CoxnetSurvivalAnalysis(
        n_alphas=PENALTIES,
        alphas=penalties,
        alpha_min_ratio=SMALLEST,
        l1_ratio=settings.l1_ratio,
        penalty_factor=factor,
        max_iter=20000,
    )
    try:
        with warnings.catch_warnings():
            # All coefficients shrunk to 0 are a result here, with a warning of its own.
            warnings.simplefilter("ignore")
            model.fit(matrix, to_surv(train.time, train.event))
    # scikit-survival asserts that coefficients are finite.
    except (ArithmeticError, ValueError, AssertionError) as error:
        raise ModelError(
            "a penalised Cox model cannot be fitted",
            got=f"{matrix.shape[1]} columns, {int(train.event.sum())} events of {len(train)} ({error})",
            action="let clinical columns be shrunk as well (penalise_clinical: true), or offer fewer columns",
        ) from None
    return model


def cross_validate(settings: LassoCox, train: Patients, context: Context, penalties: Array) -> Array:
    """(folds, A) cross-validated log partial likelihood of each penalty.

    For each inner fold it is l(all; β₋ₖ) − l(others; β₋ₖ), so that folds with few events have a
    value, too (Verweij and van Houwelingen, Stat Med 1993; 12: 2305). Scaling, filter and
    coefficients of each inner fold come from its own training patients. No inner fold cuts a group.

    Raises:
        ModelError: Fewer than two events, or all of them in one group.
    """
    folds = min(settings.inner_folds, train.independent_events)
    if folds < 2:
        raise ModelError(
            "too few events to choose a penalty",
            expected="at least 2 events, of different groups, among a fold's training patients",
            got=str(train.independent_events),
            action="use fewer folds, or a model without selection",
        )
    assigned = train.inner_folds(folds, context.seed)
    values = np.empty((folds, len(penalties)))
    for k in range(folds):
        others = train.pick(assigned != k)
        design = offered_design(settings, others)
        if not design.names:
            values[k] = 0.0
            continue
        unpenalised = 0 if settings.penalise_clinical else design.clinical
        path = lasso_path(design.transform(others), others, settings, unpenalised, penalties)
        log_hazard = design.transform(train) @ path.coefficients
        of_others = log_hazard[assigned != k]
        values[k] = breslow_log_likelihood(log_hazard, train.time, train.event) - breslow_log_likelihood(
            of_others, others.time, others.event
        )
    return values


def choose_penalty(values: Array, rule: str) -> int:
    """Position of the best penalty, or of the largest within one standard error of it.

    Args:
        values: (folds, A) cross-validated log partial likelihoods, penalties descending.
        rule: `min` or `1se`.
    """
    mean = values.mean(axis=0)
    best = int(np.argmax(mean))
    if rule == "min":
        return best
    error = values[:, best].std(ddof=1) / np.sqrt(len(values))
    return int(np.flatnonzero(mean >= mean[best] - error)[0])


def fit_lasso(settings: LassoCox, train: Patients, context: Context) -> FittedModel:
    """Filter, choose the penalty, fit; a model with all coefficients 0 has risk 0, with a warning."""
    design = offered_design(settings, train)
    candidates = len(design.names)
    if not candidates:
        return constant_model(design, "no feature varies among the training patients")
    unpenalised = 0 if settings.penalise_clinical else design.clinical
    path = lasso_path(design.transform(train), train, settings, unpenalised, None)
    values = cross_validate(settings, train, context, path.penalties)
    at = choose_penalty(values, settings.penalty_rule)
    coefficients = path.coefficients[:, at]
    warnings = events_warning(int(train.event.sum()), candidates)
    if not coefficients.any():
        warnings.append("the penalty shrinks everything to 0; the risk is the same for all patients")
    elif unpenalised == candidates:
        warnings.append("no feature varies among the training patients; clinical columns alone, not shrunk")
    elif at == len(path.penalties) - 1:
        warnings.append("the smallest penalty of the path was chosen; a smaller one might fit better")
    report = {
        "candidates": candidates,
        "offered": len(train.names) + len(settings.clinical),
        "penalty": float(path.penalties[at]),
        "l1_ratio": settings.l1_ratio,
        "cross_validation": {
            "penalties": [float(p) for p in path.penalties],
            "log_likelihood": [float(v) for v in values.sum(axis=0)],
        },
    }
    return linear_model(design, coefficients, report=report, warnings=tuple(warnings))
