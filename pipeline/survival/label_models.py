"""Models of a class outcome (scikit-learn): penalised logistic regression, forest, boosting.

The score of a fitted model is (n, classes) predicted probabilities of the classes 0, 1, …
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
from pipeline.survival.design import Design
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.patients import Patients
from pipeline.survival.selection import offered_design
from pipeline.tables.splits import grouped_stratified_folds

Array = NDArray[np.float64]
Classes = NDArray[np.int64]
T = TypeVar("T")
_SMALLEST = 1e-6
LEAST_OF_A_CLASS = 2
"""Training patients (groups of them) of each class, without which nothing can be learned or tuned."""


def classes_of(patients: Patients, label: str) -> Classes:
    """(n,) class of each patient, from 0; all of them have a known class."""
    classes: Classes = patients.table[label].to_numpy(float).astype(np.int64)
    return classes


def known_class(patients: Patients, label: str) -> NDArray[np.bool_]:
    """(n,) whether the class of a patient is known."""
    known: NDArray[np.bool_] = np.isfinite(patients.table[label].to_numpy(float))
    return known


def fit_logistic(settings: LogisticModel, train: Patients, context: Context) -> FittedModel:
    """Logistic regression, of more than two classes multinomial; its penalty by inner cross-validation.

    Log odds ratios are per SD of features and numbers, or of a level against the most frequent one: of class 1
    against class 0; of more than two classes, of each against the geometric mean of all.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def fit_on(part: Patients) -> Callable[[float], FittedModel]:
        design = offered_design(settings, part)
        matrix, classes = design.transform(part), classes_of(part, settings.label)

        def fit(strength: float) -> FittedModel:
            if not design.names:
                return _shares_of_classes(classes, settings.classes)
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
                model.fit(matrix, classes)
            stopped = any(issubclass(each.category, ConvergenceWarning) for each in caught)
            return FittedModel(
                lambda patients: _probabilities(model, design.transform(patients)),
                {**_coefficients(model, design), "candidates": len(design.names)},
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


def _coefficients(model: Any, design: Design) -> dict[str, Any]:
    """Class → its log odds ratios that are not 0, and its intercept; and how columns are scaled."""
    rows = np.asarray(model.coef_, dtype=float)
    numbers = [1] if len(rows) == 1 else range(len(rows))
    ratios = {
        str(number): {name: float(b) for name, b in zip(design.names, row, strict=True) if b != 0}
        for number, row in zip(numbers, rows, strict=True)
    }
    intercepts = zip(numbers, np.ravel(model.intercept_), strict=True)
    used = {name for of_class in ratios.values() for name in of_class}
    return {
        "log_odds_ratios": ratios,
        "intercepts": {str(number): float(value) for number, value in intercepts},
        "design": design.state(used),
    }


def fit_label_forest(settings: LabelForest, train: Patients, context: Context) -> FittedModel:
    """Random forest (Breiman, Mach Learn 2001; 45: 5); probabilities are mean shares of the leaves."""
    from sklearn.ensemble import RandomForestClassifier

    design, classes = offered_design(settings, train), classes_of(train, settings.label)
    if not design.names:
        return _shares_of_classes(classes, settings.classes)
    forest = RandomForestClassifier(
        n_estimators=settings.trees,
        min_samples_leaf=settings.min_leaf,
        max_features=None if settings.max_features == "all" else settings.max_features,
        n_jobs=context.threads,
        random_state=context.seed,
    )
    forest.fit(design.transform(train), classes)
    report = {"candidates": len(design.names), "trees": settings.trees}
    return FittedModel(lambda patients: _probabilities(forest, design.transform(patients)), report)


def fit_label_boosting(settings: LabelBoosting, train: Patients, context: Context) -> FittedModel:
    """Gradient boosting (Friedman, Ann Stat 2001; 29: 1189); its number of rounds by inner cross-validation."""
    from sklearn.ensemble import GradientBoostingClassifier

    grid = np.unique(np.geomspace(min(5, settings.rounds), settings.rounds, 8).astype(int)).tolist()

    def boost(part: Patients) -> Callable[[int], FittedModel]:
        design, classes = offered_design(settings, part), classes_of(part, settings.label)
        if not design.names:
            return lambda rounds: _shares_of_classes(classes, settings.classes)
        model = GradientBoostingClassifier(
            n_estimators=settings.rounds,
            learning_rate=settings.learning_rate,
            max_depth=settings.depth,
            subsample=settings.subsample,
            max_features="sqrt",
            random_state=context.seed,
        )
        model.fit(design.transform(part), classes)

        def after(rounds: int) -> FittedModel:
            def score(patients: Patients) -> Array:
                if not len(patients):
                    return np.zeros((0, settings.classes))
                staged = model.staged_predict_proba(design.transform(patients))
                return np.asarray(next(islice(staged, rounds - 1, None)), dtype=float)

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
    classes, group = classes_of(train, settings.label), train.group
    least = min(len(set(group[classes == number])) for number in range(settings.classes))
    folds = min(settings.inner_folds, least)
    if folds < LEAST_OF_A_CLASS:
        raise ModelError("a class has too few patients to tune a model", action="use fewer folds")
    assigned = grouped_stratified_folds(classes, group, folds, seed)
    probability = np.empty((len(candidates), len(train)))
    for k in range(folds):
        others, inside = train.pick(assigned != k), assigned == k
        if len(set(classes[~inside])) < settings.classes:
            raise ModelError("a class has too few patients to tune a model", action="use fewer folds")
        fitted = fit(others)
        for i, candidate in enumerate(candidates):
            scores = fitted(candidate).score(train.pick(inside))
            probability[i, inside] = scores[np.arange(len(scores)), classes[inside]]
    losses = -np.log(np.clip(probability, _SMALLEST, 1 - _SMALLEST)).mean(axis=1)
    return candidates[int(np.argmin(losses))], [float(loss) for loss in losses]


def _probabilities(model: Any, matrix: Array) -> Array:
    """(n, classes) probabilities."""
    if not len(matrix):
        return np.zeros((0, len(model.classes_)))
    return np.asarray(model.predict_proba(matrix), dtype=float)


def _shares_of_classes(classes: Classes, number: int) -> FittedModel:
    """The model without columns: the shares of the classes for all."""
    shares = np.bincount(classes, minlength=number) / len(classes)
    return FittedModel(
        lambda patients: np.tile(shares, (len(patients), 1)),
        warnings=("no column varies among the training patients; the probabilities are the same for all",),
    )
