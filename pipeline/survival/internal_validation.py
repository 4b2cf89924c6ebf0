"""How well a classical model does beside one division into folds: repeats, optimism, importance of columns.

Each of them refits the whole model, selection and tuning included, so each is a setting that is off by default.
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
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Optimism:
    """Harrell's bootstrap of a model that is fitted on all development patients.

    Attributes:
        apparent: C-index of the model among the patients that it was fitted on.
        optimism: Mean over resamples of the C-index in the resample less that among all patients, of
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
        drop: Mean fall of the C-index within folds; about 0 or below: the model does without it.
        sd: Its standard deviation over permutations (n − 1).
    """

    column: str
    drop: float
    sd: float


@dataclass(frozen=True)
class InternalValidation:
    """Content of `validation.json`.

    Attributes:
        repeats: C-index within folds of each further division into folds; empty where there is none.
        optimism: Optimism of the apparent C-index; None where it was not asked for or cannot be.
        importance: Columns that the model uses, the most important first.
        permutations: Permutations of each column.
        reason: Why nothing of this could be computed; empty where it could, or was not asked for.
    """

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


def concordance_within_folds(fit: Fit, patients: Patients, folds: Sequence[Fold]) -> float:
    """C-index over pairs of patients of one fold, each predicted by the model that was fitted without them."""
    tested = [patients.select(fold.test) for fold in folds]
    risks = []
    for number, (fold, test) in enumerate(zip(folds, tested, strict=True)):
        model = fit(number, patients.select(fold.train), patients.select(fold.validation))
        risks.append(model.score(test))
    return _pooled_concordance(tested, risks)


def _pooled_concordance(tested: Sequence[Patients], risks: Sequence[Array]) -> float:
    """C-index over pairs within folds of patients with given risks."""
    time = np.concatenate([part.time for part in tested])
    event = np.concatenate([part.event for part in tested]).astype(float)
    fold = np.repeat(np.arange(len(tested)), [len(part) for part in tested]).astype(float)
    return concordance_index(time, event, np.concatenate(risks), fold)


def repeated(fit: Fit, patients: Patients, divisions: Sequence[Sequence[Fold]]) -> tuple[float, ...]:
    """C-index within folds of each division into folds."""
    return tuple(concordance_within_folds(fit, patients, folds) for folds in divisions)


def bootstrap_optimism(fit: Fit, patients: Patients, resamples: int, seed: int) -> Optimism:
    """Optimism of the apparent C-index by refitting on bootstrap resamples.

    Source: Harrell, Lee and Mark, Stat Med 1996; 15: 361, section 5.3. Whole groups are drawn; a patient
    who is drawn twice is one group, which no inner fold cuts. Resamples that the model cannot be fitted
    on are left out.

    Args:
        fit: Fits the whole model.
        patients: Patients that the model is fitted on.
        resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ModelError: The model cannot be fitted on all patients.
    """
    nobody = patients.pick(np.empty(0, dtype=np.int64))

    def concordance(model: FittedModel, among: Patients) -> float:
        return concordance_index(among.time, among.event.astype(float), model.score(among))

    apparent = concordance(fit(0, patients, nobody), patients)
    names, group_of = np.unique(patients.group.astype(str), return_inverse=True)
    members = [np.flatnonzero(group_of == number) for number in range(len(names))]
    optimism = []
    for number in range(resamples):
        drawn = np.random.default_rng([seed, number]).integers(0, len(names), len(names))
        sample = patients.pick(np.concatenate([members[i] for i in drawn]))
        try:
            model = fit(0, sample, nobody)
        except ModelError as error:
            log.warning("resample %d is left out: %s", number, error)
            continue
        optimism.append(concordance(model, sample) - concordance(model, patients))
    known = np.array(optimism)[np.isfinite(optimism)] if optimism else np.empty(0)
    mean = float(known.mean()) if 2 * len(known) >= resamples else float("nan")
    return Optimism(apparent, mean, len(known), resamples)


def permutation_importance(
    fit: Fit, patients: Patients, splits: Splits, permutations: int, seed: int
) -> tuple[ColumnImportance, ...]:
    """Fall of the held-out C-index where one column is dealt anew among each fold's test patients.

    Source: Breiman, Mach Learn 2001; 45: 5, section 10, on patients that the model was not fitted on. Columns
    that say nearly the same stand in for one another: each of them may then seem unimportant.

    Args:
        fit: Fits the whole model.
        patients: All usable patients.
        splits: The study's folds.
        permutations: Permutations of each column.
        seed: Seed of the permutations.

    Returns:
        The columns whose permutation changes any risk, the most important first.
    """
    tested = [patients.select(fold.test) for fold in splits.folds]
    models = [
        fit(number, patients.select(fold.train), patients.select(fold.validation))
        for number, fold in enumerate(splits.folds)
    ]
    risks = [model.score(test) for model, test in zip(models, tested, strict=True)]
    before = _pooled_concordance(tested, risks)
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
            if number == 0 and all(np.array_equal(a, b) for a, b in zip(risks, changed, strict=True)):
                break
            drops.append(before - _pooled_concordance(tested, changed))
        if drops:
            sd = float(np.std(drops, ddof=1)) if len(drops) > 1 else float("nan")
            found.append(ColumnImportance(column, float(np.mean(drops)), sd))
    return tuple(sorted(found, key=lambda each: (-each.drop, each.column)))


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
