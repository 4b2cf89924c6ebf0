"""Forest, boosting and support vector machine (scikit-survival)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.settings.classical import BoostedCox, SurvivalForest, SurvivalSvm
from pipeline.survival.cox import surv
from pipeline.survival.design import Design
from pipeline.survival.estimator import Context, FittedModel, linear
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design, tune

Array = NDArray[np.float64]
NOTHING = "no column varies among the training patients; the risk is 0"


def fit_forest(settings: SurvivalForest, train: Patients, context: Context) -> FittedModel:
    """Random survival forest (Ishwaran et al., Ann Appl Stat 2008; 2: 841).

    The risk is the logarithm of the ensemble mortality, the expected number of events had
    everybody been like this patient.
    """
    from sksurv.ensemble import RandomSurvivalForest

    design = offered_design(settings, train)
    if not design.names:
        return linear(design, np.zeros(0), warnings=(NOTHING,))
    forest = RandomSurvivalForest(
        n_estimators=settings.trees,
        min_samples_leaf=settings.min_leaf,
        min_samples_split=2 * settings.min_leaf,
        max_features=None if settings.max_features == "all" else settings.max_features,
        n_jobs=context.threads,
        random_state=context.seed,
        low_memory=True,
    )
    forest.fit(design.transform(train), surv(train.time, train.event))

    def score(patients: Patients) -> Array:
        if not len(patients):
            return np.zeros(0)
        mortality = np.asarray(forest.predict(design.transform(patients)), dtype=float)
        return np.asarray(np.log(np.maximum(mortality, 1e-6)))

    report = {"candidates": len(design.names), "trees": settings.trees}
    return FittedModel(score, report, log_hazard=False)


def fit_boosting(settings: BoostedCox, train: Patients, context: Context) -> FittedModel:
    """Gradient boosting of the Cox partial likelihood (Ridgeway, Comput Sci Stat 1999; 31: 172).

    The number of rounds comes from inner cross-validation over eight lengths up to `rounds`;
    each inner fold is boosted once, and looked at after so many rounds.
    """
    grid = np.unique(np.geomspace(min(5, settings.rounds), settings.rounds, 8).astype(int)).tolist()

    def prepare(part: Patients) -> Callable[[int], FittedModel]:
        design = offered_design(settings, part)
        if not design.names:
            return lambda rounds: linear(design, np.zeros(0), warnings=(NOTHING,))
        model = _booster(settings, context.seed)
        model.fit(design.transform(part), surv(part.time, part.event))
        stages = _tree_stages if settings.learner == "tree" else _component_stages
        return lambda rounds: FittedModel(
            lambda patients: stages(model, design.transform(patients), rounds),
            {"candidates": len(design.names)},
        )

    rounds, values = tune(grid, prepare, train, settings.inner_folds, context.seed)
    fitted = prepare(train)(rounds)
    report = {**fitted.report, "rounds": rounds, "cross_validation": {"rounds": grid, "c_index": values}}
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


def _tree_stages(model: Any, matrix: Array, rounds: int) -> Array:
    """(n,) log-hazards after the first rounds."""
    if not len(matrix):
        return np.zeros(0)
    return np.asarray(next(islice(model.staged_predict(matrix), rounds - 1, None)), dtype=float)


def _component_stages(model: Any, matrix: Array, rounds: int) -> Array:
    with_intercept = np.column_stack([np.ones(len(matrix)), matrix])
    parts = (model.learning_rate * e.predict(with_intercept) for e in model.estimators_[:rounds])
    return np.asarray(sum(parts, np.zeros(len(matrix))), dtype=float)


def fit_svm(settings: SurvivalSvm, train: Patients, context: Context) -> FittedModel:
    """Linear ranking survival SVM (Pölsterl et al., ECML PKDD 2015); the score has no scale.

    The loss's weight comes from inner cross-validation.
    """

    def prepare(part: Patients) -> Callable[[float], FittedModel]:
        design = offered_design(settings, part)
        matrix, outcome = design.transform(part), surv(part.time, part.event)

        def fit(weight: float) -> FittedModel:
            if not design.names:
                return linear(design, np.zeros(0), warnings=(NOTHING,), log_hazard=False)
            return _svm(design, weight, (matrix, outcome), context.seed)

        return fit

    weight, values = tune(settings.weights, prepare, train, settings.inner_folds, context.seed)
    fitted = prepare(train)(weight)
    cross_validation = {"weights": list(settings.weights), "c_index": values}
    report = {**fitted.report, "weight": weight, "cross_validation": cross_validation}
    return FittedModel(fitted.score, report, fitted.warnings, log_hazard=False)


def _svm(design: Design, weight: float, data: tuple[Array, Any], seed: int) -> FittedModel:
    from sklearn.exceptions import ConvergenceWarning
    from sksurv.svm import FastSurvivalSVM

    matrix, outcome = data
    # The loss sees the columns only through their products with the coefficients, and the
    # margin is the coefficients' length: the problem may be solved in the patients' own
    # space of at most n dimensions, exactly.
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    kept = values > 1e-9 * values.max()
    model = FastSurvivalSVM(alpha=weight, rank_ratio=1.0, max_iter=100, tol=1e-5, random_state=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(left[:, kept] * values[kept], outcome)
    told = ("the optimiser stopped before it converged",)
    stopped = any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return linear(
        design,
        # scikit-survival's coefficients of a ranking objective point to longer survival.
        -right[kept].T @ np.asarray(model.coef_, dtype=float),
        report={"candidates": len(design.names)},
        warnings=told if stopped else (),
        log_hazard=False,
    )
