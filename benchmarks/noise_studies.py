"""How often any of five models seems to predict where nothing does: simulated studies of noise.

    OMP_NUM_THREADS=1 python -m benchmarks.noise_studies --studies 400 --out noise_studies.csv

A study has 40 patients, three standard normal columns that say nothing of the outcome, exponential times,
uniform censoring, and five Cox models of one or two columns, each cross-validated in five folds
stratified by event. The p-value of each model's risk groups is what a study's report shows: that of
permuting the whole procedure (`pipeline.survival.permutation_test`), at most 199 times, adjusted over the
models (Holm), as `logrank_p_holm` of `metrics.csv`. A study in which no model can be tested is not
significant. Printed are the shares of studies of which the smallest p-value is below 0.05, with exact intervals.

With `--out` every study is a line of a CSV file as soon as it is simulated (`seed`, and the p-value of each model,
empty where there is no test). A run that was stopped goes on with the seeds that the file lacks; the first of those
that it has is simulated again before, and must give the same p-values.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

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
LEVEL = 0.05
HEADER = ("seed", *(f"p_{number}" for number in range(len(MODELS))))
"""First line of the file of studies."""


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


def read_studies(path: Path | None) -> dict[int, np.ndarray]:
    """Seed → (5,) p-values of the studies that a file holds; a line that a stopped run left unfinished is dropped."""
    if path is None or not path.is_file():
        return {}
    whole = path.read_text(encoding="utf-8")
    whole = whole[: whole.rfind("\n") + 1]
    path.write_text(whole, encoding="utf-8")
    rows = list(csv.reader(whole.splitlines()))
    if rows and tuple(rows[0]) != HEADER:
        raise SystemExit(f"{path} is no file of this benchmark: its first line is {rows[0]}")
    return {int(row[0]): np.array([float(p or "nan") for p in row[1:]]) for row in rows[1:]}


def require_same(known: dict[int, np.ndarray], path: Path | None) -> None:
    """Stop where the first study of the file is simulated with other p-values than it has."""
    if known:
        seed = min(known)
        if not np.allclose(p_values_of_study(seed), known[seed], atol=1e-9, equal_nan=True):
            raise SystemExit(f"{path} is of other code: seed {seed} gives other p-values now; remove it")


def append_study(path: Path, seed: int, p_values: np.ndarray) -> None:
    """Add a line, after the header where the file is new."""
    new = not path.is_file() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if new:
            writer.writerow(HEADER)
        writer.writerow([seed, *("" if np.isnan(p) else f"{p:.10g}" for p in p_values)])


def summary(studies: Sequence[np.ndarray]) -> str:
    """Shares of studies with any significant model, after and before Holm's correction."""
    parts = []
    for name, adjust in (("any model significant", holm), ("without Holm", np.asarray)):
        significant = sum(bool((adjust(p_values) < LEVEL).any()) for p_values in studies)
        interval = binomtest(significant, len(studies)).proportion_ci(0.95, "exact")
        share = significant / len(studies)
        parts.append(f"{name} {significant}, {share:.1%} ({interval.low:.1%} to {interval.high:.1%})")
    return f"{len(studies)} studies: {'; '.join(parts)}"


def main() -> None:
    """Simulate the studies and print how many have a significant model."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--first", type=int, default=0, help="Seed of the first study.")
    arguments.add_argument("--studies", type=int, default=400, help="Number of studies.")
    arguments.add_argument("--out", type=Path, help="CSV file of the studies, which is added to.")
    options = arguments.parse_args()
    known = read_studies(options.out)
    require_same(known, options.out)
    studies: list[np.ndarray] = []
    for seed in range(options.first, options.first + options.studies):
        p_values = known.get(seed)
        if p_values is None:
            p_values = p_values_of_study(seed)
            if options.out is not None:
                append_study(options.out, seed, p_values)
        studies.append(p_values)
        if seed not in known and len(studies) % 20 == 0:
            print(summary(studies), flush=True)
    print(summary(studies), flush=True)


if __name__ == "__main__":
    main()
