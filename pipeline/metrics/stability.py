"""Stability of features: their agreement over perturbed contours, as over those of other observers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.errors import TableError
from pipeline.tables.parquet import read_frame, read_metadata, write_frame
from pipeline.tables.whole import whole_file

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Intraclass correlation, of one feature or of p features.

    Attributes:
        icc: ICC(1,1).
        low: Lower end of its 95 % interval.
        high: Upper end.
        patients: How many patients have all values.
    """

    icc: Array
    low: Array
    high: Array
    patients: npt.NDArray[np.int64]


def intraclass_correlation(values: npt.ArrayLike) -> Agreement:
    """ICC(1,1): one-way random effects, absolute agreement of single measurements.

    Shrout & Fleiss, Psychol Bull 1979;86:420-428; interval from the F distribution (McGraw &
    Wong, Psychol Methods 1996;1:30-46). A feature counts the patients whose values are finite
    under all perturbations.

    Args:
        values: Patients × perturbations (n, k), or × features as well (n, k, p); n, k ≥ 2.

    Returns:
        Of shape () or (p,). 1 would be perfect agreement; NaN where all values are the same
        or fewer than two patients have all.

    Raises:
        TableError: There are fewer than two patients or perturbations.
    """
    from scipy.stats import f

    table = np.asarray(values, dtype=np.float64)
    n, k = table.shape[:2] if table.ndim >= 2 else (0, 0)
    if n < 2 or k < 2:
        raise TableError(
            "agreement needs at least two patients and two perturbations",
            got=f"{n} patients, {k} perturbations",
        )
    known = np.asarray(np.isfinite(table).all(axis=1))
    table = np.where(known[:, None], table, 0.0)
    count = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = table.mean(axis=1)
        centre = means.sum(axis=0) / count
        between = k * (np.where(known, means - centre, 0.0) ** 2).sum(axis=0) / (count - 1)
        within = ((table - means[:, None]) ** 2).sum(axis=(0, 1)) / (count * (k - 1))
        ratio = np.where(count < 2, np.nan, between / within)
        freedom = np.maximum(count - 1, 1), np.maximum(count * (k - 1), 1)
        ends = ratio / f.ppf(0.975, *freedom), ratio * f.ppf(0.975, *freedom[::-1])
        # An infinite ratio: patients differ, perturbations change nothing.
        icc, low, high = (np.where(np.isposinf(ratio), 1.0, (r - 1) / (r + k - 1)) for r in (ratio, *ends))
    return Agreement(icc, low, high, count)


@dataclass(frozen=True)
class PerturbedFeatures:
    """Features of n patients under the same k perturbations of their contours.

    Attributes:
        patients: (n,) ids; without those whose contour did not survive every perturbation.
        names: (p,) features.
        values: (n, k, p).
    """

    patients: tuple[str, ...]
    names: tuple[str, ...]
    values: Array

    @classmethod
    def of(cls, frame: pd.DataFrame) -> PerturbedFeatures:
        """From a table with a row per patient and perturbation (`patient_id`, `perturbation`, features)."""
        counts = frame.groupby("patient_id")["perturbation"].nunique()
        complete = frame[frame["patient_id"].isin(counts.index[counts == counts.max()])]
        complete = complete.sort_values(["patient_id", "perturbation"])
        patients = tuple(str(p) for p in complete["patient_id"].unique())
        values = complete.drop(columns=["patient_id", "perturbation"])
        shape = (len(patients), -1 if patients else 0, values.shape[1])
        numbers = values.to_numpy(dtype=float).reshape(shape)
        return cls(patients, tuple(str(c) for c in values.columns), numbers)

    @classmethod
    def read(cls, path: Path) -> PerturbedFeatures:
        """From `stability.parquet`."""
        return cls.of(read_frame(path))

    def agreement(self, among: Collection[str]) -> pd.DataFrame:
        """Each feature's agreement among some patients: `feature, icc, icc_low, icc_high, patients`.

        Outcomes play no part; but which patients do decides which features a filter leaves, so
        that a model's are its own training patients.

        Raises:
            TableError: Fewer than two of them were perturbed.
        """
        import pandas as pd

        wanted = set(among)
        rows = np.array([i for i, p in enumerate(self.patients) if p in wanted], dtype=np.int64)
        icc = intraclass_correlation(self.values[rows])
        columns = {"icc": icc.icc, "icc_low": icc.low, "icc_high": icc.high, "patients": icc.patients}
        return pd.DataFrame({"feature": self.names, **columns})


def gather_stability(
    parquets: Sequence[Path], development: Collection[str], out: Path, summary: Path
) -> None:
    """Join patients' perturbed features, and describe their agreement.

    Args:
        parquets: Files of the patients' stage, a row per perturbation.
        development: Patients whose agreement the summary describes; models compute their own,
            among their fold's training patients.
        out: Parquet file: `patient_id`, `perturbation`, features.
        summary: CSV file: `feature, icc, icc_low, icc_high, patients`; no rows where fewer than
            two development patients have a contour.

    Raises:
        TableError: Files were made with different settings.
    """
    import pandas as pd

    hashes = {read_metadata(path).get(b"settings_hash") for path in parquets}
    if len(hashes) != 1:
        raise TableError(
            "stability files were made with different settings, or there are none",
            where=out.name,
            got=f"{len(hashes)} settings",
            action="run the rule again for all patients",
        )
    tables = [read_frame(path) for path in parquets]
    # Without the empty ones, whose columns have no type to join.
    frame = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    write_frame(out, frame)
    perturbed = PerturbedFeatures.of(frame)
    few = len(set(perturbed.patients) & set(development)) < 2
    described = perturbed.agreement(development) if not few else None
    columns = ["feature", "icc", "icc_low", "icc_high", "patients"]
    with whole_file(summary) as partial:
        (pd.DataFrame(columns=columns) if described is None else described).to_csv(partial, index=False)
