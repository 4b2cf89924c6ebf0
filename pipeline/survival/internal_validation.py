"""How well a classical model does beside one division into folds: repeats, optimism, importance of columns.

Measured is the C-index, of a class outcome the AUC. Each of them refits the whole model, selection and tuning
included, so each is a setting that is off by default.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.settings.classical import ClassicalModel
from pipeline.survival.estimator import FittedModel
from pipeline.survival.patients import Patients
from pipeline.tables.splits import Fold, Splits

Array = NDArray[np.float64]
Fit = Callable[[int, Patients, Patients], FittedModel]
"""Number of a fold, its training and validation patients → its model."""
Discrimination = Callable[[Sequence[Patients], Sequence[Array]], float]
"""Patients of each fold and their scores → how well pairs within folds are told apart, 0.5 by chance and 1 at best."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Optimism:
    """Harrell's bootstrap of a model that is fitted on all development patients.

    Attributes:
        apparent: C-index (AUC) of the model among the patients that it was fitted on.
        optimism: Mean over resamples of the C-index (AUC) in the resample less that among all patients, of
            the model fitted on the resample.
        resamples: Number of resamples that could be fitted.
        asked: Number of resamples that were asked for.
    """

    apparent: float
    optimism: float
    resamples: int
    asked: int


@dataclass(frozen=True)
class ColumnImportance:
    """What a model loses where a column is dealt anew among a fold's test patients.

    Attributes:
        column: Name of the column.
        drop: Mean fall of the C-index (AUC) within folds; about 0 or below: the model does without it.
        sd: Its standard deviation over permutations (n − 1).
    """

    column: str
    drop: float
    sd: float


@dataclass(frozen=True)
class InternalValidation:
    """Content of `validation.json`.

    Attributes:
        metric: What is measured, by its name in `metrics.csv`: `c_index`, or `{label}_auc`.
        repeats: Its value within folds of each further division into folds; empty where there is none.
        optimism: Optimism of its apparent value; None where it was not asked for or cannot be.
        importance: Columns that the model uses, the most important first.
        permutations: Permutations of each column.
        reason: Why nothing of this could be computed; empty where it could, or was not asked for.
    """

    metric: str = "c_index"
    repeats: tuple[float, ...] = ()
    optimism: Optimism | None = None
    importance: tuple[ColumnImportance, ...] = ()
    permutations: int = 0
    reason: str = field(default="")

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def not_refitted_reason(model: ClassicalModel) -> str:
    """Why a model is not refitted on other patients; empty where it is."""
    needs = model.needs
    if needs.deep or needs.contour == "predicted":
        return "the model's features come from a fold's own networks, which are not trained again"
    return ""


def pooled_concordance(tested: Sequence[Patients], risks: Sequence[Array]) -> float:
    """C-index over pairs within folds of patients with given risks."""
    time = np.concatenate([part.time for part in tested])
    event = np.concatenate([part.event for part in tested]).astype(float)
    fold = np.repeat(np.arange(len(tested)), [len(part) for part in tested]).astype(float)
    return concordance_index(time, event, np.concatenate(risks), fold)


@dataclass(frozen=True)
class Refits:
    """A model that is fitted whole again, and the measure of how well it does.

    Attributes:
        fit: Fits the whole model.
        measure: C-index within folds, or AUC.
    """

    fit: Fit
    measure: Discrimination = pooled_concordance

    def of_fold(self, patients: Patients, number: int, fold: Fold) -> FittedModel:
        """The model of a fold."""
        return self.fit(number, patients.select(fold.train), patients.select(fold.validation))

    def within_folds(self, patients: Patients, folds: Sequence[Fold]) -> float:
        """The measure over pairs of patients of one fold, predicted by the model that was fitted without them."""
        tested = [patients.select(fold.test) for fold in folds]
        scores = [
            self.of_fold(patients, number, fold).score(test)
            for number, (fold, test) in enumerate(zip(folds, tested, strict=True))
        ]
        return self.measure(tested, scores)


def repeated(refits: Refits, patients: Patients, divisions: Sequence[Sequence[Fold]]) -> tuple[float, ...]:
    """The measure within folds of each division into folds."""
    return tuple(refits.within_folds(patients, folds) for folds in divisions)


