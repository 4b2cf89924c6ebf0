"""Which crops to look at first: measures that lie far from the cohort's, and told problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.report.formatting import fixed

if TYPE_CHECKING:
    import pandas as pd

FAR = 3.5
"""Modified Z-score beyond which a value is an outlier (Iglewicz and Hoaglin 1993)."""
FEWEST = 5
"""Patients below which nothing is called far from the others."""
# measure → (title, digits, direction that is looked at: -1 low, 1 high, 0 both, on a log scale)
MEASURES: dict[str, tuple[str, int, int, bool]] = {
    "lesion_ml": ("Lesion (mL)", 1, 0, True),
    "lesion_coverage": ("Lesion inside", 3, -1, False),
    "imaged": ("Imaged", 3, -1, False),
    "suvmax": ("SUVmax in lesion", 1, 0, True),
    "ct_median_hu": ("CT median (HU)", 0, 0, False),
    "overlap": ("Overlap", 3, -1, False),
    "similarity": ("Similarity", 3, -1, False),
    "rotation_deg": ("Rotation (°)", 1, 1, False),
    "dice": ("Dice", 3, -1, False),
}


def modified_z(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance from the median in robust standard deviations; NaN where the value is missing.

    0.6745 (x − median) / MAD; where more than half of the values are equal the mean absolute
    deviation, times 1.2533, takes the MAD's place (Iglewicz and Hoaglin 1993, section 3.3).
    """
    known = values[np.isfinite(values)]
    if len(known) < FEWEST:
        return np.where(np.isfinite(values), 0.0, np.nan)
    gap = values - np.median(known)
    size = np.abs(gap[np.isfinite(gap)])
    scale = float(np.median(size)) / 0.6745 or 1.253314 * float(size.mean())
    return np.asarray(gap / scale if scale > 0 else gap * 0.0, dtype=np.float64)


def ranked(facts: pd.DataFrame) -> pd.DataFrame:
    """The same rows, those to look at first on top, with why.

    Args:
        facts: Indexed by patient_id: the measures that are known (columns of
            :data:`MEASURES`) and `problem`, what the stage `crop` told of the patient.

    Returns:
        With `flags` (texts joined by `; `, problem first) and `furthest` (greatest modified
        Z-score in a direction that is looked at), sorted by number of flags, then by furthest.
    """
    import pandas as pd

    flags: list[list[str]] = [[text] if text else [] for text in facts["problem"]]
    furthest = np.zeros(len(facts))
    for name, (title, digits, direction, logarithm) in MEASURES.items():
        if name not in facts:
            continue
        values = pd.to_numeric(facts[name]).to_numpy(dtype=np.float64)
        scored = modified_z(np.log(np.maximum(values, 1e-3)) if logarithm else values)
        looked = np.nan_to_num(np.abs(scored) if direction == 0 else np.maximum(direction * scored, 0.0))
        furthest = np.maximum(furthest, looked)
        for row in np.flatnonzero(looked > FAR):
            side = "high" if scored[row] > 0 else "low"
            flags[row].append(f"{title} {fixed(values[row], digits)} is {side}")
    found = facts.assign(
        flags=["; ".join(texts) for texts in flags], furthest=furthest, _count=[len(texts) for texts in flags]
    )
    found["_id"] = found.index
    order = found.sort_values(["_count", "furthest", "_id"], ascending=[False, False, True], kind="stable")
    return order.drop(columns=["_count", "_id"])
