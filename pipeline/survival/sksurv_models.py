"""Forest, boosting and support vector machine (scikit-survival)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.settings.classical import BoostedCox, SurvivalForest, SurvivalSvm
from pipeline.survival.cox import to_surv
from pipeline.survival.design import Design
from pipeline.survival.estimator import Context, FittedModel, constant_model, linear_model
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design, tune

Array = NDArray[np.float64]


def fit_forest(settings: SurvivalForest, train: Patients, context: Context) -> FittedModel:
    """Random survival forest (Ishwaran et al., Ann Appl Stat 2008; 2: 841).

    The risk is the logarithm of the ensemble mortality, the expected number of events if all
    patients were like this one.
    """
    from sksurv.ensemble import RandomSurvivalForest

    design = offered_design(settings, train)
    if not design.names:
        return constant_model(design)
    forest = RandomSurvivalForest(
        n_estimators=settings.trees,
        min_samples_leaf=settings.min_leaf,
        min_samples_split=2 * settings.min_leaf,
        max_features=None if settings.max_features == "all" else settings.max_features,
        n_jobs=context.threads,
        random_state=context.seed,
        low_memory=True,
    )
    forest.fit(design.transform(train), to_surv(train.time, train.event))

    def score(patients: Patients) -> Array:
        if not len(patients):
            return np.zeros(0)
        mortality = np.asarray(forest.predict(design.transform(patients)), dtype=float)
        return np.asarray(np.log(np.maximum(mortality, 1e-6)))

    report = {"candidates": len(design.names), "trees": settings.trees}
    return FittedModel(score, report)


def fit_boosting(settings: BoostedCox, train: Patients, context: Context) -> FittedModel:
    """Gradient boosting of the Cox partial likelihood (Ridgeway, Comput Sci Stat 1999; 31: 172).

    The number of rounds comes from inner cross-validation over eight lengths up to `rounds`;
    each inner fold is boosted once and evaluated after these numbers of rounds.
    """
    grid = np.unique(np.geomspace(min(5, settings.rounds), settings.rounds, 8).astype(int)).tolist()

    def boost(part: Patients) -> Callable[[int], FittedModel]:
        design = offered_design(settings, part)
        if not design.names:
            return lambda rounds: constant_model(design)
        model = _booster(settings, context.seed)
        model.fit(design.transform(part), to_surv(part.time, part.event))
        risk_after = _tree_risk if settings.learner == "tree" else _componentwise_risk
        return lambda rounds: FittedModel(
            lambda patients: risk_after(model, design.transform(patients), rounds),
            {"candidates": len(design.names)},
        )

    tuned = tune(grid, boost, train, settings.inner_folds, context.seed)
    fitted = boost(train)(tuned.candidate)
    cross_validation = {"rounds": grid, "c_index": tuned.c_index}
    report = {**fitted.report, "rounds": tuned.candidate, "cross_validation": cross_validation}
    return FittedModel(fitted.score, report, fitted.warnings)


def _booster(settings: BoostedCox, seed: int) -> Any:
    from sksurv.ensemble import (
        ComponentwiseGradientBoostingSurvivalAnalysis,
        GradientBoostingSurvivalAnalysis,
    )

    common: dict[str, Any] = {
        "n_estimators": settings.rounds,
        "learning_rate": settings.learning_rate,
        "subsample": settings.subsample,
        "random_state": seed,
    }
    if settings.learner == "componentwise":
        return ComponentwiseGradientBoostingSurvivalAnalysis(**common)
    return GradientBoostingSurvivalAnalysis(max_depth=settings.depth, max_features="sqrt", **common)


def _tree_risk(model: Any, matrix: Array, rounds: int) -> Array:
    """(n,) log-hazards after the first rounds."""
    if not len(matrix):
        return np.zeros(0)
    return np.asarray(next(islice(model.staged_predict(matrix), rounds - 1, None)), dtype=float)


def _componentwise_risk(model: Any, matrix: Array, rounds: int) -> Array:
    """(n,) log-hazards after the first rounds."""
    with_intercept = np.column_stack([np.ones(len(matrix)), matrix])
    parts = (model.learning_rate * e.predict(with_intercept) for e in model.estimators_[:rounds])
    return np.asarray(sum(parts, np.zeros(len(matrix))), dtype=float)


def fit_svm(settings: SurvivalSvm, train: Patients, context: Context) -> FittedModel:
    """Linear ranking survival SVM (Pölsterl et al., ECML PKDD 2015); the score has no scale.

    The weight of the loss comes from inner cross-validation.
    """

    def fit_on(part: Patients) -> Callable[[float], FittedModel]:
        design = offered_design(settings, part)
        matrix, outcome = design.transform(part), to_surv(part.time, part.event)

        def fit(weight: float) -> FittedModel:
            if not design.names:
                return constant_model(design)
            return _fit_svm(design, weight, matrix, outcome, context.seed)

        return fit

    tuned = tune(settings.weights, fit_on, train, settings.inner_folds, context.seed)
    fitted = fit_on(train)(tuned.candidate)
    cross_validation = {"weights": list(settings.weights), "c_index": tuned.c_index}
    report = {**fitted.report, "weight": tuned.candidate, "cross_validation": cross_validation}
    return FittedModel(fitted.score, report, fitted.warnings)


def _fit_svm(
    design: Design, weight: float, matrix: Array, outcome: NDArray[np.void], seed: int
) -> FittedModel:
    from sklearn.exceptions import ConvergenceWarning
    from sksurv.svm import FastSurvivalSVM

    # The loss depends on the columns only through their products with the coefficients, and the
    # margin is the length of the coefficients: the problem can be solved exactly in the space of
    # at most n dimensions that the patients span.
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    spanned = values > 1e-9 * values.max()
    model = FastSurvivalSVM(alpha=weight, rank_ratio=1.0, max_iter=100, tol=1e-5, random_state=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(left[:, spanned] * values[spanned], outcome)
    stopped = any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return linear_model(
        design,
        # scikit-survival's coefficients of a ranking objective point to longer survival.
        -right[spanned].T @ np.asarray(model.coef_, dtype=float),
        report={"candidates": len(design.names)},
        warnings=("the optimiser stopped before it converged",) if stopped else (),
    )
