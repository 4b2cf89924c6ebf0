"""The development patients in numbers that identify nobody: ranges, scanners, levels, risks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.deploy.covariate_shift import StageFolders, patient_covariates, scanner_of
from pipeline.deploy.manifest import PERCENTILES, CohortFacts, CovariateRange
from pipeline.deploy.plausible_range import plausible_range
from pipeline.tables.outcomes import has_outcomes, read_outcomes
from pipeline.tables.parquet import read_frame
from pipeline.tables.status import read_whole

if TYPE_CHECKING:
    from pipeline.deploy.bundle import BundleJob


def cohort_facts(job: BundleJob, clinical: Iterable[str]) -> CohortFacts:
    """Ranges over the usable development patients, and levels of the clinical columns that members use.

    Args:
        job: The study.
        clinical: Clinical columns that members use.
    """
    import pandas as pd

    cohort = read_outcomes(job.results / "cohort.parquet")
    cohort = cohort[cohort["set"] == "development"]
    rows, scanners = [], set()
    for patient_id in cohort.index:
        folders = _stage_folders(job.results, str(patient_id))
        for folder in (folders.convert, folders.suv, folders.registration):
            read_whole(folder, "ct.json", "pet.json", "suv.json", "quality.json")
        rows.append(patient_covariates(folders))
        scanners.add(scanner_of(folders))
    table = pd.DataFrame(rows)
    levels: dict[str, tuple[str, ...]] = {}
    for name in clinical:
        if cohort[name].dtype.kind in "fiub":
            table[name] = cohort[name].to_numpy(dtype=float)
        else:
            levels[name] = tuple(sorted({str(value) for value in cohort[name].dropna()}))
    ranges = {}
    for name in table.columns:
        values = table[name].dropna().to_numpy(dtype=float)
        if len(values):
            low, high = plausible_range(str(name), values)
            ranges[str(name)] = CovariateRange(low=low, high=high, patients=len(values))
    return CohortFacts(
        covariates=ranges,
        scanners=tuple(sorted(scanner for scanner in scanners if scanner)),
        levels=levels,
        risk_percentiles=_risk_percentiles(job),
        patients=len(cohort),
        events=int(cohort["event"].sum()) if has_outcomes(cohort) else None,
    )


def _stage_folders(results: Path, patient_id: str) -> StageFolders:
    convert, suv, registration = (results / s / patient_id for s in ("convert", "suv", "registration"))
    return StageFolders(convert, suv, registration, results / "crops" / f"{patient_id}.zarr")


def _risk_percentiles(job: BundleJob) -> tuple[float, ...]:
    """Percentiles of the development patients' risks, each by the fold that held the patient out."""

    risks = read_frame(job.results / "ensemble" / f"{job.model}.parquet")
    if "risk" not in risks:
        return ()
    development = risks.loc[risks["set"] == "development", "risk"].to_numpy(dtype=float)
    return tuple(np.percentile(development, PERCENTILES).tolist())
