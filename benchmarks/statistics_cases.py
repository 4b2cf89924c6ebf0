"""Statistics that were once wrong, on the data that showed it: what they give now.

    python -m benchmarks.statistics_cases ties | coverage | few_events | z_scores | network_baseline
    python -m benchmarks.statistics_cases recalibration --cohorts 40 --patients 40
    python -m benchmarks.statistics_cases suvmax --results results/sts

Data are simulated from fixed seeds, or those of a finished sarcoma study. `docs/testing.md` has the table of figures
then and now. How often cross-validated risk groups of noise are significant is `benchmarks.noise_studies`.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.ensemble.ensemble import fit_scale
from pipeline.errors import ModelError
from pipeline.metrics.baseline import in_sample_baseline
from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.concordance import concordance_index, uno_pairs
from pipeline.metrics.predictions import RiskPredictions
from pipeline.metrics.scores import score
from pipeline.metrics.time_dependent import SurvivalOutcome, brier_terms, survival_at
from pipeline.planning.folds import divide
from pipeline.settings.models import read_model
from pipeline.settings.plan import PlanSettings
from pipeline.survival.deep_feature_blocks import fit_estimator
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.patients import Patients
from pipeline.survival.survival_probabilities import recalibrate
from pipeline.tables.splits import Fold

Array = NDArray[np.float64]
HORIZON = 730.5
EARLY_AND_LATE = {0.25: (0.09, 0.16), 0.2: (0.07, 0.13)}
"""Share of patients with the event by the end of follow-up → times by which half and four fifths of those had it."""
COVERED = ("c_index", "royston_d", "auc", "brier", "brier_skill", "observed_expected")
RECALIBRATED = {
    "clinical": {"kind": "clinical_cox", "clinical": ["clinical_a", "clinical_b", "clinical_c"]},
    "univariate": {"kind": "univariate"},
    "hecktor": {"kind": "hecktor_cox", "thresholds": [0.8]},
}


@dataclass(frozen=True)
class Member:
    """A patient of a simulated study, as folds are dealt."""

    patient_id: str
    event: int
    centre: str = "A"
    group: str = ""
    split: str = ""


def ties() -> None:
    """Brier score of the Kaplan–Meier prediction, exactly S·(1 − S), and a printed value of Uno's C, on tied data."""
    for unit, name in ((1 / 30.4375, "days"), (1.0, "months"), (3.0, "quarters"), (12.0, "years")):
        errors = []
        for seed in range(300):
            generator = np.random.default_rng(seed)
            x = generator.normal(size=40)
            died, left = generator.exponential(30 * np.exp(-0.8 * x)), generator.uniform(6, 72, 40)
            time = np.ceil(np.minimum(died, left) / unit) * unit
            outcome = SurvivalOutcome.of(time, (died <= left).astype(float))
            if outcome.no_value_reason(36.0):
                continue
            survival = float(survival_at(outcome.time, outcome.event, 36.0, np.ones((1, 40)))[0])
            brier = float(brier_terms(outcome, np.full(40, survival), 36.0).mean())
            errors.append(abs(brier / (survival * (1 - survival)) - 1))
        print(f"times in {name}: relative error of the Brier score of Kaplan-Meier at most {max(errors):.1e}")
    time, event = np.array([11.0, 11, 26, 89, 128, 299, 300]), np.array([1.0, 0, 0, 1, 0, 1, 0])
    risk = np.array([-0.02, 1.2, -0.56, -1.33, -0.81, 1.02, -1.29])
    censoring = SurvivalOutcome.of(time, event).censoring
    value = float(uno_pairs(time, event, risk, censoring, 299).index()[0])
    # By hand: weights 1 and (2/3)**-2 of the two events, 4 of 6 and 0 of 3 pairs. survAUC weights by G(T) and leaves
    # out the pair of an event and a censoring at the same time.
    print(
        f"Uno's C of scikit-survival's issue 428: {value:.7f} (by hand {4 / 12.75:.7f}; R's survAUC: 0.4129032)"
    )


def few_events() -> None:
    """What an external set of 20 patients with one to three events prints."""
    generator = np.random.default_rng(0)
    for events in (1, 2, 3):
        time, event, risk = generator.uniform(100, 1000, 20), np.zeros(20), generator.normal(size=20)
        first = np.argsort(time)[:events]
        event[first], risk[first] = 1, 3 + np.arange(events)
        predictions = RiskPredictions(
            model="m", set="external", patients=tuple(map(str, range(20))), fold=None, event=event,
            outcome=SurvivalOutcome.of(time, event), risk=risk, survival={},
        )  # fmt: skip
        rows = score(predictions, resample_counts(20, 1000, 0), 0.95)
        row = next(row for row in rows if row.metric == "c_index")
        print(
            f"{events} of 20: C-index {row.interval.value} ({row.interval.low} to {row.interval.high}); {row.note}"
        )


