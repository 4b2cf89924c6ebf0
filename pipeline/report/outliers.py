"""Which crops to inspect first: those whose measures are outliers of the cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from pipeline.report.formatting import format_number

if TYPE_CHECKING:
    import pandas as pd

OUTLIER_Z = 3.5
"""Modified Z-score beyond which a value is an outlier (Iglewicz and Hoaglin 1993)."""
MIN_PATIENTS = 5
"""Number of patients below which nothing is called an outlier."""


@dataclass(frozen=True)
class Measure:
    """A quantity that is compared between the crops of a cohort.

    Attributes:
        title: Printed on the page.
        digits: Decimals printed.
        tail: Which outliers count: `low`, `high` or `both`.
        margin: Distance from the median that must be exceeded, too: a difference, or a factor where
            `log_scale`. In a cohort of equal images a difference that means nothing is far in
            standard deviations.
        log_scale: Compared by its logarithm.
    """

    title: str
    digits: int
    tail: Literal["low", "high", "both"]
    margin: float
    log_scale: bool = False

    def on_scale(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Values as they are compared."""
        return np.log(np.maximum(values, 1e-3)) if self.log_scale else values

    def matters(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Whether values lie further from their median than the margin."""
        scaled = self.on_scale(values)
        known = scaled[np.isfinite(scaled)]
        centre = float(np.median(known)) if len(known) else 0.0
        margin = float(np.log(self.margin)) if self.log_scale else self.margin
        return np.asarray(np.abs(scaled - centre) > margin)


MEASURES = {
    "lesion_ml": Measure("Lesion (mL)", 1, "both", 2.0, log_scale=True),
    "lesion_coverage": Measure("Lesion inside", 3, "low", 0.02),
    "imaged": Measure("Imaged", 3, "low", 0.05),
    "suvmax": Measure("SUVmax in lesion", 1, "both", 2.0, log_scale=True),
    "ct_median_hu": Measure("CT median (HU)", 0, "both", 100.0),
    "overlap": Measure("Overlap", 3, "low", 0.05),
    "similarity": Measure("Similarity", 3, "low", 0.05),
    "rotation_deg": Measure("Rotation (°)", 1, "high", 5.0),
    "dice": Measure("Dice", 3, "low", 0.1),
}


def modified_z(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance from the median in robust standard deviations; NaN where the value is missing.

    0.6745 (x − median) / MAD; where more than half of the values are equal the mean absolute
    deviation, times 1.2533, takes the MAD's place (Iglewicz and Hoaglin 1993, section 3.3).
    """
    finite = values[np.isfinite(values)]
    if len(finite) < MIN_PATIENTS:
        return np.where(np.isfinite(values), 0.0, np.nan)
    deviation = values - np.median(finite)
    size = np.abs(deviation[np.isfinite(deviation)])
    scale = float(np.median(size)) / 0.6745 or 1.253314 * float(size.mean())
    return np.asarray(deviation / scale if scale > 0 else deviation * 0.0, dtype=np.float64)


def _in_tail(z_scores: npt.NDArray[np.float64], measure: Measure) -> npt.NDArray[np.float64]:
    """Distance from the median in the tails that count; 0 elsewhere and where it is missing."""
    if measure.tail == "both":
        return np.asarray(np.nan_to_num(np.abs(z_scores)))
    sign = -1 if measure.tail == "low" else 1
    return np.asarray(np.nan_to_num(np.maximum(sign * z_scores, 0.0)))


def rank_outliers(facts: pd.DataFrame) -> pd.DataFrame:
    """The same rows, those to inspect first on top, with the reasons.

    Args:
        facts: Indexed by patient_id: the measures that are known (columns named as in
            :data:`MEASURES`).

    Returns:
        With `flags` (texts joined by `; `) and `furthest` (greatest modified
        Z-score in a tail that counts), sorted by number of flags, then by furthest.
    """
    import pandas as pd

    flags: list[list[str]] = [[] for _ in range(len(facts))]
    furthest = np.zeros(len(facts))
    for name, measure in MEASURES.items():
        if name not in facts:
            continue
        values = pd.to_numeric(facts[name]).to_numpy(dtype=np.float64)
        z_scores = modified_z(measure.on_scale(values))
        distance = _in_tail(z_scores, measure)
        furthest = np.maximum(furthest, distance)
        for row in np.flatnonzero((distance > OUTLIER_Z) & measure.matters(values)):
            side = "high" if z_scores[row] > 0 else "low"
            flags[row].append(f"{measure.title} {format_number(values[row], measure.digits)} is {side}")
    rated = facts.assign(
        flags=["; ".join(texts) for texts in flags], furthest=furthest, _count=[len(texts) for texts in flags]
    )
    rated["_id"] = rated.index
    order = rated.sort_values(["_count", "furthest", "_id"], ascending=[False, False, True], kind="stable")
    return order.drop(columns=["_count", "_id"])
