"""Radiomics recipes: the best single feature, HECKTOR's selection, bagged signed features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.concordance import comparable, concordance_index
from pipeline.settings.classical import HecktorCox, SignedBagging, UnivariateCox
from pipeline.survival.cox_models import cox_on
from pipeline.survival.design import Design, pearson_filter
from pipeline.survival.estimator import Context, FittedModel, linear
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design, tune, univariate_concordance

Array = NDArray[np.float64]
NOTHING = "no column varies among the training patients; the risk is 0"
CLINICAL_ONLY = "no feature varies among the training patients; the risk is of clinical columns alone"


def ranked_features(design: Design, train: Patients) -> tuple[NDArray[np.int64], Array]:
    """Positions of the design's features by falling |C − 0.5|, and their C, in training.

    Equals keep the order of the feature table.
    """
    matrix = design.scaler.transform(train)
    concordance = univariate_concordance(matrix, train)[0]
    distance = np.nan_to_num(np.abs(concordance - 0.5))
    return np.argsort(-np.round(distance, 12), kind="stable"), concordance


def fit_univariate(settings: UnivariateCox, train: Patients, context: Context) -> FittedModel:
    """Cox on the feature with the largest |C − 0.5| in training (and clinical columns, if any)."""
    design = offered_design(settings, train)
    candidates = len(design.names)
    if not design.scaler.names:
        return _without_features(design, train, 0.01)
    order, concordance = ranked_features(design, train)
    best = Design(design.encoder, design.scaler.keep(order[:1]))
    fitted = cox_on(best, train, 0.01, candidates)
    report = {**fitted.report, "candidates": candidates, "c_index_univariate": float(concordance[order[0]])}
    return replace(fitted, report=report)


def _without_features(design: Design, train: Patients, ridge: float) -> FittedModel:
    """Cox on the clinical columns where there is no feature to choose among."""
    if not design.names:
        return linear(design, np.zeros(0), warnings=(NOTHING,))
    fitted = cox_on(design, train, ridge)
    return replace(fitted, warnings=(*fitted.warnings, CLINICAL_ONLY))


def fit_hecktor(settings: HecktorCox, train: Patients, context: Context) -> FittedModel:
    """HECKTOR's standard radiomics: top features, correlation limit, Cox.

    Top features by |univariate C − 0.5|; of two with |Pearson's r| above a limit the
    better one stays; Cox on training patients. The limit comes from inner cross-validation
    that repeats the whole selection. With `select_on: validation`, as in the paper, both
    choices are made on the validation patients, and the model is marked.

    Raises:
        ModelError: `select_on: validation` in a study whose validation patients have no comparable pair.
    """
    if settings.select_on == "validation":
        return _hecktor_as_printed(settings, train, context)
    prepare = partial(_hecktor_on, settings)
    limit, values = tune(settings.thresholds, prepare, train, settings.inner_folds, context.seed)
    return _with_limit(settings, prepare(train)(limit), limit, values)


def _hecktor_on(
    settings: HecktorCox, part: Patients, judges: Patients | None = None
) -> Callable[[float], FittedModel]:
    """Limit → model fitted on `part`; features ranked on `judges`, if given, else on `part`."""
    design = offered_design(settings, part)
    if not design.scaler.names:
        alone = _without_features(design, part, settings.ridge)
        return lambda limit: alone
    order = ranked_features(design, judges or part)[0][: settings.top]
    ranked = design.scaler.transform(part)[:, order]

    def fit(limit: float) -> FittedModel:
        chosen = order[pearson_filter(ranked, limit)]
        small = Design(design.encoder, design.scaler.keep(chosen))
        return cox_on(small, part, settings.ridge, len(design.names))

    return fit


def _hecktor_as_printed(settings: HecktorCox, train: Patients, context: Context) -> FittedModel:
    judges = context.validation
    if judges is None or not comparable(judges.time, judges.event.astype(float)).any():
        raise ModelError(
            "select_on: validation needs validation patients with a comparable pair",
            action="set plan.validation_fraction higher, or select_on: training",
        )
    fit = _hecktor_on(settings, train, judges)
    values = [
        concordance_index(judges.time, judges.event.astype(float), fit(limit).score(judges))
        for limit in settings.thresholds
    ]
    limit = settings.thresholds[int(np.argmax(values))]
    caveat = "marked: features were selected on the validation patients"
    return replace(_with_limit(settings, fit(limit), limit, values), caveats=(caveat,))


def _with_limit(settings: HecktorCox, fitted: FittedModel, limit: float, values: list[float]) -> FittedModel:
    report = {
        **fitted.report,
        "correlation_limit": limit,
        "selection": {"on": settings.select_on, "limits": list(settings.thresholds), "c_index": values},
    }
    return replace(fitted, report=report)


def fit_signed_bagging(settings: SignedBagging, train: Patients, context: Context) -> FittedModel:
    """The mean of standardised columns, each with the sign of its univariate concordance.

    Source: Rebaud et al., "Simplicity is all you need", HECKTOR 2022 (LNCS 13626). Each
    member draws patients with replacement and a share of the columns, gives +1 to columns
    with C > 0.5 and −1 to others, divides by their SD and averages; members are averaged.
    The whole is linear in the columns, and is reported so. The correlation filter runs
    once, on all training patients.
    """
    design = offered_design(settings, train)
    columns = len(design.names)
    if not columns:
        return linear(design, np.zeros(0), warnings=(NOTHING,), log_hazard=False)
    matrix = design.transform(train)
    counts = resample_counts(len(train), settings.members, context.seed)
    concordance = univariate_concordance(matrix, train, counts)
    seen = _shares(settings, columns, context.seed)
    distance = np.nan_to_num(concordance - 0.5)
    signs = np.sign(distance) * (seen & (np.abs(distance) >= settings.min_distance))
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
    return linear(design, coefficients, report=report, log_hazard=False)


def _shares(settings: SignedBagging, columns: int, seed: int) -> NDArray[np.bool_]:
    """(members, columns) which columns each member sees, at least one."""
    number = max(1, round(settings.share * columns))
    order = np.argsort(np.random.default_rng(seed + 1).random((settings.members, columns)), axis=1)
    seen = np.zeros((settings.members, columns), dtype=bool)
    np.put_along_axis(seen, order[:, :number], True, axis=1)
    return seen