def z_scores() -> None:
    """Weights of two equal models within an ensemble, by Z-scores of a fold."""
    for patients, folds, validation in ((30, 3, 4), (40, 3, 5), (100, 5, 16)):
        ratios, ensembles, equal = [], [], []
        for seed in range(400):
            generator = np.random.default_rng(seed)
            x = generator.normal(size=patients)
            scores = [x + generator.normal(size=patients) for _ in range(2)]
            died = generator.exponential(1000 * np.exp(-0.8 * x))
            left, fold = generator.uniform(300, 2500, patients), np.arange(patients) % folds
            averaged = np.zeros(patients)
            for k in range(folds):
                others = np.flatnonzero(fold != k)
                names = np.full(patients, "test", dtype=object)
                names[others] = "train"
                names[generator.permutation(others)[:validation]] = "validation"
                scales = [
                    fit_scale(pd.DataFrame({"set": names, "risk": each}), "training") for each in scores
                ]
                z = np.mean([scale.z(each) for scale, each in zip(scales, scores, strict=True)], axis=0)
                averaged[fold == k] = z[fold == k]
                ratios.append(scales[0].sd / scales[1].sd)
            outcome = np.minimum(died, left), (died <= left).astype(float)
            ensembles.append(concordance_index(*outcome, averaged, fold.astype(float)))
            equal.append(concordance_index(*outcome, scores[0] + scores[1], fold.astype(float)))
        uneven = np.mean((np.array(ratios) > 2) | (np.array(ratios) < 0.5))
        largest = max(np.max(ratios), 1 / np.min(ratios))
        print(
            f"{patients} patients, {folds} folds: one model counts more than twice the other in {uneven:.1%} of folds, "
            f"at most {largest:.2f} times; C-index of the ensemble {np.mean(ensembles):.3f}, by the true scale "
            f"{np.mean(equal):.3f}"
        )


def recalibration(cohorts: int, patients: int) -> None:
    """Two-year Brier skill and observed/expected of Cox-type models, on 400 fresh patients a cohort."""
    for strength in (0.0, 0.8):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in RECALIBRATED}
        for seed in range(cohorts):
            everybody = _cohort(seed, patients + 400, strength)
            ids = list(everybody.table.index)
            members = [
                Member(patient, int(event)) for patient, event in everybody.table["event"][:patients].items()
            ]
            fold = divide(members, PlanSettings(folds=3, validation_fraction=0.2), seed)[0]
            for name, spec in RECALIBRATED.items():
                if (judged := _judged(everybody, fold, ids[patients:], spec, seed)) is not None:
                    found[name].append(judged)
        for name, values in found.items():
            skill, ratio = np.array(values).T
            low, high = np.quantile(ratio, [0.05, 0.95])
            print(
                f"n {patients}, strength {strength}, {name}: skill mean {skill.mean():+.3f} (worst "
                f"{skill.min():+.2f}), O/E median {np.median(ratio):.2f} (5-95 % {low:.2f} to {high:.2f}), "
                f"{len(values)} cohorts",
                flush=True,
            )


def _cohort(seed: int, size: int, strength: float) -> Patients:
    """Twenty features and three clinical columns, of which one each says something where the strength is above 0."""
    generator = np.random.default_rng(seed)
    features, clinical = generator.normal(size=(size, 20)), generator.normal(size=(size, 3))
    log_hazard = strength * (clinical[:, 0] + features[:, 0]) / np.sqrt(2)
    died, left = generator.exponential(900 * np.exp(-log_hazard)), generator.uniform(300, 3000, size)
    columns = {"set": "development", "centre": "A", "time_days": np.minimum(died, left) + 1}
    columns |= {"event": (died <= left).astype(int)}
    columns |= {f"clinical_{letter}": clinical[:, i] for i, letter in enumerate("abc")}
    table = pd.DataFrame(columns, index=pd.Index([f"P{i}" for i in range(size)], name="patient_id"))
    return Patients(table, features, tuple(f"pet_f{i}" for i in range(20)))


def _judged(
    everybody: Patients, fold: Fold, fresh: list[str], spec: dict[str, object], seed: int
) -> tuple[float, float] | None:
    """Brier skill against Kaplan–Meier and observed/expected events; None where nothing can be fitted."""
    train, validation, test = (everybody.select(ids) for ids in (fold.train, fold.validation, fresh))
    model, context = read_model(spec), Context(seed, 1, validation)

    def refit(part: Patients) -> FittedModel:
        return fit_estimator(model, part, context)

    try:
        fitted = refit(train)
    except ModelError:
        return None
    baseline = recalibrate(refit, fitted, train, validation, seed).baseline
    survival = baseline.survival(fitted.score(test), np.array([HORIZON]))[:, 0]
    if not np.isfinite(survival).all():
        return None
    outcome = SurvivalOutcome.of(test.time, test.event.astype(float))
    observed = float(survival_at(outcome.time, outcome.event, HORIZON, np.ones((1, len(test))))[0])
    reference = brier_terms(outcome, np.full(len(test), observed), HORIZON).mean()
    skill = 1 - brier_terms(outcome, survival, HORIZON).mean() / reference
    return float(skill), float((1 - observed) / (1 - survival).mean())


