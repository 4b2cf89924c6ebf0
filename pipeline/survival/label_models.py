"""Models of a class outcome (scikit-learn): penalised logistic regression, forest, boosting.

The score of a fitted model is the predicted probability of class 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.label_models import LabelBoosting, LabelForest, LabelModel, LogisticModel
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design
from pipeline.tables.splits import grouped_stratified_folds

Array = NDArray[np.float64]
Classes = NDArray[np.bool_]
T = TypeVar("T")
_SMALLEST = 1e-6
LEAST_OF_A_CLASS = 2
"""Training patients (groups of them) of each class, without which nothing can be learned or tuned."""


def classes_of(patients: Patients, label: str) -> Classes:
    """(n,) whether each patient is of class 1; all of them have a known class."""
    positive: Classes = np.equal(patients.table[label].to_numpy(float), 1)
    return positive


def known_class(patients: Patients, label: str) -> NDArray[np.bool_]:
    """(n,) whether the class of a patient is known."""
    known: NDArray[np.bool_] = np.isfinite(patients.table[label].to_numpy(float))
    return known


def fit_logistic(settings: LogisticModel, train: Patients, context: Context) -> FittedModel:
    """Logistic regression; the strength of its penalty by inner cross-validation.

    Log odds ratios are per SD of features and numbers, or of a level against the most frequent one.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def fit_on(part: Patients) -> Callable[[float], FittedModel]:
        design = offered_design(settings, part)
        matrix, positive = design.transform(part), classes_of(part, settings.label)

        def fit(strength: float) -> FittedModel:
            if not design.names:
                return _share_of_class(positive)
            lasso = settings.penalty == "lasso"
            model = LogisticRegression(
                C=strength,
                l1_ratio=1.0 if lasso else 0.0,
                solver="saga" if lasso else "lbfgs",
                max_iter=5000,
                random_state=context.seed,
            )
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model.fit(matrix, positive)
            stopped = any(issubclass(each.category, ConvergenceWarning) for each in caught)
            ratios = zip(design.names, np.ravel(model.coef_), strict=True)
            return FittedModel(
                lambda patients: _probability(model, design.transform(patients)),
                {
                    "log_odds_ratios": {name: float(b) for name, b in ratios if b != 0},
                    "candidates": len(design.names),
                },
                ("the optimiser stopped before it converged",) if stopped else (),
            )

        return fit

    strength, losses = tune_label(settings.strengths, fit_on, train, settings, context.seed)
    fitted = fit_on(train)(strength)
    report = {
        "strength": strength,
        "cross_validation": {"strengths": list(settings.strengths), "log_loss": losses},
    }
    return FittedModel(fitted.score, {**fitted.report, **report}, fitted.warnings)


def fit_label_forest(settings: LabelForest, train: Patients, context: Context) -> FittedModel:
    """Random forest (Breiman, Mach Learn 2001; 45: 5); the probability is the mean share of class 1 in the leaves."""
    from sklearn.ensemble import RandomForestClassifier

    design, positive = offered_design(settings, train), classes_of(train, settings.label)
    if not design.names:
        return _share_of_class(positive)
    forest = RandomForestClassifier(
        n_estimators=settings.trees,
        min_samples_leaf=settings.min_leaf,
        max_features=None if settings.max_features == "all" else settings.max_features,
        n_jobs=context.threads,
        random_state=context.seed,
    )
    forest.fit(design.transform(train), positive)
    report = {"candidates": len(design.names), "trees": settings.trees}
    return FittedModel(lambda patients: _probability(forest, design.transform(patients)), report)


def fit_label_boosting(settings: LabelBoosting, train: Patients, context: Context) -> FittedModel:
    """Gradient boosting (Friedman, Ann Stat 2001; 29: 1189); its number of rounds by inner cross-validation."""
    from sklearn.ensemble import GradientBoostingClassifier

    grid = np.unique(np.geomspace(min(5, settings.rounds), settings.rounds, 8).astype(int)).tolist()

    def boost(part: Patients) -> Callable[[int], FittedModel]:
        design, positive = offered_design(settings, part), classes_of(part, settings.label)
        if not design.names:
            return lambda rounds: _share_of_class(positive)
        model = GradientBoostingClassifier(
            n_estimators=settings.rounds,
            learning_rate=settings.learning_rate,
            max_depth=settings.depth,
            subsample=settings.subsample,
            max_features="sqrt",
            random_state=context.seed,
        )
        model.fit(design.transform(part), positive)

        def after(rounds: int) -> FittedModel:
            def score(patients: Patients) -> Array:
                if not len(patients):
                    return np.zeros(0)
                staged = model.staged_predict_proba(design.transform(patients))
                return np.asarray(next(islice(staged, rounds - 1, None))[:, 1], dtype=float)

            return FittedModel(score, {"candidates": len(design.names)})

        return after

    rounds, losses = tune_label(grid, boost, train, settings, context.seed)
    fitted = boost(train)(rounds)
    report = {"rounds": rounds, "cross_validation": {"rounds": grid, "log_loss": losses}}
    return FittedModel(fitted.score, {**fitted.report, **report}, fitted.warnings)


def tune_label(
    candidates: Sequence[T],
    fit: Callable[[Patients], Callable[[T], FittedModel]],
    train: Patients,
    settings: LabelModel,
    seed: int,
) -> tuple[T, list[float]]:
    """The candidate with the smallest cross-validated log loss, and the loss of each; the first of equals.

    Args:
        candidates: Candidates in order of preference.
        fit: Patients → (candidate → fitted model).
        train: Training patients with a known class.
        settings: Label, and number of inner folds, which are stratified by class and cut no group; fewer
            where a class has fewer patients (groups).
        seed: Seed of the inner folds.
    """
    if len(candidates) == 1:
        return candidates[0], []
    positive, group = classes_of(train, settings.label), train.group
    folds = min(settings.inner_folds, *(len(set(group[positive == which])) for which in (True, False)))
    assigned = grouped_stratified_folds(positive, group, folds, seed)
    probability = np.empty((len(candidates), len(train)))
    for k in range(folds):
        others = train.pick(assigned != k)
        if len(set(classes_of(others, settings.label))) < 2:
            raise ModelError("a class has too few patients to tune a model", action="use fewer folds")
        fitted = fit(others)
        for i, candidate in enumerate(candidates):
            probability[i, assigned == k] = fitted(candidate).score(train.pick(assigned == k))
    clipped = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    losses = -np.where(positive, np.log(clipped), np.log(1 - clipped)).mean(axis=1)
    return candidates[int(np.argmin(losses))], [float(loss) for loss in losses]


def _probability(model: Any, matrix: Array) -> Array:
    """(n,) probability of class 1."""
    if not len(matrix):
        return np.zeros(0)
    return np.asarray(model.predict_proba(matrix)[:, 1], dtype=float)


def _share_of_class(positive: Classes) -> FittedModel:
    """The model without columns: the share of class 1 for all."""
    share = float(positive.mean())
    return FittedModel(
        lambda patients: np.full(len(patients), share),
        warnings=("no column varies among the training patients; the probability is the same for all",),
    )
