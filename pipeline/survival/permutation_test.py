"""Log-rank test of cross-validated risk groups, by refitting the whole procedure to permuted patients.

Groups of held-out patients come from models that were fitted on the outcomes of the others. Groups and
outcomes are then dependent even where nothing predicts, and χ² does not hold: of studies of noise a
sixth is significant at 0.05. What holds is the distribution of the statistic over permutations, each
of which repeats everything: selection, tuning, fit, cuts (Simon et al., Brief Bioinform 2011; 12: 203).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.metrics.kaplan_meier import logrank
from pipeline.metrics.risk_groups import SMALLEST_GROUP
from pipeline.metrics.time_dependent import SurvivalOutcome
from pipeline.settings.classical import ClassicalModel, ColumnModel
from pipeline.spread import spread_until_enough
from pipeline.survival.estimator import FittedModel
from pipeline.survival.patients import Patients
from pipeline.tables.splits import Splits

Array = NDArray[np.float64]
EXCEEDANCES = 10
"""Permutations as extreme as the observed groups after which the rest would not matter."""
DRAWS_PER_PERMUTATION = 3
"""Draws, per permutation that is wanted, after which a procedure that rarely allows a test is given up."""
NOT_PERMUTED = ("time_days", "event")
Fit = Callable[[int, Patients, Patients], FittedModel]
"""Number of a fold, its training and validation patients → its model."""


@dataclass(frozen=True)
class PermutationTest:
    """Content of `permutations.json`.

    Attributes:
        p_value: One-sided: share of permutations whose groups separate at least as well, in the
            right order; 1 where the observed order is reversed; None where there is no test.
        statistic: χ² of the log-rank test, negative where the order is reversed.
        permutations: Number of permutations that were made.
        risk_groups: Number of groups.
        reason: Why there is no test; empty where there is one.
    """

    p_value: float | None
    statistic: float | None
    permutations: int
    risk_groups: int
    reason: str

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def no_test_reason(model: ClassicalModel, patients: Patients, splits: Splits, permutations: int) -> str:
    """Why a model's cross-validated groups are not tested; empty where they are.

    Args:
        model: The model's settings.
        patients: All usable patients.
        splits: The study's folds.
        permutations: Largest number of permutations, 0: none are wanted.
    """
    needs = model.needs
    if not permutations:
        return "no p-value: evaluation.permutations is 0"
    if not any(fold.test for fold in splits.folds):
        return "no p-value: no patient is held out"
    if not (model.is_linear or isinstance(model, ColumnModel)):
        return f"no p-value: a model of kind {model.kind} is too slow to be refitted to permuted outcomes"
    if needs.deep or needs.min_icc > 0 or needs.contour == "predicted":
        return "no p-value: the model's features depend on the fold, and are not permuted"
    # Repeated folds hold a patient out more than once.
    held_out = patients.select(list(dict.fromkeys(p for fold in splits.folds for p in fold.test)))
    outcome = SurvivalOutcome.of(held_out.time, held_out.event.astype(float), held_out.group)
    return outcome.few_events_reason() or outcome.dependent_rows_reason()


def permutation_test(
    fit: Fit, patients: Patients, splits: Splits, risk_groups: int, permutations: int, seed: int
) -> PermutationTest:
    """P-value of the risk groups of all held-out patients.

    Features and clinical columns are permuted among the patients that a fold holds out, together;
    outcomes, folds and validation sets stay, so that folds keep their numbers of events. The
    permutations end once ten are as extreme as what was observed: the p-value is then 10 / number
    (Besag and Clifford, Biometrika 1991; 78: 301), which holds exactly, too, and spares most of
    the fits where nothing predicts. A permutation that allows no test (a group too small, a fit
    that fails) is dealt anew, since an observed study of that kind is not tested either: counted
    as less extreme, it would make the p-values of all others too small.

    Args:
        fit: Fits the whole model in a fold.
        patients: All usable patients.
        splits: The study's folds.
        risk_groups: Number of groups, cut at quantiles of training patients' risks.
        permutations: Largest number of permutations.
        seed: Seed of the permutations.
    """
    observed = directed_logrank(fit, patients, splits, risk_groups)
    if observed is None:
        reason = f"no p-value: a risk group has fewer than {SMALLEST_GROUP} patients"
        return PermutationTest(None, None, 0, risk_groups, reason)
    if observed <= 0:
        return PermutationTest(1.0, observed, 0, risk_groups, "")
    exceeding = made = 0
    draws = range(1, DRAWS_PER_PERMUTATION * permutations + 1)
    draw = partial(_permuted_statistic, fit, patients, splits, risk_groups, seed)
    for statistic in spread_until_enough(draw, draws, title="permutations"):
        if statistic is None:
            continue
        made += 1
        exceeding += statistic >= observed
        if exceeding == EXCEEDANCES:
            return PermutationTest(exceeding / made, observed, made, risk_groups, "")
        if made == permutations:
            return PermutationTest((exceeding + 1) / (made + 1), observed, made, risk_groups, "")
    reason = f"no p-value: only {made} of {len(draws)} permutations allow a log-rank test"
    return PermutationTest(None, observed, made, risk_groups, reason)


def _permuted_statistic(
    fit: Fit, patients: Patients, splits: Splits, risk_groups: int, seed: int, number: int
) -> float | None:
    """The statistic of one permutation, a function of seed and number; None where it allows no test."""
    permuted = permute_covariates(patients, splits, np.random.default_rng([seed, number]))
    try:
        return directed_logrank(fit, permuted, splits, risk_groups)
    except ModelError:
        return None


def permute_covariates(patients: Patients, splits: Splits, generator: np.random.Generator) -> Patients:
    """Patients whose features and columns, but not outcomes, are dealt anew within each fold's test patients."""
    position = {str(patient): row for row, patient in enumerate(patients.table.index)}
    source = np.arange(len(patients))
    for fold in splits.folds:
        rows = np.array([position[patient] for patient in fold.test], dtype=np.int64)
        source[rows] = generator.permutation(rows)
    table = patients.table.take(source.tolist())
    table.index = patients.table.index
    for column in NOT_PERMUTED:
        table[column] = patients.table[column]
    return Patients(table, patients.features[source], patients.names)


def directed_logrank(fit: Fit, patients: Patients, splits: Splits, risk_groups: int) -> float | None:
    """χ² between the groups of all held-out patients, negative where their order is reversed.

    None where a group is too small for the test.
    """
    members, groups = [], []
    for number, fold in enumerate(splits.folds):
        train, test = patients.select(fold.train), patients.select(fold.test)
        model = fit(number, train, patients.select(fold.validation))
        cuts = np.quantile(model.score(train), np.arange(1, risk_groups) / risk_groups)
        groups.append(1 + (model.score(test)[:, None] > cuts[None, :]).sum(axis=1))
        members.append(test)
    group = np.concatenate(groups)
    time = np.concatenate([part.time for part in members])
    event = np.concatenate([part.event for part in members]).astype(float)
    sizes = np.unique(group, return_counts=True)[1]
    if len(sizes) < 2 or sizes.min() < SMALLEST_GROUP:
        return None
    separation = logrank(time, event, group)
    if not np.isfinite(separation.chi_square):
        return None
    return separation.chi_square if separation.trend > 0 else -separation.chi_square
