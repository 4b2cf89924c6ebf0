"""How often any of five models seems to predict where nothing does: simulated studies of noise.

    OMP_NUM_THREADS=1 python -m benchmarks.noise_studies --studies 400

A study has 40 patients, three standard normal columns that say nothing of the outcome, exponential times,
uniform censoring, and five Cox models of one or two columns, each cross-validated in five folds
stratified by event. The p-value of each model's risk groups is what a study's report shows: that of
permuting the whole procedure (`pipeline.survival.permutation_test`), at most 199 times, adjusted over the
models (Holm), as `logrank_p_holm` of `metrics.csv`. A study in which no model can be tested is not
significant. Printed are the shares of studies of which the smallest p-value is below 0.05.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from pipeline.errors import ModelError
from pipeline.metrics.bootstrap import holm
from pipeline.metrics.weighted_cox import RiskSets, fit_resamples
from pipeline.survival.estimator import FittedModel
from pipeline.survival.patients import Patients
from pipeline.survival.permutation_test import Fit, permutation_test
from pipeline.tables.splits import Fold, Splits, stratified_folds

PATIENTS, COLUMNS, FOLDS, PERMUTATIONS = 40, 3, 5, 199
MODELS = ((0,), (1,), (2,), (0, 1), (1, 2))
"""Columns of each model."""


def noise_patients(seed: int) -> Patients:
    """Patients whose columns say nothing of their outcomes; some 25 of 40 have the event."""
    generator = np.random.default_rng([77, seed])
    values = generator.normal(size=(PATIENTS, COLUMNS))
    died, left = generator.exponential(1000, PATIENTS), generator.uniform(300, 2500, PATIENTS)
    columns = {"time_days": np.minimum(died, left), "event": (died <= left).astype(int), "centre": "A"}
    table = pd.DataFrame(columns, index=[f"P{i}" for i in range(PATIENTS)])
    return Patients(table, values, tuple(f"column_{i}" for i in range(COLUMNS)))


def folds_of(patients: Patients, seed: int) -> Splits:
    """Five folds stratified by event, without validation patients."""
    assigned = stratified_folds(patients.event, FOLDS, seed)
    ids = np.array(patients.table.index)
    folds = (Fold(tuple(ids[assigned != k]), (), tuple(ids[assigned == k])) for k in range(FOLDS))
    return Splits(tuple(folds), (), seed)


def cox_on(columns: tuple[int, ...]) -> Fit:
    """The fit of a Cox model on some columns, by the fitter of resamples: a tenth of the time of another."""
    chosen = list(columns)

    def fit(fold: int, train: Patients, validation: Patients) -> FittedModel:
        sets = RiskSets.of(train.time, train.event.astype(float))
        coefficients = fit_resamples(train.features[:, chosen], sets, np.ones((1, len(train))))[0]
        if not np.isfinite(coefficients).all():
            raise ModelError("a Cox model has no finite maximum")
        return FittedModel(lambda patients: patients.features[:, chosen] @ coefficients)

    return fit


def p_values_of_study(seed: int) -> np.ndarray:
    """(5,) p-value of each model's cross-validated risk groups; NaN where they allow no test."""
    patients = noise_patients(seed)
    splits = folds_of(patients, 10**6 + seed)
    tests = (permutation_test(cox_on(c), patients, splits, 2, PERMUTATIONS, seed) for c in MODELS)
    return np.array([np.nan if test.p_value is None else test.p_value for test in tests])


def main() -> None:
    """Simulate the studies and print how many have a significant model."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--first", type=int, default=0, help="Seed of the first study.")
    arguments.add_argument("--studies", type=int, default=400, help="Number of studies.")
    options = arguments.parse_args()
    adjusted, unadjusted = [], []
    for number, seed in enumerate(range(options.first, options.first + options.studies), start=1):
        p_values = p_values_of_study(seed)
        adjusted.append(np.nanmin([*holm(p_values), 1.0]))
        unadjusted.append(np.nanmin([*p_values, 1.0]))
        if number % 20 == 0 or number == options.studies:
            shares = [np.mean(np.array(values) < 0.05) for values in (adjusted, unadjusted)]
            print(
                f"{number} studies: any model significant {shares[0]:.3f}, without Holm {shares[1]:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
