"""SUVmax alone against lung metastasis and death in the sarcoma patients: AUC and C-index with their intervals.

    python -m benchmarks.sarcoma_auc results/sts

Reads `radiomics/features.parquet` (`pet_index_suvmax`, from native voxels) and `cohort.parquet` of a finished sarcoma
study (`config/studies/sts.yaml`). On the collection's 51 patients SUVmax alone gives AUC 0.812 for lung metastasis and
C-index 0.684 for overall survival; whether these lie within the intervals of the patients who are here is printed.
Interval of the AUC by DeLong, DeLong and Clarke-Pearson (Biometrics 1988; 44: 837), and percentile bootstrap intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.metrics.bootstrap import percentile_interval, resample_counts
from pipeline.metrics.concordance import Pairs, harrell_pairs
from pipeline.metrics.labels import auc_pairs_of_class

Array = NDArray[np.float64]
LABEL, FEATURE, OF_ALL_51 = "label_lung_metastasis", "pet_index_suvmax", {"AUC": 0.812, "C-index": 0.684}
RESAMPLES, SEED, NORMAL_95 = 10_000, 1, 1.959963984540054


def delong(score: Array, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """AUC and its standard error; ties count one half.

    Args:
        score: (n,) the higher, the likelier positive.
        positive: (n,) whether a patient is.
    """
    above = score[positive][:, None] - score[~positive][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    of_cases, of_controls = wins.mean(axis=1), wins.mean(axis=0)
    variance = of_cases.var(ddof=1) / len(of_cases) + of_controls.var(ddof=1) / len(of_controls)
    return float(wins.mean()), float(np.sqrt(variance))


def bootstrap_line(name: str, pairs: Pairs, patients: int) -> str:
    """The share of concordant pairs with its percentile bootstrap interval, and whether the known figure is inside."""
    value = float(pairs.index()[0])
    samples = pairs.index(resample_counts(patients, RESAMPLES, SEED))
    interval = percentile_interval(value, samples, 0.95)
    return _line(f"{name}, bootstrap", value, (interval.low, interval.high), OF_ALL_51[name])


def _line(name: str, value: float, bounds: tuple[float, float], known: float) -> str:
    inside = "inside" if bounds[0] <= known <= bounds[1] else "outside"
    return f"{name}: {value:.3f} (95 % {bounds[0]:.3f} to {bounds[1]:.3f}); {known:.3f} of 51 patients is {inside}"


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("results", type=Path, help="Folder of the finished study, such as results/sts.")
    results = arguments.parse_args().results
    cohort = pd.read_parquet(results / "cohort.parquet")
    cohort = cohort.set_index("patient_id") if "patient_id" in cohort else cohort
    features = pd.read_parquet(results / "radiomics" / "features.parquet")
    features = features.set_index("patient_id") if "patient_id" in features else features
    suv_max = features.loc[cohort.index, FEATURE].to_numpy(float)
    positive = cohort[LABEL].to_numpy(float) == 1
    value, error = delong(suv_max, positive)
    bounds = (value - NORMAL_95 * error, value + NORMAL_95 * error)
    print(f"{len(cohort)} patients, {int(positive.sum())} with lung metastasis")
    print(_line("AUC, DeLong", value, bounds, OF_ALL_51["AUC"]))
    print(bootstrap_line("AUC", auc_pairs_of_class(positive, suv_max, None), len(cohort)))
    time, event = (cohort[f"death_{name}"].to_numpy(float) for name in ("time_days", "event"))
    print(f"{int(event.sum())} deaths")
    print(bootstrap_line("C-index", harrell_pairs(time, event, suv_max), len(cohort)))


if __name__ == "__main__":
    main()