def bootstrap_optimism(refits: Refits, patients: Patients, resamples: int, seed: int) -> Optimism:
    """Optimism of the apparent C-index (AUC) by refitting on bootstrap resamples.

    Source: Harrell, Lee and Mark, Stat Med 1996; 15: 361, section 5.3. Whole groups are drawn; a patient
    who is drawn twice is one group, which no inner fold cuts. Resamples that the model cannot be fitted
    on are left out.

    Args:
        refits: Fits the whole model, and says how well it does.
        patients: Patients that the model is fitted on.
        resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ModelError: The model cannot be fitted on all patients.
    """
    nobody = patients.pick(np.empty(0, dtype=np.int64))

    def measured(model: FittedModel, among: Patients) -> float:
        return refits.measure([among], [model.score(among)])

    apparent = measured(refits.fit(0, patients, nobody), patients)
    names, group_of = np.unique(patients.group.astype(str), return_inverse=True)
    members = [np.flatnonzero(group_of == number) for number in range(len(names))]
    optimism = []
    for number in range(resamples):
        drawn = np.random.default_rng([seed, number]).integers(0, len(names), len(names))
        sample = patients.pick(np.concatenate([members[i] for i in drawn]))
        try:
            model = refits.fit(0, sample, nobody)
        except ModelError as error:
            log.warning("resample %d is left out: %s", number, error)
            continue
        optimism.append(measured(model, sample) - measured(model, patients))
    known = np.array(optimism)[np.isfinite(optimism)] if optimism else np.empty(0)
    mean = float(known.mean()) if 2 * len(known) >= resamples else float("nan")
    return Optimism(apparent, mean, len(known), resamples)


def permutation_importance(
    refits: Refits, patients: Patients, splits: Splits, permutations: int, seed: int
) -> tuple[ColumnImportance, ...]:
    """Fall of the held-out C-index (AUC) where one column is dealt anew among each fold's test patients.

    Source: Breiman, Mach Learn 2001; 45: 5, section 10, on patients that the model was not fitted on. Columns
    that say nearly the same stand in for one another: each of them may then seem unimportant.

    Args:
        refits: Fits the whole model, and says how well it does.
        patients: All usable patients.
        splits: The study's folds.
        permutations: Permutations of each column.
        seed: Seed of the permutations.

    Returns:
        The columns whose permutation changes any score, the most important first.
    """
    tested = [patients.select(fold.test) for fold in splits.folds]
    models = [refits.of_fold(patients, number, fold) for number, fold in enumerate(splits.folds)]
    scores = [model.score(test) for model, test in zip(models, tested, strict=True)]
    before = refits.measure(tested, scores)
    columns = [str(name) for name in patients.table.columns if name not in ("time_days", "event")]
    found = []
    for position, column in enumerate([*columns, *patients.names]):
        drops = []
        for number in range(permutations):
            generator = np.random.default_rng([seed, position, number])
            changed = [
                model.score(permute_column(test, column, generator))
                for model, test in zip(models, tested, strict=True)
            ]
            if number == 0 and all(np.array_equal(a, b) for a, b in zip(scores, changed, strict=True)):
                break
            drops.append(before - refits.measure(tested, changed))
        if drops:
            sd = float(np.std(drops, ddof=1)) if len(drops) > 1 else float("nan")
            found.append(ColumnImportance(column, float(np.mean(drops)), sd))
    return tuple(sorted(found, key=lambda each: (-each.drop, each.column)))


@dataclass(frozen=True)
class AskedValidation:
    """What a study asks of its refitted models.

    Attributes:
        metric: What is measured, by its name in `metrics.csv`.
        optimism_bootstraps: Number of resamples of Harrell's bootstrap.
        importance_permutations: Number of permutations of each column.
        seed: Seed of resamples and permutations.
    """

    metric: str
    optimism_bootstraps: int
    importance_permutations: int
    seed: int


def validate(
    asked: AskedValidation, model: ClassicalModel, refits: Refits, patients: Patients, splits: Splits
) -> InternalValidation:
    """Repeats, optimism and importance, as far as the study asks for them."""
    if not (splits.repeats or asked.optimism_bootstraps or asked.importance_permutations):
        return InternalValidation(asked.metric)
    if reason := not_refitted_reason(model):
        return InternalValidation(asked.metric, reason=reason)
    held_out = any(fold.test for fold in splits.folds)
    first = splits.folds[0]
    development = patients.select([*first.train, *first.validation, *first.test])
    try:
        repeats = repeated(refits, patients, splits.repeats)
        optimism = None
        if asked.optimism_bootstraps:
            optimism = bootstrap_optimism(refits, development, asked.optimism_bootstraps, asked.seed)
        importance: tuple[ColumnImportance, ...] = ()
        permutations = asked.importance_permutations
        if permutations and held_out:
            importance = permutation_importance(refits, patients, splits, permutations, asked.seed)
    except ModelError as error:
        return InternalValidation(asked.metric, reason=f"the model cannot be refitted: {error.problem}")
    return InternalValidation(asked.metric, repeats, optimism, importance, permutations)


def permute_column(patients: Patients, column: str, generator: np.random.Generator) -> Patients:
    """Patients with the values of one column (of the cohort table or of the features) dealt anew."""
    order = generator.permutation(len(patients))
    if column in patients.names:
        values = patients.features.copy()
        position = patients.names.index(column)
        values[:, position] = values[order, position]
        return Patients(patients.table, values, patients.names)
    table = patients.table.assign(**{column: patients.table[column].to_numpy()[order]})
    return Patients(table, patients.features, patients.names)
