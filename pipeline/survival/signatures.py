"""Radiomics signatures: the best single feature, HECKTOR's selection, bagged signed features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.concordance import comparable, concordance_index
from pipeline.settings.classical import HecktorCox, SignedBagging, UnivariateCox
from pipeline.survival.cox_models import fit_cox_model
from pipeline.survival.design import Design, pearson_filter
from pipeline.survival.estimator import Context, FittedModel, constant_model, linear_model
from pipeline.survival.patients import Patients
from pipeline.survival.selection import Tuned, offered_design, tune, univariate_concordance

Array = NDArray[np.float64]
CLINICAL_ONLY = "no feature varies among the training patients; the risk is of clinical columns alone"


@dataclass(frozen=True)
class RankedFeatures:
    """Features of a design by their univariate concordance.

    Attributes:
        order: (p,) positions by decreasing |C − 0.5|.
        c_index: (p,) concordance of each feature, in the order of the design.
    """

    order: NDArray[np.int64]
    c_index: Array


def rank_features(design: Design, train: Patients) -> RankedFeatures:
    """Rank a design's features among training patients; equal ones keep the order of the feature table."""
    matrix = design.scaler.transform(train)
    c_index = univariate_concordance(matrix, train)[0]
    distance = np.nan_to_num(np.abs(c_index - 0.5))
    return RankedFeatures(np.argsort(-np.round(distance, 12), kind="stable"), c_index)


def fit_univariate(settings: UnivariateCox, train: Patients, context: Context) -> FittedModel:
    """Cox on the feature with the largest |C − 0.5| in training (and clinical columns, if any)."""
    design = offered_design(settings, train)
    candidates = len(design.names)
    if not design.scaler.names:
        return _without_features(design, train, 0.01)
    ranked = rank_features(design, train)
    best = Design(design.encoder, design.scaler.select(ranked.order[:1]))
    fitted = fit_cox_model(best, train, 0.01, candidates)
    report = {
        **fitted.report,
        "candidates": candidates,
        "c_index_univariate": float(ranked.c_index[ranked.order[0]]),
    }
    return replace(fitted, report=report)


def _without_features(design: Design, train: Patients, ridge: float) -> FittedModel:
    """Cox on the clinical columns where there is no feature to choose among."""
    if not design.names:
        return constant_model(design)
    fitted = fit_cox_model(design, train, ridge)
    return replace(fitted, warnings=(*fitted.warnings, CLINICAL_ONLY))


def fit_hecktor(settings: HecktorCox, train: Patients, context: Context) -> FittedModel:
    """HECKTOR's standard radiomics: top features, correlation limit, Cox.

    The top features by |univariate C − 0.5| are taken; of two with |Pearson's r| above a limit the
    better one stays; a Cox model is fitted on them. The limit comes from inner cross-validation
    that repeats the whole selection. With `select_on: validation`, as in the paper, both
    choices are made on the validation patients, and the model has a caveat.

    Raises:
        ModelError: `select_on: validation` in a study whose validation patients have no comparable pair.
    """
    if settings.select_on == "validation":
        return _hecktor_as_printed(settings, train, context)
    fit_on = partial(_hecktor_on, settings)
    tuned = tune(settings.thresholds, fit_on, train, settings.inner_folds, context.seed)
    return _with_limit(settings, fit_on(train)(tuned.candidate), tuned)


def _hecktor_on(
    settings: HecktorCox, part: Patients, rank_on: Patients | None = None
) -> Callable[[float], FittedModel]:
    """Limit → model fitted on `part`; features are ranked on the patients `rank_on`, if given, else on `part`."""
    design = offered_design(settings, part)
    if not design.scaler.names:
        clinical_model = _without_features(design, part, settings.ridge)
        return lambda limit: clinical_model
    order = rank_features(design, rank_on or part).order[: settings.top]
    top = design.scaler.transform(part)[:, order]

    def fit(limit: float) -> FittedModel:
        chosen = order[pearson_filter(top, limit)]
        signature = Design(design.encoder, design.scaler.select(chosen))
        return fit_cox_model(signature, part, settings.ridge, len(design.names))

    return fit


def _hecktor_as_printed(settings: HecktorCox, train: Patients, context: Context) -> FittedModel:
    validation = context.validation
    if validation is None or not comparable(validation.time, validation.event.astype(float)).any():
        raise ModelError(
            "select_on: validation needs validation patients with a comparable pair",
            action="set plan.validation_fraction higher, or select_on: training",
        )
    fit = _hecktor_on(settings, train, validation)
    event = validation.event.astype(float)
    c_index = [
        concordance_index(validation.time, event, fit(limit).score(validation))
        for limit in settings.thresholds
    ]
    tuned = Tuned(settings.thresholds[int(np.argmax(c_index))], c_index)
    caveat = "marked: features were selected on the validation patients"
    return replace(_with_limit(settings, fit(tuned.candidate), tuned), caveats=(caveat,))


def _with_limit(settings: HecktorCox, fitted: FittedModel, tuned: Tuned[float]) -> FittedModel:
    report = {
        **fitted.report,
        "correlation_limit": tuned.candidate,
        "selection": {
            "on": settings.select_on,
            "limits": list(settings.thresholds),
            "c_index": tuned.c_index,
        },
    }
    return replace(fitted, report=report)


def fit_signed_bagging(settings: SignedBagging, train: Patients, context: Context) -> FittedModel:
    """The mean of standardised columns, each with the sign of its univariate concordance.

    Source: Rebaud et al., "Simplicity is all you need", HECKTOR 2022 (LNCS 13626). Each
    member samples patients with replacement and a share of the columns, gives the sign +1 to
    columns with C > 0.5 and −1 to others, divides them by their SD and averages them; members
    are averaged. The result is linear in the columns, and is reported as coefficients. The
    correlation filter runs once, on all training patients.
    """
    design = offered_design(settings, train)
    columns = len(design.names)
    if not columns:
        return constant_model(design)
    matrix = design.transform(train)
    counts = resample_counts(len(train), settings.members, context.seed)
    concordance = univariate_concordance(matrix, train, counts)
    sampled = _sample_columns(settings, columns, context.seed)
    distance = np.nan_to_num(concordance - 0.5)
    signs = np.sign(distance) * (sampled & (np.abs(distance) >= settings.min_distance))
    mean = counts @ matrix / len(train)
    variance = counts @ matrix**2 / len(train) - mean**2
    varies = variance > 1e-9
    signs = np.where(varies, signs, 0.0)
    used = np.maximum(1, np.count_nonzero(signs, axis=1))[:, None]
    weights = np.where(varies, signs / np.sqrt(np.where(varies, variance, 1.0)), 0.0) / used
    coefficients = weights.mean(axis=0)
    report = {
        "candidates": columns,
        "members": settings.members,
        "signs": {n: float(s) for n, s in zip(design.names, np.sign(signs).mean(axis=0), strict=True)},
    }
    return linear_model(design, coefficients, report=report)


def _sample_columns(settings: SignedBagging, columns: int, seed: int) -> NDArray[np.bool_]:
    """(members, columns) which columns each member uses, at least one."""
    number = max(1, round(settings.share * columns))
    order = np.argsort(np.random.default_rng(seed + 1).random((settings.members, columns)), axis=1)
    sampled = np.zeros((settings.members, columns), dtype=bool)
    np.put_along_axis(sampled, order[:, :number], True, axis=1)
    return sampled