def coverage() -> None:
    """How often 95 % intervals hold the true value, in 200 cohorts that end with their last event.

    Metrics at a time are judged in the cohorts in which they are estimated: five events by then, and five patients
    followed beyond it.
    """
    for patients, events in ((40, 10), (200, 40)):
        truth = _truth(2000, 2000 * events // patients)
        held: dict[str, list[bool]] = {}
        for seed in range(200):
            cohort = _followed(patients, events, np.random.default_rng(seed))
            for row in score(cohort, resample_counts(patients, 1000, seed), 0.95):
                if row.metric in truth and np.isfinite(row.interval.low):
                    inside = row.interval.low <= truth[row.metric] <= row.interval.high
                    held.setdefault(row.metric, []).append(bool(inside))
        shares = ", ".join(f"{name} {np.mean(inside):.1%} of {len(inside)}" for name, inside in held.items())
        print(f"{patients} patients, {events} events: {shares}", flush=True)


def _truth(patients: int, events: int) -> dict[str, float]:
    """Metric → its mean over ten large cohorts."""
    found: dict[str, list[float]] = {}
    for seed in range(10):
        cohort = _followed(patients, events, np.random.default_rng(10**6 + seed))
        for row in score(cohort, np.ones((1, patients)), 0.95):
            if row.metric.startswith(COVERED):
                found.setdefault(row.metric, []).append(row.interval.value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _followed(patients: int, events: int, generator: np.random.Generator) -> RiskPredictions:
    """A true risk and true probabilities of patients who are followed until so many of them had the event."""
    x = generator.normal(size=patients)
    died = generator.exponential(np.exp(-x))
    last = np.sort(died)[events - 1]
    outcome = SurvivalOutcome.of(np.minimum(died, last * 1.000001), (died <= last).astype(float))
    survival = {time: np.exp(-time * np.exp(x)) for time in EARLY_AND_LATE[events / patients]}
    return RiskPredictions(
        model="m", set="external", patients=tuple(map(str, range(patients))), fold=None, event=outcome.event,
        outcome=outcome, risk=x, survival=survival,
    )  # fmt: skip


def network_baseline() -> None:
    """Observed/expected events by two years of a network that knows the risk: its baseline hazard alone is judged."""
    fresh = np.random.default_rng(7).normal(size=4000)
    truth = np.exp(-730 / 900 * np.exp(fresh))
    for patients, follow_up in ((30, 2500), (40, 3000), (100, 3000)):
        ratios = []
        for seed in range(300):
            generator = np.random.default_rng(seed)
            x = generator.normal(size=patients)
            died, left = generator.exponential(900 * np.exp(-x)), generator.uniform(300, follow_up, patients)
            time, event = np.minimum(died, left), (died <= left).astype(float)
            members = [Member(f"P{i}", int(each)) for i, each in enumerate(event)]
            fold = divide(members, PlanSettings(folds=3, validation_fraction=0.2), seed)[0]
            rows = [int(patient[1:]) for patient in (*fold.validation, *fold.train)]
            validation = np.arange(len(rows)) < len(fold.validation)
            baseline = in_sample_baseline(time[rows], event[rows], x[rows], validation)
            predicted = baseline.survival(fresh, np.array([730.0]))[:, 0]
            ratios.append((1 - truth.mean()) / (1 - predicted.mean()))
        known = np.array(ratios)[np.isfinite(ratios)]
        low, high = np.quantile(known, [0.05, 0.95])
        print(
            f"{patients} patients: O/E median {np.median(known):.2f} (5-95 % {low:.2f} to {high:.2f}), no "
            f"probability in {1 - len(known) / len(ratios):.0%} of studies"
        )


def suvmax(results: Path) -> None:
    """SUVmax of the feature table against the highest native PET voxel of the contour."""
    from pipeline.volumes.nifti import read_nifti

    features = pd.read_parquet(results / "radiomics" / "features.parquet")
    features = features.set_index("patient_id") if "patient_id" in features else features
    ratios = []
    for patient, value in features["pet_index_suvmax"].items():
        contour = results / "contours" / str(patient) / "gtv_pet.nii.gz"
        if contour.is_file():
            pet = read_nifti(results / "suv" / str(patient) / "pet_suvbw.nii.gz", "pet_suvbw")
            inside = read_nifti(contour, "mask").array > 0
            ratios.append(float(value) / float(pet.array[inside].max()))
    print(f"{len(ratios)} patients: SUVmax / native maximum {min(ratios):.6f} to {max(ratios):.6f}")


SIMULATED = {
    "ties": ties,
    "coverage": coverage,
    "few_events": few_events,
    "z_scores": z_scores,
    "network_baseline": network_baseline,
}


def main() -> None:
    """Run one case."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=[*SIMULATED, "recalibration", "suvmax"])
    parser.add_argument("--cohorts", type=int, default=40, help="Cohorts of recalibration.")
    parser.add_argument("--patients", type=int, default=40, help="Development patients of each.")
    parser.add_argument("--results", type=Path, default=Path("results/sts"), help="Finished sarcoma study.")
    options = parser.parse_args()
    if options.case == "recalibration":
        recalibration(options.cohorts, options.patients)
    elif options.case == "suvmax":
        suvmax(options.results)
    else:
        SIMULATED[options.case]()


if __name__ == "__main__":
    main()
